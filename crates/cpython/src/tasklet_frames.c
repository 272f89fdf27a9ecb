/* The frames of a parked tasklet as tuples, and a parked tasklet made from such tuples. */
#include "state.h"
#include "frame_tuple.h"
#include "instruction.h"

/* One frame that is to be made, above the one before it. */
typedef struct {
    sl_parts parts;
    PyGenObject *generator; /* that the frame belongs to, or NULL */
    PyObject *exception;    /* that this generator is handling, or NULL */
} link_t;

/* The frames of a parked tasklet, checked: everything is borrowed from the list they were read from. */
struct sl_tasklet_frames {
    int count, slots;
    link_t links[];
};

static PyObject *generator_or_none(frame_t *f)
{
    return f->owner == FRAME_OWNED_BY_GENERATOR ? (PyObject *)generator_of(f) : Py_None;
}

/* The frame that a hot call of a class puts between the caller and __init__. Its code cannot be pickled: the tuple
 * holds the new object only. */
static PyObject *tuple_of_call(frame_t *f)
{
    return Py_BuildValue("(O)", value_at(f, 0));
}

static int is_class_call(frame_t *f)
{
    return PY_GE(3, 13) && code_of(f)->co_filename == code_of(f)->co_name && _PyFrame_IsIncomplete(f);
}

/* A list of tuples (generator or None, tuple of the frame), outermost frame first; a new reference. */
PyObject *sl_list_frames(sl_state *s)
{
    PyObject *list = PyList_New(0);
    int waits_for = SL_WAITS_IN_CALL, operands = s->operands;
    for (frame_t *f = state_frame(s); f != NULL && list != NULL; f = f->previous) {
        PyObject *tuple = is_class_call(f) ? tuple_of_call(f) : sl_frame_tuple(f, waits_for, value_count(f) - operands);
        PyObject *item = tuple == NULL ? NULL : Py_BuildValue("(ON)", generator_or_none(f), tuple);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
        waits_for = SL_WAITS_FOR_CALL;
        operands = 0;
    }
    if (list != NULL && PyList_Reverse(list) < 0) {
        Py_CLEAR(list);
    }
    return list;
}

static int bad(const char *what)
{
    PyErr_Format(PyExc_ValueError, "not the frames of a tasklet: %s", what);
    return -1;
}

/* Reads a generator that was restored but for its frame. */
static int read_generator(PyObject *o, link_t *link)
{
    if (o == Py_None) {
        return 0;
    }
    if (!PyGen_CheckExact(o) && !PyCoro_CheckExact(o) && !PyAsyncGen_CheckExact(o)) {
        return bad("a generator is none");
    }
    PyGenObject *g = link->generator = (PyGenObject *)o;
    if (g->gi_frame_state != FRAME_CLEARED || generator_code(g) != link->parts.code) {
        return bad("a generator is in use, or runs other code");
    }
    return 0;
}

static int read_link(PyObject *item, int waits_for, link_t *link)
{
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 3) {
        return bad("a frame is no tuple of three");
    }
    PyObject *exception = PyTuple_GET_ITEM(item, 2);
    if (exception != Py_None && !PyExceptionInstance_Check(exception)) {
        return bad("a generator handles something else than an exception");
    }
    link->exception = exception == Py_None ? NULL : exception;
    if (sl_read_frame_tuple(PyTuple_GET_ITEM(item, 1), waits_for, &link->parts) < 0
        || read_generator(PyTuple_GET_ITEM(item, 0), link) < 0) {
        return -1;
    }
    const int of_generator = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR;
    if ((link->generator != NULL) != !!(link->parts.code->co_flags & of_generator)) {
        return bad("a generator without its frame, or the other way round");
    }
    return link->generator == NULL && link->exception != NULL ? bad("an exception that no generator handles") : 0;
}

