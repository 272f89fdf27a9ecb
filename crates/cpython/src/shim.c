/* What we touch of CPython's inside, compiled against the headers of the interpreter it will run
 * in. Everything here is private to that minor version: layouts come from its own headers, never
 * from a copy of ours. Scheduling is not known here.
 *
 * A tasklet that is not running has its share of the thread state written down in a `sl_state`:
 *
 *     thread state (one per thread)               sl_state (one per started tasklet)
 *     ┌───────────────────────────────┐           ┌──────────────────────────────┐
 *     │ frame, data stack, exc_info,  │  <─load─  │ the same fields, saved       │
 *     │ depth, context, tracing, ...  │  ─save─>  ├──────────────────────────────┤
 *     ├───────────────────────────────┤           │ exc_state: bottom of its     │
 *     │ everything else is the        │           │   stack of handled exceptions│
 *     │ thread's and stays            │           │ root chunk: its data stack,  │
 *     └───────────────────────────────┘           │   frames grow upwards ──>    │
 *                                                 └──────────────────────────────┘
 *
 * The columns (source: Include/cpython/pystate.h and Python/ceval.c of each version):
 *
 *     what          3.11                     3.12                     3.13             3.14, 3.15
 *     frame         cframe (chain of         cframe                   current_frame    current_frame; begins
 *                   records on the C stack)                                            with base_frame (3.15)
 *     depth         recursion_remaining      py_recursion_remaining   as 3.12          as 3.12
 *     C depth       (the same counter)       c_recursion_remaining    as 3.12          addresses: c_stack_top,
 *                                                                                      _soft_limit, _hard_limit
 *     event         tracing_what             what_event               as 3.12          as 3.12
 *     ensured       gilstate_counter: a callback that waits in one tasklet must not keep the thread state
 *                   alive when C code that began the thread returns in another
 *     trash can     trash_delete_nesting,    trash.delete_nesting,    delete_later     delete_later
 *                   trash_delete_later       trash.delete_later
 *     executor      -                        -                        previous_        current_executor; jit_exit,
 *                                                                     executor         last_profiled_frame (3.15)
 *     entry frame   is_entry                 owner CSTACK             owner CSTACK     owner INTERPRETER
 *     values        PyObject *               PyObject *               PyObject *       _PyStackRef: some are
 *                                                                                      borrowed, some are ints
 *
 * Depth is kept as calls in progress, not as calls remaining, so that sys.setrecursionlimit()
 * holds for suspended tasklets as well. Left per thread: async generator hooks, the coroutine
 * origin depth, the thread's dict.
 */
#include "state.h"
#include "ticks.h"

#define SL_STATE_SIZE 256 /* as crates/cpython/src/lib.rs has it */
_Static_assert(sizeof(sl_state) <= SL_STATE_SIZE, "sl_state outgrew its place");

/* Both are copied together. */
#if V311
#define EVENT tracing_what
#else
#define EVENT what_event
#endif
_Static_assert(offsetof(PyThreadState, EVENT) == offsetof(PyThreadState, tracing) + sizeof(int), "moved apart");
_Static_assert(offsetof(sl_state, event) == offsetof(sl_state, tracing) + sizeof(int), "moved apart");

/* ------------------------------------------------------------------ the calling thread */

/* What we must know of a thread at every call. The initial-exec model makes it one load, and the
 * loader keeps room for such small variables of libraries that are loaded late. */
static __thread struct {
    void *word; /* our caller's; aligned, so that its lowest bit is free */
    PyThreadState *ts;
    sl_state *running;
    uint64_t ended; /* the number of a thread state that has ended here; they begin with 1 */
    int traced; /* a tasklet with a trace or profile function has stopped since we were asked */
    int forbidden; /* not 0: switches are refused for a reason that our caller knows */
#if V311
    int ticking;           /* the tick function stands in front of the trace function */
    Py_tracefunc chained;  /* then: the running tasklet's own trace function */
#endif
} mine __attribute__((tls_model("initial-exec")));

