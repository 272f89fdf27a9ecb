/* The context (`contextvars`) of each tasklet. */
#include "state.h"
#include "internal/pycore_context.h"

/* The running tasklet's context, made if there is none. A new reference; NULL with an exception. */
PyObject *sl_current_context(PyThreadState *ts)
{
    if (ts->context == NULL) {
        PyObject *context = PyContext_New();
        if (context == NULL) {
            return NULL;
        }
        ts->context = context;
        ts->context_ver++;
    }
    return Py_NewRef(ts->context);
}

/* The running tasklet's: a borrowed reference or NULL. */
PyObject *sl_peek_context(PyThreadState *ts)
{
    return ts->context;
}

/* A suspended tasklet's: a borrowed reference or NULL. */
PyObject *sl_state_context(sl_state *s)
{
    return s->context;
}

/* True if code runs inside Context.run() of this context. */
int sl_context_entered(PyObject *context)
{
    return context != NULL && ((PyContext *)context)->ctx_entered;
}

/* Takes over a reference, drops the one to the old context. `s` is NULL for the running tasklet. */
void sl_set_context(PyThreadState *ts, sl_state *s, PyObject *context)
{
    PyObject *old;
    if (s == NULL) {
        old = ts->context;
        ts->context = context;
        ts->context_ver++;
    }
    else {
        old = s->context;
        s->context = context;
    }
    Py_XDECREF(old);
}
