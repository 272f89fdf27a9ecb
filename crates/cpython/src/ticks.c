/* Ticks: how a limited run() notices that a tasklet never yields.
 *
 *     3.12, 3.13   a sys.monitoring tool, "stackless": each turn of a loop (event JUMP), each start of
 *                  a Python function (PY_START) and each continuation of a generator (PY_RESUME). It
 *                  is registered when the first limit is set, and stays: changing the events
 *                  instruments all code anew (PEP 669).
 *     3.11         a C trace function in front of the tasklet's own: each line, each call. Only
 *                  while a limit is set in the thread (see sl_show_ticks in the shim).
 *
 * The function that is told may switch tasklets: the interpreter keeps what it needs on the C stack
 * and in the fields of the thread state that are swapped.
 */
#define Py_BUILD_CORE 1
#include "ticks.h"

static int (*on_tick)(void);

#if PY_VERSION_HEX < 0x030C0000
#include "internal/pycore_frame.h"
#include "opcode.h"

/* Is the frame at a jump to itself (`while 1: pass`)? That never makes a line event again. */
static int spins(PyFrameObject *frame)
{
    _Py_CODEUNIT at = *frame->f_frame->prev_instr;
    return (_Py_OPCODE(at) == JUMP_BACKWARD || _Py_OPCODE(at) == JUMP_BACKWARD_QUICK) && _Py_OPARG(at) == 1;
}

int sl_trace_ticks(PyObject *obj, PyFrameObject *frame, int what, PyObject *arg)
{
    static PyFrameObject *spinning; /* has opcode events because of us; only compared */
    if (what == PyTrace_LINE && spins(frame) && !frame->f_trace_opcodes) {
        frame->f_trace_opcodes = 1;
        spinning = frame;
    }
    int ours = what == PyTrace_OPCODE && spins(frame);
    if (what == PyTrace_OPCODE && !ours && spinning == frame) {
        frame->f_trace_opcodes = 0; /* an exception took it out of the loop */
        spinning = NULL;
        ours = 1;
    }
    if ((what == PyTrace_LINE || what == PyTrace_CALL || ours) && on_tick() < 0) {
        return -1;
    }
    if (ours) {
        return 0;
    }
    Py_tracefunc own = sl_chained();
    return own == NULL ? 0 : own(obj, frame, what, arg);
}

int sl_start_ticks(int (*f)(void))
{
    on_tick = f;
    return 0;
}

#else

static PyObject *event(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self, (void)args, (void)count;
    if (on_tick() < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int tool = -1; /* our number, once there are ticks */

static PyMethodDef definition = {"tick", (PyCFunction)(void (*)(void))event, METH_FASTCALL, NULL};

/* The numbers that tools may have, the ones without a meaning of their own (PEP 669) first. */
static const int ids[] = {4, 3, 0, 1, 2, 5};

static int claim(PyObject *monitoring)
{
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        PyObject *user = PyObject_CallMethod(monitoring, "get_tool", "i", ids[i]);
        if (user == NULL) {
            return -1;
        }
        int vacant = user == Py_None;
        Py_DECREF(user);
        if (vacant) {
            PyObject *done = PyObject_CallMethod(monitoring, "use_tool_id", "is", ids[i], "stackless");
            Py_XDECREF(done);
            return done == NULL ? -1 : ids[i];
        }
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "all numbers of sys.monitoring tools are in use: run() cannot count ticks");
    return -1;
}

static int number(PyObject *events, const char *name)
{
    PyObject *value = PyObject_GetAttrString(events, name);
    int bits = value == NULL ? -1 : PyLong_AsInt(value);
    Py_XDECREF(value);
    return bits;
}

static int watch(PyObject *monitoring, int id)
{
    static const char *const names[] = {"JUMP", "PY_START", "PY_RESUME"};
    int all = 0, result = -1;
    PyObject *events = PyObject_GetAttrString(monitoring, "events");
    PyObject *callback = PyCFunction_New(&definition, NULL);
    if (events == NULL || callback == NULL) {
        goto done;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        int bits = number(events, names[i]);
        if (bits < 0) {
            goto done;
        }
        all |= bits;
        PyObject *old = PyObject_CallMethod(monitoring, "register_callback", "iiO", id, bits, callback);
        if (old == NULL) {
            goto done;
        }
        Py_DECREF(old);
    }
    PyObject *set = PyObject_CallMethod(monitoring, "set_events", "ii", id, all);
    result = set == NULL ? -1 : 0;
    Py_XDECREF(set);
done:
    Py_XDECREF(events);
    Py_XDECREF(callback);
    return result;
}

/* From now on `f` is called at every tick of every thread; -1 with an exception otherwise, and where
 * `f` returns that. */
int sl_start_ticks(int (*f)(void))
{
    PyObject *monitoring = PySys_GetObject("monitoring");
    if (monitoring == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "sys.monitoring is gone: run() cannot count ticks");
        return -1;
    }
    if (tool >= 0) {
        return 0;
    }
    on_tick = f;
    int claimed = claim(monitoring);
    if (claimed < 0) {
        return -1;
    }
    if (watch(monitoring, claimed) < 0) {
        PyObject *kind, *value, *traceback;
        PyErr_Fetch(&kind, &value, &traceback);
        Py_XDECREF(PyObject_CallMethod(monitoring, "free_tool_id", "i", claimed));
        PyErr_Restore(kind, value, traceback);
        return -1;
    }
    tool = claimed;
    return 0;
}

static int set_local(PyObject *monitoring, int id, PyObject *code, int events)
{
    PyObject *done = PyObject_CallMethod(monitoring, "set_local_events", "iOi", id, code, events);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* CPython does this for any change of a code object's own events: one of ours is switched on and off,
 * for the tool that makes ticks or, if there is none, one that is registered for the moment. This runs
 * in the middle of a switch, so that no error can be raised: what goes wrong (no memory, no free tool)
 * costs the events of this call of the function. */
void sl_instrument(PyObject *code)
{
    PyObject *monitoring = PySys_GetObject("monitoring");
    int id = monitoring == NULL ? -1 : tool >= 0 ? tool : claim(monitoring);
    if (id >= 0) {
        const int py_start = 1; /* sys.monitoring.events.PY_START */
        if (set_local(monitoring, id, code, py_start) == 0) {
            set_local(monitoring, id, code, 0);
        }
        if (id != tool) {
            Py_XDECREF(PyObject_CallMethod(monitoring, "free_tool_id", "i", id));
        }
    }
    PyErr_Clear();
}

#endif