#if V311
/* The running tasklet's own trace function. */
static inline Py_tracefunc own_tracefunc(PyThreadState *ts)
{
    return ts->c_tracefunc == sl_trace_ticks ? mine.chained : ts->c_tracefunc;
}

static inline void use_tracing(PyThreadState *ts)
{
    int on = ts->tracing == 0 && (ts->c_tracefunc != NULL || ts->c_profilefunc != NULL);
    ts->cframe->use_tracing = on ? 255 : 0;
}

/* Puts the tick function in front of the running tasklet's trace function. sys.gettrace() goes on
 * showing that one, since the object belongs to it. */
static inline void show_ticks(PyThreadState *ts)
{
    mine.chained = own_tracefunc(ts);
    ts->c_tracefunc = sl_trace_ticks;
}

static void hide_ticks(PyThreadState *ts)
{
    ts->c_tracefunc = own_tracefunc(ts);
}

Py_tracefunc sl_chained(void)
{
    return mine.chained;
}

/* The running tasklet may have got another trace function, which does not make ticks. */
void sl_keep_ticks(void)
{
    if (mine.ticking && mine.ts->c_tracefunc != sl_trace_ticks) {
        show_ticks(mine.ts);
    }
}
#else
#define own_tracefunc(ts) ((ts)->c_tracefunc)
#define hide_ticks(ts) ((void)0)
#endif

/* While `on`, on 3.11, every line and call of this thread's tasklets is a tick. */
void sl_show_ticks(PyThreadState *ts, int on)
{
#if V311
    mine.ticking = on;
    if (on) {
        show_ticks(ts);
    }
    else {
        hide_ticks(ts);
    }
    use_tracing(ts);
#endif
}

/* ------------------------------------------------------------------ swapping */

#if !V311
/* Goes up whenever a tool or a trace function wants other events. CPython brings running code up to
 * date then, found by the frames that the threads execute; suspended tasklets are not among them. */
static inline uint64_t instrumentation(PyThreadState *ts)
{
#if V312
    return ts->interp->monitoring_version;
#else
    return ts->eval_breaker & ~(uintptr_t)_PY_EVAL_EVENTS_MASK;
#endif
}

/* The first frame of a Python function. Between a class and its __init__ lies a frame that runs code of the
 * interpreter's own, which stays incomplete: it must not be instrumented. */
static inline frame_t *python_frame(frame_t *f)
{
    while (f != NULL && (is_shim(f) || _PyFrame_IsIncomplete(f))) {
        f = f->previous;
    }
    return f;
}

/* The running tasklet was suspended while that number went up: its code is brought up to date, before
 * any of it runs. */
static __attribute__((noinline, cold)) void catch_up(PyThreadState *ts)
{
    for (frame_t *f = python_frame(thread_frame(ts)); f != NULL; f = python_frame(f->previous)) {
        PyObject *code = code_of(f);
        if (((PyCodeObject *)code)->_co_instrumentation_version != instrumentation(ts)) {
            sl_instrument(code);
        }
    }
}
#endif

#if V314
#define EXECUTOR current_executor
#else
#define EXECUTOR previous_executor
#endif

#if V314
/* Not in every 3.14, and only declared by the headers that go with it. */
int PyUnstable_ThreadState_SetStackProtection(PyThreadState *, void *, size_t);
#pragma weak PyUnstable_ThreadState_SetStackProtection

static uintptr_t soft_above, hard_above; /* the limits' distance from a stack's lowest address */

static inline void set_c_stack(PyThreadState *ts, uintptr_t top, uintptr_t soft, uintptr_t hard)
{
    _PyThreadStateImpl *impl = (_PyThreadStateImpl *)ts;
    impl->c_stack_top = top;
    impl->c_stack_soft_limit = soft;
    impl->c_stack_hard_limit = hard;
}
#endif

