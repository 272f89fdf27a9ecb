/* Other interpreters that run in a tasklet, from 3.14 on.
 *
 * Their thread states have limits of their own for the C stack, which CPython derives from the thread's stack.
 * On the stack of a tasklet they mean nothing: C code that recurses deeply would meet the guard, instead of a
 * RecursionError. There is no hook for a thread state that begins to run but an audit hook: each piece of
 * source code that another interpreter executes is announced there. The limits that are right are those of
 * the thread's state in our interpreter, which every switch brings up to date.
 *
 * An audit hook makes every audited call slower. So it is set when the module is imported that makes other
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
    /* Another hook has refused ours: then other interpreters are as they were without us. */
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
        set_hook(); /* it is there already, or there are too many watchers */
    }
#endif
}
