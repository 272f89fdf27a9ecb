/* The event loop of asyncio that runs in a tasklet: see event_loop.c. */
#pragma once
#include "state.h"

/* True if an event loop may be running in the running tasklet; cheap, for every switch. */
static inline int may_run_loop(PyThreadState *ts)
{
#if PY_GE(3, 14)
    return ((_PyThreadStateImpl *)ts)->asyncio_running_loop != NULL;
#else
    return ts->async_gen_firstiter != NULL; /* event loops set it before they run */
#endif
}

/* The running tasklet stops: what belongs to its event loop, if one runs in it, moves from the thread to `s`. */
void sl_take_loop(PyThreadState *ts, sl_state *s);

/* The tasklet of `s`, whose `loop` is not NULL, continues: the opposite of sl_take_loop. */
void sl_give_loop(PyThreadState *ts, sl_state *s);

/* Drops what `s` holds of an event loop. May run Python code. */
void sl_drop_loop(sl_state *s);

int sl_traverse_loop(sl_state *s, visitproc visit, void *arg);