/* Is this the interpreter that the shim was compiled for? NULL, or why not. The fields for the C
 * stack's limits lie where the thread state's size puts them, which a patch release may change. */
const char *sl_check(PyThreadState *ts)
{
#if V314
    const _PyThreadStateImpl *impl = (const _PyThreadStateImpl *)ts;
    const uintptr_t top = impl->c_stack_top, soft = impl->c_stack_soft_limit, hard = impl->c_stack_hard_limit;
    if (PyUnstable_ThreadState_SetStackProtection == NULL) {
        return "stackless needs a newer patch release of this Python: one with "
               "PyUnstable_ThreadState_SetStackProtection";
    }
    const size_t size = (size_t)8 << 20;
    const uintptr_t base = top - size;
    if (PyUnstable_ThreadState_SetStackProtection(ts, (void *)base, size) < 0) {
        PyErr_Clear();
        return "stackless cannot set the limits of the C stack in this Python";
    }
    soft_above = impl->c_stack_soft_limit - base;
    hard_above = impl->c_stack_hard_limit - base;
    int fits = impl->c_stack_top == top && hard_above < soft_above && soft_above < size / 2;
    if (!fits) {
        PyUnstable_ThreadState_SetStackProtection(ts, (void *)base, size);
        return "stackless was built for another patch release of this Python: install it anew";
    }
    set_c_stack((PyThreadState *)ts, top, soft, hard);
#endif
    return NULL;
}

static inline void save(PyThreadState *ts, sl_state *s)
{
#if V313
    s->frame = ts->current_frame;
    s->executor = ts->EXECUTOR;
#if V315
    s->jit_exit = ts->jit_exit;
#endif
    s->trash = ts->delete_later;
#else
    s->cframe = ts->cframe;
#endif
#if V312
    s->trash_nesting = ts->trash.delete_nesting;
    s->trash = ts->trash.delete_later;
#elif V311
    s->trash_nesting = ts->trash_delete_nesting;
    s->trash = ts->trash_delete_later;
#endif
#if V311
    s->depth = ts->recursion_limit - ts->recursion_remaining;
#else
    s->depth = ts->py_recursion_limit - ts->py_recursion_remaining;
#if V314
    const _PyThreadStateImpl *impl = (const _PyThreadStateImpl *)ts;
    s->c_stack[0] = impl->c_stack_top;
    s->c_stack[1] = impl->c_stack_soft_limit;
    s->c_stack[2] = impl->c_stack_hard_limit;
#else
    s->c_remaining = ts->c_recursion_remaining;
#endif
#endif
    s->ensured = ts->gilstate_counter;
    memcpy(&s->tracing, &ts->tracing, 2 * sizeof(int)); /* and the event */
#if !V311
    s->version = instrumentation(ts);
#endif
    s->chunk = ts->datastack_chunk;
    s->top = ts->datastack_top;
    s->limit = ts->datastack_limit;
    s->exc_info = ts->exc_info;
    s->context = ts->context;
    s->traced = ts->c_tracefunc != NULL || ts->c_profilefunc != NULL;
    if (s->traced) {
        s->tracefunc = own_tracefunc(ts);
        s->traceobj = ts->c_traceobj;
        s->profilefunc = ts->c_profilefunc;
        s->profileobj = ts->c_profileobj;
        mine.traced |= s->tracefunc != NULL || s->profilefunc != NULL;
        ts->c_tracefunc = ts->c_profilefunc = NULL;
        ts->c_traceobj = ts->c_profileobj = NULL;
    }
}

