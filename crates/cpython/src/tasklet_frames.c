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

static int bad(const char *what)
{
    PyErr_Format(PyExc_ValueError, "not the frames of a tasklet: %s", what);
    return -1;
}

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

/* The frames as blobs hold them: a tuple, outermost first, of a packed tuple for each frame of a function, (generator,
 * tuple of the frame) for that of a generator, (new object,) for the call of a class. A new reference. */
PyObject *sl_pack_frames(sl_state *s)
{
    Py_ssize_t count = 0;
    for (frame_t *f = state_frame(s); f != NULL; f = f->previous) {
        count++;
    }
    PyObject *frames = PyTuple_New(count);
    int waits_for = SL_WAITS_IN_CALL, operands = s->operands;
    for (frame_t *f = state_frame(s); f != NULL && frames != NULL; f = f->previous) {
        const int values = value_count(f) - operands;
        PyObject *item;
        if (f->owner == FRAME_OWNED_BY_GENERATOR) {
            PyObject *tuple = sl_frame_tuple(f, waits_for, values);
            item = tuple == NULL ? NULL : Py_BuildValue("(ON)", generator_of(f), tuple);
        }
        else {
            item = is_class_call(f) ? tuple_of_call(f) : sl_packed_frame(f, waits_for, values);
        }
        if (item == NULL) {
            Py_CLEAR(frames);
            break;
        }
        PyTuple_SET_ITEM(frames, --count, item);
        waits_for = SL_WAITS_FOR_CALL;
        operands = 0;
    }
    return frames;
}

/* 1 if a function has this code or an equal one, 0 if not, -1 with an exception. */
static int is_code_of(PyObject *function, PyObject *code)
{
    if (!PyFunction_Check(function) || !PyCode_Check(code)) {
        return 0;
    }
    PyObject *own = Py_NewRef(((PyFunctionObject *)function)->func_code);
    const int same = PyObject_RichCompareBool(own, code, Py_EQ);
    Py_DECREF(own);
    return same;
}

/* A list for sl_read_frames, from a tuple with packed frames. For an item that is none, the result of `link(item)` is in
 * the list. Runs Python code, which may be in the code objects as well: they are compared. */
PyObject *sl_unpack_frames(PyObject *frames, PyObject *link)
{
    if (!PyTuple_Check(frames)) {
        bad("packed frames are in a tuple");
        return NULL;
    }
    const Py_ssize_t count = PyTuple_GET_SIZE(frames);
    PyObject *list = PyList_New(0), *function = NULL, *code = NULL; /* of the frame before */
    int same = 0;
    for (Py_ssize_t i = 0; i < count && list != NULL; i++) {
        PyObject *packed = PyTuple_GET_ITEM(frames, i), *item;
        if (PyTuple_CheckExact(packed) && PyTuple_GET_SIZE(packed) >= SL_PACKED_ITEMS && PyTuple_GET_SIZE(packed) <= SL_FRAME_ITEMS) {
            if (PyTuple_GET_ITEM(packed, 0) != function || PyTuple_GET_ITEM(packed, 1) != code) {
                function = PyTuple_GET_ITEM(packed, 0);
                code = PyTuple_GET_ITEM(packed, 1);
                same = is_code_of(function, code);
            }
            PyObject *tuple = same < 0 ? NULL : sl_unpacked_frame(packed, same);
            item = tuple == NULL ? NULL : Py_BuildValue("(ONO)", Py_None, tuple, Py_None);
        }
        else {
            item = PyObject_CallOneArg(link, packed);
        }
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
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

static int read_link(PyObject *item, int waits_for, link_t *link, sl_facts *facts)
{
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 3) {
        return bad("a frame is no tuple of three");
    }
    PyObject *exception = PyTuple_GET_ITEM(item, 2);
    if (exception != Py_None && !PyExceptionInstance_Check(exception)) {
        return bad("a generator handles something else than an exception");
    }
    link->exception = exception == Py_None ? NULL : exception;
    if (sl_read_frame_tuple(PyTuple_GET_ITEM(item, 1), waits_for, &link->parts, facts) < 0
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

static int read_links(PyObject *list, sl_tasklet_frames *frames, sl_facts *facts)
{
    const int count = frames->count;
    for (int i = 0; i < count; i++) {
        link_t *link = &frames->links[i];
        const int waits_for = i == count - 1 ? SL_WAITS_IN_CALL : SL_WAITS_FOR_CALL;
        if (read_link(PyList_GET_ITEM(list, i), waits_for, link, facts) < 0
            || check_consumer(i == 0 ? NULL : &frames->links[i - 1], link) < 0) {
            return -1;
        }
        for (int k = 0; k < i && link->generator != NULL; k++) {
            if (frames->links[k].generator == link->generator) {
                return bad("a generator is there twice");
            }
        }
        frames->slots += link->generator == NULL ? frame_size(link->parts.code) : 0;
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
    sl_facts facts = {0};
    const int result = read_links(list, frames, &facts);
    sl_drop_facts(&facts);
    if (result < 0) {
        PyMem_Free(frames);
        return NULL;
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
