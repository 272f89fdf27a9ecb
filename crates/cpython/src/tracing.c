/* Trace and profile functions of tasklets. */
#include "switch.h"
#include "ticks.h"

/* The trace (or profile) function: a borrowed reference or NULL. `s` is NULL for the running tasklet. */
PyObject *sl_trace_object(PyThreadState *ts, sl_state *s, int profile)
{
    if (s == NULL) {
        return profile ? ts->c_profileobj : ts->c_traceobj;
    }
    return profile ? s->profileobj : s->traceobj;
}

/* True if a tasklet of this thread with such a function has stopped or ended since the last call of this. */
int sl_traced_lately(void)
{
    const int traced = sl_thread.traced;
    sl_thread.traced = 0;
    return traced;
}

/* Copies what tracing depends on. The data stack is not part of it. */
static void copy_tracing(sl_state *to, const sl_state *from)
{
    to->traced = from->traced;
    to->tracefunc = from->tracefunc;
    to->traceobj = from->traceobj;
    to->profilefunc = from->profilefunc;
    to->profileobj = from->profileobj;
    to->tracing = from->tracing;
#if !PY_GE(3, 12)
    to->cframe = from->cframe;
#endif
}

/* Calls `setter(function)`, which is sys.settrace or sys.setprofile, as if `s` were running. The caller makes sure
 * that nothing switches meanwhile. */
int sl_set_trace(PyThreadState *ts, sl_state *s, PyObject *setter, PyObject *function)
{
    sl_state own = {0}, view = {0};
    if (s != NULL) {
        sl_save_fields(ts, &own);
        view = own;
        copy_tracing(&view, s);
        /* They are the thread state's now: the collector must not see them twice. */
        s->traced = 0;
        s->tracefunc = s->profilefunc = NULL;
        s->traceobj = s->profileobj = NULL;
        sl_load_fields(ts, &view);
    }
    PyObject *result = PyObject_CallOneArg(setter, function);
    if (s != NULL) {
        /* The setter may have called audit hooks: all but tracing stays as they left it. */
        memset(&view, 0, sizeof(view));
        sl_save_fields(ts, &view);
        copy_tracing(s, &view);
        copy_tracing(&view, &own);
        sl_load_fields(ts, &view);
    }
#if !PY_GE(3, 12)
    else {
        keep_ticks();
        use_tracing(ts);
    }
#endif
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}