static inline void load(PyThreadState *ts, sl_state *s)
{
#if V313
    ts->current_frame = s->frame;
    ts->EXECUTOR = s->executor;
#if V315
    ts->jit_exit = s->jit_exit;
    ts->last_profiled_frame = NULL; /* a frame of the tasklet that ran before */
#endif
    ts->delete_later = s->trash;
#else
    ts->cframe = s->cframe;
#endif
#if V312
    ts->trash.delete_nesting = s->trash_nesting;
    ts->trash.delete_later = s->trash;
#elif V311
    ts->trash_delete_nesting = s->trash_nesting;
    ts->trash_delete_later = s->trash;
#endif
#if V311
    ts->recursion_remaining = ts->recursion_limit - s->depth;
#else
    ts->py_recursion_remaining = ts->py_recursion_limit - s->depth;
#if V314
    set_c_stack(ts, s->c_stack[0], s->c_stack[1], s->c_stack[2]);
#else
    ts->c_recursion_remaining = s->c_remaining;
#endif
#endif
    ts->gilstate_counter = s->ensured;
    memcpy(&ts->tracing, &s->tracing, 2 * sizeof(int));
    ts->datastack_chunk = s->chunk;
    ts->datastack_top = s->top;
    ts->datastack_limit = s->limit;
    ts->exc_info = s->exc_info;
    if (ts->context != s->context) {
        /* Context variables cache their value under (thread id, context_ver). */
        ts->context = s->context;
        ts->context_ver++;
    }
    if (s->traced) {
        ts->c_tracefunc = s->tracefunc;
        ts->c_traceobj = s->traceobj;
        ts->c_profilefunc = s->profilefunc;
        ts->c_profileobj = s->profileobj;
        s->tracefunc = s->profilefunc = NULL;
        s->traceobj = s->profileobj = NULL;
    }
#if V311
    if (mine.ticking) {
        show_ticks(ts);
    }
    use_tracing(ts);
#endif
}

static inline void keep_up(PyThreadState *ts, sl_state *s)
{
#if !V311
    if (s->version != instrumentation(ts)) {
        catch_up(ts);
    }
#endif
}

#if V314
/* The calling thread's state in another interpreter gets the limits of the stack that it runs on. */
void sl_adopt_stack(PyThreadState *other)
{
    const _PyThreadStateImpl *impl = (const _PyThreadStateImpl *)mine.ts;
    if (impl != NULL) {
        set_c_stack(other, impl->c_stack_top, impl->c_stack_soft_limit, impl->c_stack_hard_limit);
    }
}
#endif

void sl_begin_thread(void *word, PyThreadState *ts, sl_state *running)
{
    mine.word = word;
    mine.ts = ts;
    mine.running = running;
    mine.forbidden = 0;
#if V311
    mine.ticking = 0;
#endif
}

/* Destructors that run while CPython takes the thread state apart must not begin again. */
void sl_end_thread(PyThreadState *ts)
{
    sl_begin_thread(NULL, NULL, NULL);
    mine.ended = ts->id;
}

int sl_has_ended(PyThreadState *ts)
{
    return mine.ended == ts->id;
}

void sl_forbid(int change)
{
    mine.forbidden += change;
}

static _PyStackChunk *bottom_chunk(PyThreadState *ts)
{
    _PyStackChunk *chunk = ts->datastack_chunk;
    while (chunk != NULL && chunk->previous != NULL) {
        chunk = chunk->previous;
    }
    return chunk;
}

/* Is the running code on a data stack that is not this tasklet's? Then somebody else switches C
 * stacks here (a greenlet), and our bookkeeping does not describe what runs. */
int sl_is_foreign(void)
{
    sl_state *s = mine.running;
    if (mine.ts->datastack_chunk == s->root) {
        return 0;
    }
    _PyStackChunk *bottom = bottom_chunk(mine.ts);
    if (s->root == NULL) {
        /* The main tasklet of a thread that had not run Python code before. */
        s->root = bottom;
    }
    return bottom != s->root;
}

void *sl_word(void)
{
    return mine.word;
}

static __attribute__((noinline, cold)) void *look_closer(void)
{
    return (char *)mine.word + (mine.word != NULL && (mine.forbidden || sl_is_foreign()));
}

