/* The switch of thread states: saves what CPython keeps per thread for the tasklet that stops, and loads it for the
 * tasklet that continues. It is compiled against the headers of the interpreter it will run in: layouts come from
 * these headers, never from a copy. The C stack is switched elsewhere (crates/stack).
 *
 * A tasklet that is not running has its share of the thread state saved in a `sl_state`:
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
 * Depth is saved as calls in progress, not as calls remaining, so that sys.setrecursionlimit() holds for
 * suspended tasklets as well. event_loop.c saves what a running event loop of asyncio has set. Not saved, since it
 * stays with the thread: the thread's dict.
 */
#include "switch.h"
#include "event_loop.h"
#include "ticks.h"

_Static_assert(sizeof(sl_state) <= SL_STATE_SIZE, "SL_STATE_SIZE is too small");

/* Both are copied together. */
#if PY_GE(3, 12)
#define EVENT what_event
#else
#define EVENT tracing_what
#endif
_Static_assert(offsetof(PyThreadState, EVENT) == offsetof(PyThreadState, tracing) + sizeof(int), "not neighbours");
_Static_assert(offsetof(sl_state, event) == offsetof(sl_state, tracing) + sizeof(int), "not neighbours");

/* ------------------------------------------------------------------ instrumentation */

#if PY_GE(3, 12)
/* A number that increases whenever a tool or a trace function requests other events. CPython then updates the code
 * of the frames that the threads execute; those of suspended tasklets are not among them. */
static inline uint64_t instrumentation(PyThreadState *ts)
{
#if PY_GE(3, 13)
    return ts->eval_breaker & ~(uintptr_t)_PY_EVAL_EVENTS_MASK;
#else
    return ts->interp->monitoring_version;
#endif
}

/* The running tasklet was suspended while that number increased: updates its code before any of it runs. */
static __attribute__((noinline, cold)) void catch_up(PyThreadState *ts)
{
    for (frame_t *f = python_frame(thread_frame(ts)); f != NULL; f = python_frame(f->previous)) {
        PyCodeObject *code = code_of(f);
        if (code->_co_instrumentation_version != instrumentation(ts)) {
            sl_instrument((PyObject *)code);
        }
    }
}
#endif

/* ------------------------------------------------------------------ limits of the C stack */

#if PY_GE(3, 14)
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

/* NULL if this is the interpreter that this file was compiled for, else a text that says why it is not. The position of
 * the fields for the C stack's limits depends on the size of the thread state, which a patch release may change. */
const char *sl_check(PyThreadState *ts)
{
#if PY_GE(3, 14)
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

/* ------------------------------------------------------------------ saving and loading */

#if PY_GE(3, 14)
#define EXECUTOR current_executor
#else
#define EXECUTOR previous_executor
#endif

static inline void save(PyThreadState *ts, sl_state *s)
{
#if PY_GE(3, 13)
    s->frame = ts->current_frame;
    s->executor = ts->EXECUTOR;
#if PY_GE(3, 15)
    s->jit_exit = ts->jit_exit;
#endif
    s->trash = ts->delete_later;
#elif PY_GE(3, 12)
    s->cframe = ts->cframe;
    s->trash_nesting = ts->trash.delete_nesting;
    s->trash = ts->trash.delete_later;
#else
    s->cframe = ts->cframe;
    s->trash_nesting = ts->trash_delete_nesting;
    s->trash = ts->trash_delete_later;
#endif
#if !PY_GE(3, 12)
    s->depth = ts->recursion_limit - ts->recursion_remaining;
#else
    s->depth = ts->py_recursion_limit - ts->py_recursion_remaining;
#if PY_GE(3, 14)
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
#if PY_GE(3, 12)
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
        sl_thread.traced |= s->tracefunc != NULL || s->profilefunc != NULL;
        ts->c_tracefunc = ts->c_profilefunc = NULL;
        ts->c_traceobj = ts->c_profileobj = NULL;
    }
}

static inline void load(PyThreadState *ts, sl_state *s)
{
#if PY_GE(3, 13)
    ts->current_frame = s->frame;
    ts->EXECUTOR = s->executor;
#if PY_GE(3, 15)
    ts->jit_exit = s->jit_exit;
    ts->last_profiled_frame = NULL; /* a frame of the tasklet that ran before */
#endif
    ts->delete_later = s->trash;
#elif PY_GE(3, 12)
    ts->cframe = s->cframe;
    ts->trash.delete_nesting = s->trash_nesting;
    ts->trash.delete_later = s->trash;
#else
    ts->cframe = s->cframe;
    ts->trash_delete_nesting = s->trash_nesting;
    ts->trash_delete_later = s->trash;
#endif
#if !PY_GE(3, 12)
    ts->recursion_remaining = ts->recursion_limit - s->depth;
#else
    ts->py_recursion_remaining = ts->py_recursion_limit - s->depth;
#if PY_GE(3, 14)
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
#if !PY_GE(3, 12)
    if (sl_thread.ticking) {
        show_ticks(ts);
    }
    use_tracing(ts);
#endif
}

static inline void keep_up(PyThreadState *ts, sl_state *s)
{
#if PY_GE(3, 12)
    if (s->version != instrumentation(ts)) {
        catch_up(ts);
    }
#endif
}

