/* What other C files use of ticks.c. */
#pragma once
#include "thread.h"
#include <frameobject.h>

#if PY_GE(3, 12)
/* Has CPython bring the instrumentation of a code object up to date. */
void sl_instrument(PyObject *code);

#define own_tracefunc(ts) ((ts)->c_tracefunc)
#define hide_ticks(ts) ((void)0)
#else
/* The C trace function that makes ticks. */
int sl_trace_ticks(PyObject *before, PyFrameObject *frame, int what, PyObject *arg);

/* The running tasklet's own trace function. */
static inline Py_tracefunc own_tracefunc(PyThreadState *ts)
{
    return ts->c_tracefunc == sl_trace_ticks ? sl_thread.chained : ts->c_tracefunc;
}

static inline void use_tracing(PyThreadState *ts)
{
    int on = ts->tracing == 0 && (ts->c_tracefunc != NULL || ts->c_profilefunc != NULL);
    ts->cframe->use_tracing = on ? 255 : 0;
}

/* Puts the tick function in front of the running tasklet's trace function. sys.gettrace() continues to return
 * that one, since the object belongs to it. */
static inline void show_ticks(PyThreadState *ts)
{
    sl_thread.chained = own_tracefunc(ts);
    ts->c_tracefunc = sl_trace_ticks;
}

static inline void hide_ticks(PyThreadState *ts)
{
    ts->c_tracefunc = own_tracefunc(ts);
}

/* The running tasklet may have got another trace function, which does not make ticks. */
static inline void keep_ticks(void)
{
    if (sl_thread.ticking && sl_thread.ts->c_tracefunc != sl_trace_ticks) {
        show_ticks(sl_thread.ts);
    }
}
#endif