/* The word; its lowest bit is set if a switch would be wrong here. */
void *sl_enter(void)
{
    if (mine.word == NULL || mine.forbidden || mine.ts->datastack_chunk != mine.running->root) {
        return look_closer();
    }
    return mine.word;
}

void sl_swap(sl_state *from, sl_state *to)
{
    PyThreadState *ts = mine.ts;
    /* An exception in flight belongs to a C function that did not put it aside. */
    assert(PyErr_Occurred() == NULL);
    save(ts, from);
    mine.running = to;
    load(ts, to);
    keep_up(ts, to);
}

void sl_load(sl_state *s)
{
    mine.running = s;
    load(mine.ts, s);
    keep_up(mine.ts, s);
}

/* The state of a thread's main tasklet: nothing to prepare, it is saved at its first switch. */
void sl_init_main(PyThreadState *ts, sl_state *s)
{
    memset(s, 0, sizeof(*s));
    s->root = bottom_chunk(ts);
}

/* A tasklet that has not begun: no frame, an empty data stack that ends at `end`. The reference to
 * the context is taken over. `stack` is the size of its C stack. */
void sl_init(PyThreadState *ts, sl_state *s, char *end, size_t stack, PyObject *context)
{
    memset(s, 0, sizeof(*s));
#if !V313
    s->root_cframe.previous = &ts->root_cframe;
    s->cframe = &s->root_cframe;
#elif V315
    s->frame = ts->base_frame;
#endif
#if V314
    s->c_stack[0] = (uintptr_t)s;
    s->c_stack[1] = s->c_stack[0] - stack + soft_above;
    s->c_stack[2] = s->c_stack[0] - stack + hard_above;
#elif !V311
    /* CPython trusts its limit to a stack of 8 MiB; a smaller one gets its share. */
#if V312
    const long full = C_RECURSION_LIMIT;
#else
    const long full = Py_C_RECURSION_LIMIT;
#endif
    const size_t whole = (size_t)8 << 20;
    s->c_remaining = stack >= whole ? (int)full : (int)(full * (long)(stack >> 10) / (long)(whole >> 10));
#endif
    s->ensured = 1; /* as of a new thread: 0 would end it */
    s->data.size = (size_t)(end - (char *)&s->data);
    s->chunk = s->root = &s->data;
    /* The first slot stays unused, as in CPython's own root chunk: popping never frees it. */
    s->top = &s->data.data[1];
    s->limit = (PyObject **)(end - ((uintptr_t)end % sizeof(PyObject *)));
    s->exc_info = &s->exc_state;
    s->context = context;
#if !V311
    s->version = instrumentation(ts);
#endif
}

/* Was the suspended tasklet given a trace or profile function? */
int sl_is_traced(sl_state *s)
{
    return s->traced;
}

/* Undoes sl_init, and gives back the references to the context and to a trace and a profile function. */
void sl_unload(sl_state *s, PyObject *owned[3])
{
    owned[0] = s->context;
    owned[1] = s->traceobj;
    owned[2] = s->profileobj;
    s->context = s->traceobj = s->profileobj = NULL;
}

/* The running tasklet, whose state this is, has ended: drop what the thread state holds for it. The
 * destructors that run may put something there again. */
void sl_finish(PyThreadState *ts, sl_state *s)
{
    hide_ticks(ts);
    while (ts->c_tracefunc != NULL || ts->c_profilefunc != NULL || ts->context != NULL ||
           s->exc_state.exc_value != NULL) {
        /* Through the API, so that CPython's count of traced threads stays right. An audit hook can
         * refuse that; the function must not pass to the next tasklet all the same. */
        mine.traced |= ts->c_tracefunc != NULL || ts->c_profilefunc != NULL;
        if (ts->c_tracefunc != NULL) {
            PyEval_SetTrace(NULL, NULL);
            ts->c_tracefunc = NULL;
            Py_CLEAR(ts->c_traceobj);
        }
        if (ts->c_profilefunc != NULL) {
            PyEval_SetProfile(NULL, NULL);
            ts->c_profilefunc = NULL;
            Py_CLEAR(ts->c_profileobj);
        }
        Py_CLEAR(s->exc_state.exc_value);
        PyObject *context = ts->context;
        ts->context = NULL;
        ts->context_ver++;
        Py_XDECREF(context);
    }
}

