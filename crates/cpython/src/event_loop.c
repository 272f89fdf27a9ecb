/* What asyncio keeps for each thread, here for each tasklet: the running event loop, its current task, the hooks of
 * asynchronous generators and the depth of coroutine origins, which a loop sets while it runs.
 *
 *     thread                                       tasklet whose loop runs, suspended
 *     ┌──────────────────────────────────┐         ┌───────────────────────────────────┐
 *     │ running loop, current task       │ ─take─> │ sl_loop: loop, task,              │
 *     │ async_gen_firstiter, _finalizer  │ <─give─ │   the loop's hooks and depth      │
 *     │ coroutine_origin_tracking_depth  │         └───────────────────────────────────┘
 *     └──────────────────────────────────┘
 *
 * Hooks without a running loop are the program's own; they stay with the thread. While a loop is suspended the thread
 * has the hooks from before it, which sl_loop keeps while the loop runs: both directions exchange them.
 *
 * The running loop and its task are fields of the thread state from 3.14 on. Before, they are in the thread's dict and
 * in a dict of the C module _asyncio, which has a cache: they are changed with the functions of that module. These
 * run no Python code, except the __hash__ of a loop that has its own. */
#include "event_loop.h"

struct sl_loop {
    PyObject *loop, *task; /* NULL while the loop is the thread's */
    PyObject *firstiter, *finalizer;
    int origin_depth;
};

#if PY_GE(3, 14)

static int take_running(PyThreadState *ts, sl_loop *l)
{
    _PyThreadStateImpl *impl = (_PyThreadStateImpl *)ts;
    l->loop = impl->asyncio_running_loop;
    l->task = impl->asyncio_running_task;
    impl->asyncio_running_loop = impl->asyncio_running_task = NULL;
    return 1;
}

static void give_running(PyThreadState *ts, sl_loop *l)
{
    _PyThreadStateImpl *impl = (_PyThreadStateImpl *)ts;
    impl->asyncio_running_loop = l->loop;
    impl->asyncio_running_task = l->task;
    l->loop = l->task = NULL;
}

#else

/* The functions _get_running_loop and _set_running_loop of _asyncio, and its dict of current tasks. */
static PyObject *get_running, *set_running, *current_tasks;

static int find_functions(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "_asyncio");
    if (get_running == NULL && module != NULL) {
        PyObject *get = PyObject_GetAttrString(module, "_get_running_loop");
        PyObject *set = PyObject_GetAttrString(module, "_set_running_loop");
        PyObject *tasks = PyObject_GetAttrString(module, "_current_tasks");
        if (get != NULL && set != NULL && tasks != NULL && PyDict_Check(tasks)) {
            get_running = get;
            set_running = set;
            current_tasks = tasks;
            return 1;
        }
        Py_XDECREF(get);
        Py_XDECREF(set);
        Py_XDECREF(tasks);
        PyErr_Clear();
    }
    return get_running != NULL;
}

static int set_loop(PyObject *loop)
{
    PyObject *result = PyObject_CallOneArg(set_running, loop);
    if (result == NULL) {
        PyErr_WriteUnraisable(loop);
        return 0;
    }
    Py_DECREF(result);
    return 1;
}

/* Returns true if a loop was running. */
static int take_running(PyThreadState *ts, sl_loop *l)
{
    PyObject *loop = find_functions() ? PyObject_CallNoArgs(get_running) : NULL;
    if (loop == NULL || loop == Py_None || !set_loop(Py_None)) {
        PyErr_Clear();
        Py_XDECREF(loop);
        return 0;
    }
    l->loop = loop;
    l->task = PyDict_GetItemWithError(current_tasks, loop);
    if (l->task != NULL) {
        Py_INCREF(l->task);
        if (PyDict_DelItem(current_tasks, loop) < 0) {
            Py_CLEAR(l->task);
        }
    }
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(loop);
    }
    return 1;
}

static void give_running(PyThreadState *ts, sl_loop *l)
{
    PyObject *loop = l->loop, *task = l->task;
    l->loop = l->task = NULL;
    if (set_loop(loop) && task != NULL && PyDict_SetItem(current_tasks, loop, task) < 0) {
        PyErr_WriteUnraisable(loop);
    }
    Py_DECREF(loop);
    Py_XDECREF(task);
}

#endif

static void exchange_hooks(PyThreadState *ts, sl_loop *l)
{
    PyObject *const firstiter = ts->async_gen_firstiter, *const finalizer = ts->async_gen_finalizer;
    const int depth = ts->coroutine_origin_tracking_depth;
    ts->async_gen_firstiter = l->firstiter;
    ts->async_gen_finalizer = l->finalizer;
    ts->coroutine_origin_tracking_depth = l->origin_depth;
    l->firstiter = firstiter;
    l->finalizer = finalizer;
    l->origin_depth = depth;
}

/* Without memory for the record, a loop that stops for the first time remains the thread's running loop. */
void sl_take_loop(PyThreadState *ts, sl_state *s)
{
    if (s->loop == NULL) {
        s->loop = PyMem_RawCalloc(1, sizeof(sl_loop));
        if (s->loop == NULL) {
            return;
        }
    }
    if (take_running(ts, s->loop)) {
        exchange_hooks(ts, s->loop);
    }
}

void sl_give_loop(PyThreadState *ts, sl_state *s)
{
    if (s->loop->loop != NULL) {
        give_running(ts, s->loop);
        exchange_hooks(ts, s->loop);
    }
}

void sl_drop_loop(sl_state *s)
{
    sl_loop *const l = s->loop;
    if (l != NULL) {
        s->loop = NULL;
        Py_XDECREF(l->task);
        Py_XDECREF(l->loop);
        Py_XDECREF(l->firstiter);
        Py_XDECREF(l->finalizer);
        PyMem_RawFree(l);
    }
}

int sl_traverse_loop(sl_state *s, visitproc visit, void *arg)
{
    if (s->loop != NULL) {
        Py_VISIT(s->loop->task);
        Py_VISIT(s->loop->loop);
        Py_VISIT(s->loop->firstiter);
        Py_VISIT(s->loop->finalizer);
    }
    return 0;
}
