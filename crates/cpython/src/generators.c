/* Generators, coroutines and asynchronous generators as plain tuples, and made from such tuples. A generator that is
 * restored exists before its frame does, since its variables may refer to it: sl_new_generator makes one that looks
 * exhausted, sl_restore_generator fills it. Nothing here runs Python code, but for allocations, which may collect
 * garbage. */
#include "exports.h"
#include "frame_tuple.h"
#include <opcode.h>

#define STATE_WAITING 0   /* in a call, or driving a generator: its frame is one of a tasklet's */
#define STATE_SUSPENDED 1 /* at a yield or await, or not started */
#define STATE_FINISHED 2

#if !PY_GE(3, 12)
#define FRAME_STATE_FINISHED(state) ((state) >= FRAME_COMPLETED)
#endif

static PyGenObject *generator_arg(PyObject *o)
{
    if (!PyGen_CheckExact(o) && !PyCoro_CheckExact(o) && !PyAsyncGen_CheckExact(o)) {
        PyErr_Format(PyExc_TypeError, "a generator, coroutine or asynchronous generator is needed, not %.100s",
                     Py_TYPE(o)->tp_name);
        return NULL;
    }
    return (PyGenObject *)o;
}

static int slots_of(PyCodeObject *code)
{
    return frame_size(code) - FRAME_SPECIALS_SIZE;
}

static inline PyObject *or_none(PyObject *o)
{
    return o == NULL ? Py_None : o;
}

/* As a tuple; a new reference.
 *
 *     0  its state: 0 waiting as a part of a tasklet, 1 suspended, 2 finished
 *     1  the tuple of its frame; if it is finished its code
 *     2  __name__    3  __qualname__
 *     4  the exception that it is handling, or None
 *     5  a coroutine's origin, an asynchronous generator's finalizer hook, or None
 *     6  flags of an asynchronous generator: 1 its hooks were called, 2 closed, 4 running
 *     7  its slots, for sl_new_generator
 *
 * `waiting` is the tuple of its frame if it waits as a part of a parked tasklet, else NULL. ValueError if it is
 * running. */
PyObject *sl_generator_tuple(PyObject *o, PyObject *waiting)
{
    PyGenObject *g = generator_arg(o);
    if (g == NULL) {
        return NULL;
    }
    if (g->gi_frame_state == FRAME_EXECUTING && waiting == NULL) {
        PyErr_Format(PyExc_ValueError, "the %s %R is running: only a tasklet that it is a part of can be pickled",
                     Py_TYPE(o)->tp_name, g->gi_qualname);
        return NULL;
    }
    int state = STATE_SUSPENDED;
    PyObject *frame;
    if (FRAME_STATE_FINISHED(g->gi_frame_state)) {
        state = STATE_FINISHED;
        frame = Py_NewRef(generator_code(g));
    }
    else if (g->gi_frame_state == FRAME_EXECUTING) {
        state = STATE_WAITING;
        frame = Py_NewRef(waiting);
    }
    else {
        frame = sl_frame_tuple(frame_in(g), SL_WAITS_FOR_SEND, value_count(frame_in(g)));
    }
    if (frame == NULL) {
        return NULL;
    }
    /* A plain generator does not set the rest. */
    PyObject *origin = PyGen_CheckExact(o) ? NULL : g->gi_origin_or_finalizer;
    int flags = 0;
    if (PyAsyncGen_CheckExact(o)) {
        flags = (g->gi_hooks_inited ? 1 : 0) | (g->gi_closed ? 2 : 0) | (g->gi_running_async ? 4 : 0);
    }
    return Py_BuildValue("iNOOOOii", state, frame, g->gi_name, g->gi_qualname, or_none(g->gi_exc_state.exc_value),
                         or_none(origin), flags, slots_of(generator_code(g)));
}

/* The name of the code of a generator that was not filled yet. The first line of that code is the number of the
 * generator's slots, which generators themselves do not store. */
static const char unrestored[] = "<unrestored>";

/* A generator that looks exhausted, with room for `slots` variables and values. */
PyObject *sl_new_generator(PyObject *type, int slots)
{
    if (type != (PyObject *)&PyGen_Type && type != (PyObject *)&PyCoro_Type && type != (PyObject *)&PyAsyncGen_Type) {
        PyErr_SetString(PyExc_TypeError, "the type of a generator, coroutine or asynchronous generator is needed");
        return NULL;
    }
    if (slots < 0 || slots > 1 << 20) {
        PyErr_SetString(PyExc_ValueError, "no generator is that large");
        return NULL;
    }
    PyObject *code = (PyObject *)PyCode_NewEmpty(unrestored, unrestored, slots);
    PyObject *name = PyUnicode_FromString(unrestored);
    PyGenObject *g = code != NULL && name != NULL ? PyObject_GC_NewVar(PyGenObject, (PyTypeObject *)type, slots) : NULL;
    if (g == NULL) {
        Py_XDECREF(code);
        Py_XDECREF(name);
        return NULL;
    }
    const size_t head = offsetof(PyGenObject, gi_weakreflist);
    memset((char *)g + head, 0, (size_t)Py_TYPE(g)->tp_basicsize - head);
#if !PY_GE(3, 12)
    g->gi_code = NULL;
#elif PY_GE(3, 14)
    set_function(frame_in(g), NO_VALUE);
    set_value_count(frame_in(g), 0);
#endif
    frame_in(g)->owner = FRAME_OWNED_BY_GENERATOR;
    g->gi_frame_state = FRAME_CLEARED;
    g->gi_name = name;
    g->gi_qualname = Py_NewRef(name);
    set_generator_code(g, code);
    PyObject_GC_Track(g);
    return (PyObject *)g;
}