/* Drops what a state that will never be loaded again owns itself; not what its frames own. */
void sl_abandon(sl_state *s)
{
    Py_CLEAR(s->context);
    Py_CLEAR(s->traceobj);
    Py_CLEAR(s->profileobj);
}

/* The thread of a suspended state ends, and the state stays, never to be loaded again: it must not point
 * into the thread state any more, since the collector and frame objects go on following its frames. */
void sl_outlive(PyThreadState *ts, sl_state *s)
{
#if V315
    for (frame_t **at = &s->frame; *at != NULL; at = &(*at)->previous) {
        if (*at == ts->base_frame) {
            *at = NULL;
            return;
        }
    }
#elif !V313
    s->root_cframe.previous = NULL;
#endif
}

/* ------------------------------------------------------------------ contexts */

/* The running tasklet's context, made if there is none. A new reference; NULL with an exception. */
PyObject *sl_current_context(PyThreadState *ts)
{
    if (ts->context == NULL) {
        PyObject *context = PyContext_New();
        if (context == NULL) {
            return NULL;
        }
        ts->context = context;
        ts->context_ver++;
    }
    return Py_NewRef(ts->context);
}

/* Of the running tasklet: a borrowed reference or NULL. */
PyObject *sl_peek_context(PyThreadState *ts)
{
    return ts->context;
}

/* A suspended tasklet's context: a borrowed reference or NULL. */
PyObject *sl_state_context(sl_state *s)
{
    return s->context;
}

/* Has the context been entered with Context.run()? The layout is in pycore_context.h. */
#include "internal/pycore_context.h"
int sl_context_entered(PyObject *context)
{
    return context != NULL && ((PyContext *)context)->ctx_entered;
}

/* Takes over a reference, drops the one to the old context. `s` NULL: of the running tasklet. */
void sl_set_context(PyThreadState *ts, sl_state *s, PyObject *context)
{
    PyObject *old;
    if (s == NULL) {
        old = ts->context;
        ts->context = context;
        ts->context_ver++;
    }
    else {
        old = s->context;
        s->context = context;
    }
    Py_XDECREF(old);
}

/* ------------------------------------------------------------------ frames */

static frame_t *first_frame(PyThreadState *ts, sl_state *s)
{
    return s == NULL ? thread_frame(ts) : state_frame(s);
}

/* The innermost frame, for frames.c. `s` NULL: of the running tasklet. */
frame_t *sl_innermost(PyThreadState *ts, sl_state *s)
{
    return first_frame(ts, s);
}

/* Python calls in progress. `s` NULL: of the running tasklet. */
int sl_depth(PyThreadState *ts, sl_state *s)
{
    int depth = 0;
    for (frame_t *f = first_frame(ts, s); f != NULL; f = f->previous) {
        depth += !is_shim(f) && !_PyFrame_IsIncomplete(f);
    }
    return depth;
}

/* Entries into the interpreter through C between the frames: all but the lowest, which is that of the
 * tasklet's function, or the one that goes on with a tasklet that was parked. Frames with the globals
 * `before` at the bottom do not count: they are where the thread's Python code starts. */
int sl_nesting(PyThreadState *ts, sl_state *s, PyObject *before)
{
    int level = 0, entries = 0, entered = 0;
    frame_t *f = first_frame(ts, s);
    if (f != NULL && is_shim(f)) {
        f = sl_below(f, &entered);
    }
    while (f != NULL) {
        if (f->f_globals != before) {
            level = entries;
        }
        f = sl_below(f, &entered);
        entries += entered;
    }
    if (entered > 1) {
        level += entered - 1;
    }
    return level < entries ? level : level > 0 ? level - 1 : 0;
}