/* A frame that iterates or awaits has its generator above it, and no other frame has a generator above it. */
static int check_consumer(const link_t *below, const link_t *link)
{
    const int drives = below != NULL && (below->parts.opcode == FOR_ITER || below->parts.opcode == SEND);
    if (drives != (link->generator != NULL)) {
        return bad("a generator is there without the loop over it, or the other way round");
    }
    if (!drives) {
        return 0;
    }
    const int at = below->parts.count - (PY_GE(3, 15) ? 2 : 1);
    if (at < below->parts.code->co_nlocalsplus || PyTuple_GET_ITEM(below->parts.values, at) != (PyObject *)link->generator) {
        return bad("a loop is over another generator");
    }
    return 0;
}

/* Reads a list of (generator or None, tuple of the frame, exception or None). NULL with ValueError or MemoryError. To
 * be freed with PyMem_Free. */
sl_tasklet_frames *sl_read_frames(PyObject *list)
{
    if (!PyList_Check(list) || PyList_GET_SIZE(list) == 0 || PyList_GET_SIZE(list) > 1 << 24) {
        bad("no list with frames in it");
        return NULL;
    }
    const int count = (int)PyList_GET_SIZE(list);
    sl_tasklet_frames *frames = PyMem_Calloc(1, sizeof(sl_tasklet_frames) + sizeof(link_t) * count);
    if (frames == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    frames->count = count;
    for (int i = 0; i < count; i++) {
        link_t *link = &frames->links[i];
        const int waits_for = i == count - 1 ? SL_WAITS_IN_CALL : SL_WAITS_FOR_CALL;
        if (read_link(PyList_GET_ITEM(list, i), waits_for, link) < 0
            || check_consumer(i == 0 ? NULL : &frames->links[i - 1], link) < 0) {
            PyMem_Free(frames);
            return NULL;
        }
        for (int k = 0; k < i && link->generator != NULL; k++) {
            if (frames->links[k].generator == link->generator) {
                bad("a generator is there twice");
                PyMem_Free(frames);
                return NULL;
            }
        }
        frames->slots += link->generator == NULL ? frame_size(link->parts.code) : 0;
    }
    return frames;
}

/* The number of bytes that the state of such a tasklet needs. */
size_t sl_frames_size(const sl_tasklet_frames *frames)
{
    return offsetof(sl_state, data) + offsetof(_PyStackChunk, data) + sizeof(PyObject *) * (1 + (size_t)frames->slots);
}

/* Fills the state of a parked tasklet, in memory of that size. It cannot fail. The reference to the context is taken
 * over; `exception` is the one that the tasklet is handling, or NULL. */
void sl_build_frames(const sl_tasklet_frames *frames, sl_state *s, PyObject *context, PyObject *exception)
{
    memset(s, 0, sizeof(*s));
    s->root = s->chunk = &s->data;
    s->data.size = sl_frames_size(frames) - offsetof(sl_state, data);
    PyObject **at = &s->data.data[1];
    frame_t *below = NULL;
    s->exc_state.exc_value = Py_XNewRef(exception);
    s->exc_info = &s->exc_state;
    for (int i = 0; i < frames->count; i++) {
        const link_t *link = &frames->links[i];
        PyGenObject *g = link->generator;
        frame_t *f = (frame_t *)at;
        if (g == NULL) {
            sl_build_frame(&link->parts, f, FRAME_OWNED_BY_THREAD);
            at += frame_size(link->parts.code);
        }
        else {
            f = frame_in(g);
            sl_build_frame(&link->parts, f, FRAME_OWNED_BY_GENERATOR);
#if PY_GE(3, 12)
            Py_DECREF(link->parts.code); /* it has its code already */
#endif
            g->gi_frame_state = FRAME_EXECUTING;
            g->gi_exc_state.exc_value = Py_XNewRef(link->exception);
            g->gi_exc_state.previous_item = s->exc_info;
            s->exc_info = &g->gi_exc_state;
        }
        f->previous = below;
        below = f;
    }
    set_state_frame(s, below);
    s->top = s->limit = at;
    s->depth = frames->count;
    s->ensured = 1;
    s->context = context;
}

/* True if a parked tasklet waits for the next value of a `for`. */
int sl_iterates(sl_state *s)
{
    return sl_instruction(state_frame(s)).op == FOR_ITER;
}

/* The exception that a suspended tasklet is handling outside of its generators: borrowed, or NULL. */
PyObject *sl_handled(sl_state *s)
{
    return s->exc_state.exc_value;
}
