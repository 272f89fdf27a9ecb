/* Between ticks.c and shim.c. */
#include <Python.h>
#include <frameobject.h>

/* The answers to a tick. */
enum {
    SL_NO,
    SL_NOW,   /* interrupt the running tasklet */
    SL_LATER, /* the same when the C code that has called back into Python has returned */
};

/* What our caller wants to be told; -1 always means that an exception is set. */
typedef struct {
    int (*tick)(int count);
    /* Interrupts the running tasklet, if that is due. If an exception was thrown into it meanwhile: -1
     * if it can be raised here, else 1. */
    int (*interrupt)(int can_raise);
    int (*settled)(void);    /* does nothing forbid a due interrupt any more, or is none due? */
    int (*must_raise)(void); /* did interrupt() answer 1 to the running tasklet? */
    void (*throw_in)(void);  /* sets that exception */
} sl_callbacks;

/* 3.11: the C trace function that makes ticks, and the one that it stands in front of. */
int sl_trace_ticks(PyObject *before, PyFrameObject *frame, int what, PyObject *arg);
Py_tracefunc sl_chained(void);
void sl_keep_ticks(void);

/* 3.12 and later: has CPython bring the instrumentation of a code object up to date. */
void sl_instrument(PyObject *code);

/* The running tasklet's innermost code below all C code that has called back into Python; borrowed. */
PyObject *sl_outer_code(void);