/* The innermost frame above the lowest entry: its code, borrowed. */
PyObject *sl_outer_code(void)
{
    frame_t *outer = NULL, *top = thread_frame(mine.ts);
    int entered;
    if (top != NULL && is_shim(top)) {
        top = sl_below(top, &entered);
    }
    for (frame_t *f = top, *next; f != NULL; f = next) {
        next = sl_below(f, &entered);
        if (entered) {
            outer = top;
            top = next;
        }
    }
    return outer == NULL ? NULL : code_of(outer);
}

/* The innermost frame as an object: a new reference, NULL without an exception if there is none. */
PyObject *sl_frame_object(PyThreadState *ts, sl_state *s)
{
    /* Making the frame object may collect garbage, and its finalizers must not run on a frame chain
     * that is not theirs. */
    int collecting = PyGC_Disable();
#if V313
    frame_t *mine = ts->current_frame;
    if (s != NULL) {
        ts->current_frame = s->frame;
    }
    PyObject *frame = (PyObject *)PyThreadState_GetFrame(ts);
    ts->current_frame = mine;
#else
    _PyCFrame *mine = ts->cframe;
    if (s != NULL) {
        ts->cframe = s->cframe;
    }
    PyObject *frame = (PyObject *)PyThreadState_GetFrame(ts);
    ts->cframe = mine;
#endif
    if (collecting) {
        PyGC_Enable();
    }
    return frame;
}

/* For the garbage collector: what a suspended tasklet holds, as far as it can be known. Frames that
 * belong to generators are visited by these. The values on the evaluation stack of the innermost frame
 * are visited if it is known how many values it has (`top`, variables included; else -1), and so are those
 * of the others then: they wait for one another. Not to visit a value only makes a cycle through it look
 * reachable. */
int sl_values_during_loop(frame_t *f); /* in park.c */

#if V314
/* Only what the frame owns: CPython's own frames borrow some values. */
#define VISIT_VALUE(value)                                                                         \
    do {                                                                                           \
        _PyStackRef ref = (value);                                                                 \
        if (!PyStackRef_IsNull(ref) && !PyStackRef_IsTaggedInt(ref) && PyStackRef_RefcountOnObject(ref)) { \
            Py_VISIT(PyStackRef_AsPyObjectBorrow(ref));                                            \
        }                                                                                          \
    } while (0)
#else
#define VISIT_VALUE(value) Py_VISIT(value)
#endif
#if V314
#define VALUES(f) (int)((f)->stackpointer - (f)->localsplus)
#else
#define VALUES(f) (f)->stacktop
#endif

/* Does the generator whose frame this is not visit its values, since it executes a call of C code? Newer
 * versions know how many values it has then. */
static inline int hides_values(frame_t *f)
{
#if V314
    return 0;
#else
    return f->owner == FRAME_OWNED_BY_GENERATOR && f->stacktop < 0;
#endif
}

/* The values of a frame in the middle of a call, while nobody may look at all of them: the variables. */
static int known_values(sl_state *s, frame_t *f, int top)
{
    if (top >= 0 && f == state_frame(s)) {
        return top;
    }
    const int count = top < 0 ? -1 : VALUES(f);
    return count >= 0 ? count : top < 0 ? ((PyCodeObject *)code_of(f))->co_nlocalsplus : sl_values_during_loop(f);
}