#if PY_GE(3, 14)
/* The calling thread's state in another interpreter gets the limits of the stack that it runs on. */
void sl_adopt_stack(PyThreadState *other)
{
    const _PyThreadStateImpl *impl = (const _PyThreadStateImpl *)sl_thread.ts;
    if (impl != NULL) {
        set_c_stack(other, impl->c_stack_top, impl->c_stack_soft_limit, impl->c_stack_hard_limit);
    }
}
#endif

void sl_save_fields(PyThreadState *ts, sl_state *s)
{
    save(ts, s);
}

void sl_load_fields(PyThreadState *ts, sl_state *s)
{
    load(ts, s);
}

/* ------------------------------------------------------------------ the switch */

void sl_swap(sl_state *from, sl_state *to)
{
    PyThreadState *ts = sl_thread.ts;
    /* An exception in flight would belong to a C function that has not saved it. */
    assert(PyErr_Occurred() == NULL);
    if (may_run_loop(ts)) {
        sl_take_loop(ts, from);
    }
    save(ts, from);
    sl_thread.running = to;
    load(ts, to);
    keep_up(ts, to);
    if (to->loop != NULL) {
        sl_give_loop(ts, to);
    }
}

void sl_load(sl_state *s)
{
    sl_thread.running = s;
    load(sl_thread.ts, s);
    keep_up(sl_thread.ts, s);
    if (s->loop != NULL) {
        sl_give_loop(sl_thread.ts, s);
    }
}

/* ------------------------------------------------------------------ beginning and end of a state */

/* A tasklet that has not begun: no frame, an empty data stack that ends at `end`. The reference to
 * the context is taken over. `stack` is the size of its C stack. */
void sl_init(PyThreadState *ts, sl_state *s, char *end, size_t stack, PyObject *context)
{
    memset(s, 0, sizeof(*s));
#if PY_GE(3, 15)
    s->frame = ts->base_frame;
#elif !PY_GE(3, 13)
    s->root_cframe.previous = &ts->root_cframe;
    s->cframe = &s->root_cframe;
#endif
#if PY_GE(3, 14)
    s->c_stack[0] = (uintptr_t)s;
    s->c_stack[1] = s->c_stack[0] - stack + soft_above;
    s->c_stack[2] = s->c_stack[0] - stack + hard_above;
#elif PY_GE(3, 12)
    /* CPython's limit is made for a stack of 8 MiB; a smaller one gets its share. */
#if PY_GE(3, 13)
    const long full = Py_C_RECURSION_LIMIT;
#else
    const long full = C_RECURSION_LIMIT;
#endif
    const size_t whole = (size_t)8 << 20;
    s->c_remaining = stack >= whole ? (int)full : (int)(full * (long)(stack >> 10) / (long)(whole >> 10));
#endif
    s->ensured = 1; /* as in a new thread: at 0 CPython would end the thread */
    s->data.size = (size_t)(end - (char *)&s->data);
    s->chunk = s->root = &s->data;
    /* The first slot stays unused, as in CPython's own root chunk: popping never frees it. */
    s->top = &s->data.data[1];
    s->limit = (PyObject **)(end - ((uintptr_t)end % sizeof(PyObject *)));
    s->exc_info = &s->exc_state;
    s->context = context;
#if PY_GE(3, 12)
    s->version = instrumentation(ts);
#endif
}

/* True if the suspended tasklet has a trace or profile function. */
int sl_is_traced(sl_state *s)
{
    return s->traced;
}

/* Undoes sl_init, and gives back the references to the context and to a trace and a profile function. */
void sl_unload(sl_state *s, PyObject **owned)
{
    owned[0] = s->context;
    owned[1] = s->traceobj;
    owned[2] = s->profileobj;
    s->context = s->traceobj = s->profileobj = NULL;
}

/* Drops what the thread state holds for the running tasklet, which has ended and whose state `s` is. The destructors
 * that run may set these fields again. */
void sl_finish(PyThreadState *ts, sl_state *s)
{
    hide_ticks(ts);
    if (may_run_loop(ts)) {
        sl_take_loop(ts, s);
    }
    while (ts->c_tracefunc != NULL || ts->c_profilefunc != NULL || ts->context != NULL ||
           s->exc_state.exc_value != NULL || s->loop != NULL) {
        /* Through the API, so that CPython's count of traced threads stays right. An audit hook can refuse that;
         * even then the next tasklet must not get the function. */
        sl_thread.traced |= ts->c_tracefunc != NULL || ts->c_profilefunc != NULL;
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
        sl_drop_loop(s);
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
    sl_drop_loop(s);
}

/* The thread of a suspended state ends, and the state stays, never to be loaded again. It must not point into the
 * thread state any more, since the collector and frame objects still follow its frames. */
void sl_outlive(PyThreadState *ts, sl_state *s)
{
#if PY_GE(3, 15)
    for (frame_t **at = &s->frame; *at != NULL; at = &(*at)->previous) {
        if (*at == ts->base_frame) {
            *at = NULL;
            return;
        }
    }
#elif !PY_GE(3, 13)
    s->root_cframe.previous = NULL;
#endif
}
