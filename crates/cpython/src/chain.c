/* The frames of a parked tasklet as pictures, and a parked tasklet made of such. */
#include "state.h"
#include "picture.h"
#include <opcode.h>

/* One frame that is to be made. */
typedef struct {
    sl_parts parts;
    PyGenObject *generator; /* whose frame it is, or NULL */
    PyObject *exception;    /* that the generator is handling, or NULL */
} link_t;

/* The frames of a parked tasklet, checked: everything is borrowed from the list they were read from. */
typedef struct {
    int count, slots;
    link_t links[];
} sl_chain;

static PyObject *generator_or_none(frame_t *f)
{
    return f->owner == FRAME_OWNED_BY_GENERATOR ? (PyObject *)generator_of(f) : Py_None;
}

/* What the frame is in that a hot call of a class puts between the caller and __init__: its code cannot
 * be pickled. In its place: the new object. */
static PyObject *picture_of_call(frame_t *f)
{
#if V314
    return Py_BuildValue("(O)", PyStackRef_AsPyObjectBorrow(f->localsplus[0]));
#else
    return Py_BuildValue("(O)", f->localsplus[0]);
#endif
}

static int is_class_call(frame_t *f)
{
#if V313
    return ((PyCodeObject *)code_of(f))->co_filename == ((PyCodeObject *)code_of(f))->co_name
           && _PyFrame_IsIncomplete(f);
#else
    return 0;
#endif
}

