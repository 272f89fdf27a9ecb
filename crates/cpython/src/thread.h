/* What is known of the calling thread. */
#pragma once
#include "exports.h"

/* It is read at every call. The initial-exec model makes that one load; the loader reserves room for such small
 * variables of libraries that are loaded late. */
struct sl_thread {
    void *word; /* the caller's; aligned, so that its lowest bit is free */
    PyThreadState *ts;
    sl_state *running;
    uint64_t ended; /* the number of a thread state that has ended here; they begin with 1 */
    int traced;     /* a tasklet with a trace or profile function has stopped since sl_traced_lately() */
    int forbidden;  /* not 0: switches are refused for a reason that the caller knows */
#if !PY_GE(3, 12)
    int ticking;          /* the tick function stands in front of the trace function */
    Py_tracefunc chained; /* then: the running tasklet's own trace function */
#endif
};

extern __thread struct sl_thread sl_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));
