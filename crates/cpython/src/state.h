/* `sl_state`: a tasklet's share of the thread state while the tasklet does not run. switch.c has the picture. */
#pragma once
#include "exports.h"
#include "frame.h"

/* What an event loop of asyncio has set in the thread: see event_loop.c. */
typedef struct sl_loop sl_loop;

struct sl_state {
#if PY_GE(3, 13)
    frame_t *frame;
    void *executor;
#if PY_GE(3, 15)
    void *jit_exit;
#endif
#else
    _PyCFrame *cframe;
    int trash_nesting;
#endif
    int depth;
    int ensured; /* 1 + the PyGILState_Ensure() calls that are under way */
#if PY_GE(3, 14)
    uintptr_t c_stack[3]; /* top, soft limit, hard limit */
#else
    int c_remaining;
#endif
    int tracing;
    int event;
#if PY_GE(3, 12)
    uint64_t version; /* of sys.monitoring, see instrumentation() in switch.c */
#endif
    _PyStackChunk *chunk;
    PyObject **top;
    PyObject **limit;
    _PyErr_StackItem *exc_info;
    PyObject *context;
    PyObject *trash;
    /* The lowest of the chunks; no saved field. */
    _PyStackChunk *root;
    /* True if one of the four fields for tracing is set. They are seldom used, hence behind the rest. */
    int traced;
    sl_loop *loop; /* NULL if no event loop was running at any stop */
    /* Of a parked tasklet: the number of values on its innermost frame that are operands of the pending call. */
    int operands;
    int call_length; /* of the pending call, in code units; 0: not determined yet */
    /* Of a woken tasklet, else NULL: the parked state that still holds the frames that have not continued, and
     * the innermost of all frames that have not continued, wherever they are. */
    struct sl_state *rest;
    frame_t *floor;
    Py_tracefunc tracefunc, profilefunc;
    PyObject *traceobj, *profileobj;
    _PyErr_StackItem exc_state;
#if !PY_GE(3, 13)
    _PyCFrame root_cframe;
#endif
    /* The data stack begins here; in a main tasklet it is unused. Keep it last. */
    _PyStackChunk data;
};

/* The innermost frame of a suspended tasklet. */
static inline frame_t *state_frame(sl_state *s)
{
#if PY_GE(3, 13)
    return s->frame;
#else
    return s->cframe->current_frame;
#endif
}

static inline void set_state_frame(sl_state *s, frame_t *f)
{
#if PY_GE(3, 13)
    s->frame = f;
#else
    s->cframe = &s->root_cframe;
    s->root_cframe.current_frame = f;
#endif
}

/* The innermost frame; `s` is NULL for the running tasklet. */
static inline frame_t *innermost_frame(PyThreadState *ts, sl_state *s)
{
    return s == NULL ? thread_frame(ts) : state_frame(s);
}

/* The lowest address of a data stack that frames use. */
static inline PyObject **bottom_of(sl_state *s)
{
    return &s->data.data[1];
}

/* The end of the part of the root chunk that is in use. */
static inline PyObject **top_of(sl_state *s)
{
    return s->chunk == &s->data ? s->top : &s->data.data[s->data.top];
}

/* The number of bytes in use in the root chunk. */
static inline size_t used_bytes(sl_state *s)
{
    return (size_t)((char *)top_of(s) - (char *)bottom_of(s));
}

/* True if the frame is in the root chunk. */
static inline int lies_in(frame_t *f, sl_state *s)
{
    return (PyObject **)f >= bottom_of(s) && (PyObject **)f < top_of(s);
}
