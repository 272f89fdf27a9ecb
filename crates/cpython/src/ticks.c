/* Ticks: how a limited run() notices that a tasklet never yields.
 *
 * A tick is about one bytecode. Ticks are counted in portions of 5: at each iteration of a loop, each start of a
 * Python function and each continuation of a generator. These are noticed by
 *
 *     3.12 on      a sys.monitoring tool, "stackless": the events JUMP, PY_START and PY_RESUME. It is
 *                  registered when the first limit is set, and stays: changing the events instruments all
 *                  code again (PEP 669).
 *     3.11         a C trace function in front of the tasklet's own: at calls, and at lines before the last
 *                  one that was executed in the same frame. Only while a limit is set in the thread (see
 *                  sl_show_ticks).
 *
 * The callback `tick` returns whether the running tasklet is to be interrupted. An interrupt switches tasklets inside
 * the event: the interpreter keeps what it needs on the C stack and in the fields of the thread state that are
 * swapped. Two things have to wait for another event, which is enabled for one code object only, until it
 * happens:
 *
 *     INSTRUCTION  an exception for a tasklet that was interrupted at a JUMP. 3.12 and 3.13 look for
 *                  the handler in the wrong place if a JUMP event raises, so it is raised at the next
 *                  instruction.
 *     LINE         an interrupt that C code between the frames forbids: it happens when the Python
 *                  code below that has gone on to another line.
 */
#include "ticks.h"
#include "frames.h"

static sl_on_ticks callbacks;

/* While `on`, on 3.11, every line and call of this thread's tasklets is a tick. */
void sl_show_ticks(PyThreadState *ts, int on)
{
#if !PY_GE(3, 12)
    sl_thread.ticking = on;
    if (on) {
        show_ticks(ts);
    }
    else {
        hide_ticks(ts);
    }
    use_tracing(ts);
#endif
}

#if !PY_GE(3, 12)
#include <opcode.h>

/* True if the frame is at a jump to itself (`while 1: pass`). That never causes a line event again. */
static int spins(PyFrameObject *frame)
{
    _Py_CODEUNIT at = *frame->f_frame->prev_instr;
    return (_Py_OPCODE(at) == JUMP_BACKWARD || _Py_OPCODE(at) == JUMP_BACKWARD_QUICK) && _Py_OPARG(at) == 1;
}

/* The frame of this thread's last event and the position in it; only compared. */
static __thread struct {
    PyFrameObject *frame;
    _Py_CODEUNIT *at;
} last_line;

/* The number of ticks that this event counts for. A line behind the last one counts for none, but the limit may
 * already be due. */
static int portion(PyFrameObject *frame, int what)
{
    _Py_CODEUNIT *at = frame->f_frame->prev_instr;
    int again = what == PyTrace_CALL || (last_line.frame == frame && at <= last_line.at);
    last_line.frame = frame;
    last_line.at = at;
    return again ? 5 : 0;
}

int sl_trace_ticks(PyObject *before, PyFrameObject *frame, int what, PyObject *arg)
{
    (void)before;
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
    if ((what == PyTrace_LINE || what == PyTrace_CALL || ours) && callbacks.tick(portion(frame, what)) == SL_NOW &&
        callbacks.interrupt(1) < 0) {
        return -1;
    }
    if (ours) {
        return 0;
    }
    /* Read again: while the tasklet was interrupted, it may have been given another trace function. */
    Py_tracefunc own = sl_thread.chained;
    if (own == NULL) {
        return 0;
    }
    const int result = own(PyThreadState_Get()->c_traceobj, frame, what, arg);
    keep_ticks(); /* a trace function may have replaced it */
    return result;
}

int sl_start_ticks(sl_on_ticks given)
{
    callbacks = given;
    return 0;
}

#else

/* sys.monitoring.events of PEP 669 */
enum { PY_START = 1, PY_RESUME = 1 << 1, LINE = 1 << 5, INSTRUCTION = 1 << 6, JUMP = 1 << 7 };

static int tool = -1; /* the id of our tool, once there are ticks */

