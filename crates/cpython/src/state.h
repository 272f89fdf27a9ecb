/* A tasklet's share of the thread state while it does not run, for shim.c, which has the picture, and
 * park.c. */
#include "versions.h"

typedef struct sl_state {
#if V313
    frame_t *frame;
    void *executor;
#if V315
    void *jit_exit;
#endif
#else
    _PyCFrame *cframe;
    int trash_nesting;
#endif
    int depth;
    int ensured; /* PyGILState_Ensure() calls that are under way, and 1 */
#if V314
    uintptr_t c_stack[3]; /* top, soft limit, hard limit */
#else
    int c_remaining;
#endif
    int tracing;
    int event;
#if !V311
    uint64_t version; /* of sys.monitoring, see instrumentation() */
#endif
    _PyStackChunk *chunk;
    PyObject **top;
    PyObject **limit;
    _PyErr_StackItem *exc_info;
    PyObject *context;
    PyObject *trash;
    /* Not a saved field, but the bottom of the chunks. */
    _PyStackChunk *root;
    /* Only where `traced` says so; NULL otherwise. Seldom used, hence behind the rest. */
    int traced;
    /* Of a parked tasklet: so many values on top of its innermost frame are those of the pending call. */
    int operands;
    int call_length; /* in code units; 0: is to be found out */
    /* Of a woken tasklet, both NULL where there is none: the parked state in which the frames still lie that
     * have not gone on, and the innermost of all frames, wherever they lie, that have not. */
    struct sl_state *rest;
    frame_t *floor;
    Py_tracefunc tracefunc, profilefunc;
    PyObject *traceobj, *profileobj;
    _PyErr_StackItem exc_state;
#if !V313
    _PyCFrame root_cframe;
#endif
    /* The data stack begins here; in a main tasklet it is unused. Keep it last. */
    _PyStackChunk data;
} sl_state;

static inline frame_t *thread_frame(PyThreadState *ts)
{
#if V313
    return ts->current_frame;
#else
    return ts->cframe->current_frame;
#endif
}

static inline frame_t *state_frame(sl_state *s)
{
#if V313
    return s->frame;
#else
    return s->cframe->current_frame;
#endif
}