int sl_traverse(sl_state *s, int top, visitproc visit, void *arg)
{
    Py_VISIT(s->context);
    Py_VISIT(s->traceobj);
    Py_VISIT(s->profileobj);
    Py_VISIT(s->exc_state.exc_value);
    for (frame_t *f = state_frame(s); f != NULL; f = f->previous) {
        if (is_shim(f) || (f->owner != FRAME_OWNED_BY_THREAD && !hides_values(f))) {
            continue;
        }
        const int count = known_values(s, f, top);
        if (f->owner != FRAME_OWNED_BY_THREAD) {
            for (int i = 0; i < count; i++) {
                VISIT_VALUE(f->localsplus[i]);
            }
            continue;
        }
        Py_VISIT(f->frame_obj);
        Py_VISIT(f->f_locals);
#if V311
        Py_VISIT(f->f_func);
        Py_VISIT(f->f_code);
#elif V312
        Py_VISIT(f->f_funcobj);
        Py_VISIT(f->f_code);
#else
        VISIT_VALUE(f->f_funcobj);
        VISIT_VALUE(f->f_executable);
#endif
        for (int i = 0; i < count; i++) {
            VISIT_VALUE(f->localsplus[i]);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ tracing */

/* The trace (or profile) function: a borrowed reference or NULL. `s` NULL: the running tasklet's. */
PyObject *sl_trace_object(PyThreadState *ts, sl_state *s, int profile)
{
    if (s == NULL) {
        return profile ? ts->c_profileobj : ts->c_traceobj;
    }
    return profile ? s->profileobj : s->traceobj;
}

/* Has a tasklet of this thread with such a function stopped or ended since the last call of this? */
int sl_traced_lately(void)
{
    int traced = mine.traced;
    mine.traced = 0;
    return traced;
}

/* What tracing looks at. The data stack is not part of it. */
static void copy_tracing(sl_state *to, const sl_state *from)
{
    to->traced = from->traced;
    to->tracefunc = from->tracefunc;
    to->traceobj = from->traceobj;
    to->profilefunc = from->profilefunc;
    to->profileobj = from->profileobj;
    to->tracing = from->tracing;
#if V311
    to->cframe = from->cframe;
#endif
}

/* Calls `setter(function)`, which is sys.settrace or sys.setprofile, as if `s` were running. The
 * caller sees to it that nothing switches meanwhile. */
int sl_set_trace(PyThreadState *ts, sl_state *s, PyObject *setter, PyObject *function)
{
    sl_state own = {0}, view = {0};
    if (s != NULL) {
        save(ts, &own);
        view = own;
        copy_tracing(&view, s);
        /* They are the thread state's now: the collector must not see them twice. */
        s->traced = 0;
        s->tracefunc = s->profilefunc = NULL;
        s->traceobj = s->profileobj = NULL;
        load(ts, &view);
    }
    PyObject *result = PyObject_CallOneArg(setter, function);
    if (s != NULL) {
        /* The setter may have called audit hooks: all but tracing stays as they left it. */
        memset(&view, 0, sizeof(view));
        save(ts, &view);
        copy_tracing(s, &view);
        copy_tracing(&view, &own);
        load(ts, &view);
    }
#if V311
    else {
        sl_keep_ticks();
        use_tracing(ts);
    }
#endif
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* ------------------------------------------------------------------ threads */

/* The dict of any thread, made if there is none: borrowed; NULL with an exception. */
PyObject *sl_thread_dict(PyThreadState *ts)
{
    if (ts->dict == NULL) {
        ts->dict = PyDict_New();
    }
    return ts->dict;
}

PyThreadState *sl_thread_state(void)
{
#if V313
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

unsigned long sl_thread_ident(PyThreadState *ts)
{
    return ts->thread_id;
}

PyThreadState *sl_next_thread(PyThreadState *ts)
{
    return ts == NULL ? PyInterpreterState_ThreadHead(PyInterpreterState_Get()) : PyThreadState_Next(ts);
}

/* ------------------------------------------------------------------ deallocation */

/* Runs `body`, the rest of the destructor `slot`, unless destructors are nested too deeply: then the
 * interpreter calls `slot` again later. Needed where an object owns objects of its own kind. */
void sl_trashcan(PyObject *op, destructor slot, destructor body)
{
    Py_TRASHCAN_BEGIN(op, slot)
    body(op);
    Py_TRASHCAN_END
}
