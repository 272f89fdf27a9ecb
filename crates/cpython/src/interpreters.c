/* Other interpreters that run in a tasklet, from 3.14 on.
 *
 * Their thread states have limits of their own for the C stack, which CPython derives from the thread's stack. On
 * the stack of a tasklet these are wrong: C code that recurses deeply would run into the guard, instead of getting a
 * RecursionError. CPython has no hook for a thread state that begins to run. But an audit event announces each
 * piece of source code that another interpreter executes, and our audit hook sets the limits then. The right limits
 * are those of the thread's state in our interpreter, which every switch updates.
 *
 * An audit hook makes every audited call slower. So it is set only when the module is imported that makes other
 * interpreters. */
#include "switch.h"

#if PY_GE(3, 14)
static int on_event(const char *event, PyObject *arguments, void *data)
{
    PyThreadState *ts = PyThreadState_GetUnchecked();
    if (ts != NULL && ts->interp != PyInterpreterState_Main()) {
        sl_adopt_stack(ts);
    }
    return 0;
}

static void set_hook(void)
{
    static int set;
    if (!set && PySys_AddAuditHook(on_event, NULL) == 0) {
        set = 1;
    }
    /* If another hook has refused ours, other interpreters keep the limits that CPython gave them. */
    PyErr_Clear();
}

static int makes_interpreters(PyObject *name)
{
    return PyUnicode_Check(name) && PyUnicode_EqualToUTF8(name, "_interpreters");
}

static int on_module(PyDict_WatchEvent event, PyObject *modules, PyObject *name, PyObject *module)
{
    if (event == PyDict_EVENT_ADDED && makes_interpreters(name)) {
        PyObject *exception = PyErr_GetRaisedException();
        set_hook();
        PyErr_SetRaisedException(exception);
    }
    return 0;
}
#endif

/* Call it once, in the main interpreter. */
void sl_watch_interpreters(void)
{
#if PY_GE(3, 14)
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *known = PyDict_GetItemString(modules, "_interpreters");
    const int watcher = known == NULL ? PyDict_AddWatcher(on_module) : -1;
    if (watcher < 0 || PyDict_Watch(watcher, modules) < 0) {
        set_hook(); /* the module is imported already, or there are too many watchers */
    }
#endif
}