static int set_local(PyObject *monitoring, int id, PyObject *code, int events)
{
    PyObject *done = PyObject_CallMethod(monitoring, "set_local_events", "iOi", id, code, events);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int set_local_events(PyObject *code, int events)
{
    PyObject *monitoring = PySys_GetObject("monitoring");
    if (monitoring == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "sys.monitoring is gone: run() cannot interrupt");
        return -1;
    }
    return set_local(monitoring, tool, code, events);
}

/* In all events, the first argument is the code object. */

static int tick(PyObject *code, int can_raise)
{
    switch (callbacks.tick(5)) {
    case SL_NOW:
        switch (callbacks.interrupt(can_raise)) {
        case 0:
            return 0;
        case 1:
            return set_local_events(code, INSTRUCTION);
        default:
            return -1;
        }
    case SL_LATER:
        code = sl_outer_code();
        return code == NULL ? 0 : set_local_events(code, LINE);
    default:
        return 0;
    }
}

static PyObject *none_or_error(int result)
{
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *start(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self, (void)count;
    return none_or_error(tick(args[0], 1));
}

static PyObject *jump(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self, (void)count;
    return none_or_error(tick(args[0], 0));
}

/* Other tasklets and threads may run the same code: the event may not be meant for the running tasklet. */
static PyObject *line(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self, (void)count;
    if (!callbacks.settled()) {
        return Py_NewRef(Py_None);
    }
    return none_or_error(set_local_events(args[0], 0) < 0 ? -1 : callbacks.interrupt(1));
}

static PyObject *instruction(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self, (void)count;
    if (!callbacks.must_raise()) {
        return Py_NewRef(Py_None);
    }
    if (set_local_events(args[0], 0) == 0) {
        callbacks.throw_in();
    }
    return NULL;
}

#define FUNCTION(f) {#f, (PyCFunction)(void (*)(void))f, METH_FASTCALL, NULL}
static struct {
    int event;
    PyMethodDef definition;
} handlers[] = {
    {PY_START, FUNCTION(start)}, {PY_RESUME, FUNCTION(start)},          {JUMP, FUNCTION(jump)},
    {LINE, FUNCTION(line)},      {INSTRUCTION, FUNCTION(instruction)},
};

/* The ids that tools may have, the ones without a reserved meaning (PEP 669) first. */
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

static int watch(PyObject *monitoring, int id)
{
    for (size_t i = 0; i < sizeof(handlers) / sizeof(*handlers); i++) {
        PyObject *callback = PyCFunction_New(&handlers[i].definition, NULL);
        PyObject *old = callback == NULL ? NULL
                                         : PyObject_CallMethod(monitoring, "register_callback", "iiO", id,
                                                               handlers[i].event, callback);
        Py_XDECREF(callback);
        if (old == NULL) {
            return -1;
        }
        Py_DECREF(old);
    }
    PyObject *set = PyObject_CallMethod(monitoring, "set_events", "ii", id, PY_START | PY_RESUME | JUMP);
    Py_XDECREF(set);
    return set == NULL ? -1 : 0;
}

/* From now on the callbacks are called, in every thread. 0, or -1 with an exception. */
int sl_start_ticks(sl_on_ticks given)
{
    PyObject *monitoring = PySys_GetObject("monitoring");
    if (monitoring == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "sys.monitoring is gone: run() cannot count ticks");
        return -1;
    }
    if (tool >= 0) {
        return 0;
    }
    callbacks = given;
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

/* CPython does this at any change of a code object's own events: an event is enabled and disabled again, for the tool
 * that makes ticks or, if there is none, for one that is registered only meanwhile. This runs in the middle of a
 * switch, so that no error can be raised: after a failure (no memory, no free tool) this call of the function has
 * no events. */
void sl_instrument(PyObject *code)
{
    PyObject *monitoring = PySys_GetObject("monitoring");
    int id = monitoring == NULL ? -1 : tool >= 0 ? tool : claim(monitoring);
    if (id >= 0) {
        if (set_local(monitoring, id, code, PY_START) < 0 || set_local(monitoring, id, code, 0) < 0) {
            PyErr_Clear();
        }
        if (id != tool) {
            Py_XDECREF(PyObject_CallMethod(monitoring, "free_tool_id", "i", id));
        }
    }
    PyErr_Clear();
}

#endif