/* A list of tuples (generator or None, picture), outermost frame first; a new reference. */
PyObject *sl_chain_pictures(sl_state *s)
{
    PyObject *list = PyList_New(0);
    int waits_for = SL_WAITS_IN_CALL, operands = s->operands;
    for (frame_t *f = state_frame(s); f != NULL && list != NULL; f = f->previous) {
        PyObject *picture = is_class_call(f) ? picture_of_call(f) : sl_picture(f, waits_for, sl_values(f) - operands);
        PyObject *item = picture == NULL ? NULL : Py_BuildValue("(ON)", generator_or_none(f), picture);
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

/* A generator that was restored up to its frame. */
static int read_generator(PyObject *o, link_t *link)
{
    if (o == Py_None) {
        return 0;
    }
    if (!PyGen_CheckExact(o) && !PyCoro_CheckExact(o) && !PyAsyncGen_CheckExact(o)) {
        return bad("a generator is none");
    }
    PyGenObject *g = link->generator = (PyGenObject *)o;
#if V311
    PyObject *code = (PyObject *)g->gi_code;
#else
    PyObject *code = code_of(sl_generator_frame(o));
#endif
    if (g->gi_frame_state != FRAME_CLEARED || code != (PyObject *)link->parts.code) {
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
    if (sl_read_picture(PyTuple_GET_ITEM(item, 1), waits_for, &link->parts) < 0
        || read_generator(PyTuple_GET_ITEM(item, 0), link) < 0) {
        return -1;
    }
    const int of_generator = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR;
    if ((link->generator != NULL) != !!(link->parts.code->co_flags & of_generator)) {
        return bad("a generator without its frame, or the other way round");
    }
    return link->generator == NULL && link->exception != NULL ? bad("an exception that nobody handles") : 0;
}

/* The generator of a call is what the one below it iterates over or awaits; no other call is there for one. */
static int check_consumer(const link_t *below, const link_t *link)
{
    const int drives = below != NULL && (below->parts.opcode == FOR_ITER || below->parts.opcode == SEND);
    if (drives != (link->generator != NULL)) {
        return bad("a generator is there without the loop over it, or the other way round");
    }
    if (!drives) {
        return 0;
    }
    const int at = below->parts.count - (V315 ? 2 : 1);
    if (at < below->parts.code->co_nlocalsplus || PyTuple_GET_ITEM(below->parts.values, at) != (PyObject *)link->generator) {
        return bad("a loop is over another generator");
    }
    return 0;
}

/* Reads a list of (generator or None, picture, exception or None). NULL with ValueError or MemoryError.
 * To be freed with PyMem_Free. */
sl_chain *sl_read_chain(PyObject *list)
{
    if (!PyList_Check(list) || PyList_GET_SIZE(list) == 0 || PyList_GET_SIZE(list) > 1 << 24) {
        bad("no list with frames in it");
        return NULL;
    }
    const int count = (int)PyList_GET_SIZE(list);
    sl_chain *chain = PyMem_Calloc(1, sizeof(sl_chain) + sizeof(link_t) * count);
    if (chain == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    chain->count = count;
    for (int i = 0; i < count; i++) {
        link_t *link = &chain->links[i];
        const int waits_for = i == count - 1 ? SL_WAITS_IN_CALL : SL_WAITS_FOR_CALL;
        if (read_link(PyList_GET_ITEM(list, i), waits_for, link) < 0
            || check_consumer(i == 0 ? NULL : &chain->links[i - 1], link) < 0) {
            PyMem_Free(chain);
            return NULL;
        }
        for (int k = 0; k < i && link->generator != NULL; k++) {
            if (chain->links[k].generator == link->generator) {
                bad("a generator is there twice");
                PyMem_Free(chain);
                return NULL;
            }
        }
        chain->slots += link->generator == NULL ? sl_frame_size(link->parts.code) : 0;
    }
    return chain;
}

/* The bytes that the state of such a tasklet takes. */
size_t sl_chain_size(const sl_chain *chain)
{
    return offsetof(sl_state, data) + offsetof(_PyStackChunk, data) + sizeof(PyObject *) * (1 + (size_t)chain->slots);
}

/* Fills the state of a parked tasklet, in memory of that size. It cannot fail. The reference to the context
 * is taken over; `exception` is what the tasklet is handling, or NULL. */
void sl_build_chain(const sl_chain *chain, sl_state *s, PyObject *context, PyObject *exception)
{
    memset(s, 0, sizeof(*s));
    s->root = s->chunk = &s->data;
    s->data.size = sl_chain_size(chain) - offsetof(sl_state, data);
    PyObject **at = &s->data.data[1];
    frame_t *below = NULL;
    s->exc_state.exc_value = Py_XNewRef(exception);
    s->exc_info = &s->exc_state;
    for (int i = 0; i < chain->count; i++) {
        const link_t *link = &chain->links[i];
        PyGenObject *g = link->generator;
        frame_t *f = (frame_t *)at;
        if (g == NULL) {
            sl_build_frame(&link->parts, f, FRAME_OWNED_BY_THREAD);
            at += sl_frame_size(link->parts.code);
        }
        else {
            f = sl_generator_frame((PyObject *)g);
            sl_build_frame(&link->parts, f, FRAME_OWNED_BY_GENERATOR);
#if !V311
            Py_DECREF(link->parts.code); /* it had its code already */
#endif
            g->gi_frame_state = FRAME_EXECUTING;
            g->gi_exc_state.exc_value = Py_XNewRef(link->exception);
            g->gi_exc_state.previous_item = s->exc_info;
            s->exc_info = &g->gi_exc_state;
        }
        f->previous = below;
        below = f;
    }
#if V313
    s->frame = below;
#else
    s->cframe = &s->root_cframe;
    s->root_cframe.current_frame = below;
#endif
    s->top = s->limit = at;
    s->depth = chain->count;
    s->ensured = 1;
    s->context = context;
}

/* Does a parked tasklet wait for the next value of a `for`? */
int sl_iterates(sl_state *s)
{
    frame_t *f = state_frame(s);
    const int at = _PyInterpreterFrame_LASTI(f);
    PyObject *bytes = PyCode_GetCode((PyCodeObject *)code_of(f));
    if (bytes == NULL) {
        PyErr_Clear();
        return 0;
    }
    const int result = ((unsigned char *)PyBytes_AS_STRING(bytes))[2 * at] == FOR_ITER;
    Py_DECREF(bytes);
    return result;
}

/* The exception that a suspended tasklet is handling outside of its generators: borrowed, or NULL. */
PyObject *sl_handled(sl_state *s)
{
    return s->exc_state.exc_value;
}