static int bad(const char *what)
{
    PyErr_Format(PyExc_ValueError, "not the picture of a generator: %s", what);
    return -1;
}

static int is_for(PyGenObject *g, PyCodeObject *code)
{
    const int kinds = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR;
    const int kind = PyGen_CheckExact(g) ? CO_GENERATOR : PyCoro_CheckExact(g) ? CO_COROUTINE : CO_ASYNC_GENERATOR;
    return (code->co_flags & kinds) == kind && generator_code(g)->co_firstlineno == slots_of(code);
}

static int suspended_state(const sl_parts *p)
{
    if (p->opcode == RETURN_GENERATOR) {
        return FRAME_CREATED;
    }
#if PY_GE(3, 13)
    return p->oparg == 1 ? FRAME_SUSPENDED_YIELD_FROM : FRAME_SUSPENDED;
#else
    return FRAME_SUSPENDED;
#endif
}

/* Fills a generator that sl_new_generator has made. One that is a part of a tasklet gets its frame together with
 * the tasklet: see tasklet_frames.c. 0, or -1 with TypeError or ValueError. */
int sl_restore_generator(PyObject *o, PyObject *tuple)
{
    PyGenObject *g = generator_arg(o);
    if (g == NULL) {
        return -1;
    }
    PyCodeObject *old = generator_code(g);
    if (!FRAME_STATE_FINISHED(g->gi_frame_state)
        || PyUnicode_CompareWithASCIIString(old->co_name, unrestored) != 0) {
        return bad("the generator is in use");
    }
    int state, flags, slots;
    PyObject *frame, *name, *qualname, *exception, *origin;
    if (!PyTuple_Check(tuple)
        || !PyArg_ParseTuple(tuple, "iOUUOOii", &state, &frame, &name, &qualname, &exception, &origin, &flags, &slots)) {
        PyErr_Clear();
        return bad("it is no tuple of eight");
    }
    if (exception != Py_None && (!PyExceptionInstance_Check(exception) || state == STATE_FINISHED)) {
        PyErr_Format(PyExc_ValueError, "not the picture of a generator: %U() handles an exception that came back as %.100s",
                     qualname, Py_TYPE(exception)->tp_name);
        return -1;
    }
    if (state < STATE_WAITING || state > STATE_FINISHED || flags < 0 || flags > 7) {
        return bad("a number is out of range");
    }
    sl_parts parts;
    parts.code = (PyCodeObject *)frame;
    sl_facts facts = {0};
    const int waits_for = state == STATE_WAITING ? SL_WAITS_UNCHECKED : SL_WAITS_FOR_SEND;
    const int result = state != STATE_FINISHED ? sl_read_frame_tuple(frame, waits_for, &parts, &facts)
                       : PyCode_Check(frame)   ? 0
                                               : bad("no code");
    sl_drop_facts(&facts);
    if (result < 0) {
        return -1;
    }
    if (!is_for(g, parts.code)) {
        return bad("it is for another kind of generator, or a larger one");
    }
#if !PY_GE(3, 12)
    Py_INCREF(old);
#endif
    set_generator_code(g, Py_NewRef(parts.code));
    if (state == STATE_SUSPENDED) {
#if PY_GE(3, 12)
        Py_DECREF(parts.code); /* the frame takes another reference */
#endif
        sl_build_frame(&parts, frame_in(g), FRAME_OWNED_BY_GENERATOR);
        g->gi_exc_state.exc_value = exception == Py_None ? NULL : Py_NewRef(exception);
        g->gi_frame_state = (int8_t)suspended_state(&parts);
    }
    Py_SETREF(g->gi_name, Py_NewRef(name));
    Py_SETREF(g->gi_qualname, Py_NewRef(qualname));
    if (!PyGen_CheckExact(o)) {
        g->gi_origin_or_finalizer = origin == Py_None ? NULL : Py_NewRef(origin);
    }
    g->gi_hooks_inited = flags & 1;
    g->gi_closed = flags >> 1 & 1;
    g->gi_running_async = flags >> 2 & 1;
    Py_DECREF(old);
    return 0;
}
