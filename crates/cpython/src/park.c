/* Parking: a suspended tasklet without its C stack, and its way back.
 *
 * Since 3.11 a Python function that calls another runs it in the same activation of the interpreter,
 * `_PyEval_EvalFrameDefault`. While a tasklet waits in a call of ours, and all that is below that call
 * is one such activation, its C stack holds nothing that the frames do not say as well:
 *
 *     C stack                                       frames, innermost first
 *     ┌──────────────────────────────┐              ┌─────────────────────────────────────────┐
 *     │ our function, waiting        │  · · · · ·   │ f: its instruction is a CALL of ours;   │
 *     ├──────────────────────────────┤              │    [.. callable, self, arguments]       │
 *     │ _PyEval_EvalFrameDefault     │  runs        ├─────────────────────────────────────────┤
 *     │   (owns nothing now)         │ ─────────>   │ ...                                     │
 *     ├──────────────────────────────┤  all of      ├─────────────────────────────────────────┤
 *     │ begin() of the kernel        │  them        │ the tasklet's function                  │
 *     └──────────────────────────────┘              └────────────────── entry frame ──────────┘
 *
 * `sl_can_park` finds out whether it is so, `sl_park` copies the state and the frames to another place
 * of exactly their size, `sl_wake` copies them to a new stack, and there `sl_resume` goes on: it
 * drops the operands of the pending call, pushes what the call returns, and has the interpreter
 * evaluate one frame after the other, from the innermost to the tasklet's function.
 *
 * By version (source: Python/ceval.c, bytecodes.c and frame.c of each):
 *
 *     what                 3.11                  3.12                3.13           3.14, 3.15
 *     values in use        stacktop              stacktop            stacktop       stackpointer, valid
 *                          only while another frame runs on top of it               in calls of C too
 *     the place            prev_instr, the code unit before the      instr_ptr, the instruction itself
 *                          next one
 *     behind a call        + 4 (PRECALL: + 6)    + 3                 + 4 (CALL_KW: + 1; since 3.14 + 4)
 *     callable of a call   [method or NULL, function or self, ...]   [function, self or NULL, ...]
 *     entry frame          is_entry              owner CSTACK        owner CSTACK   owner INTERPRETER
 *     bottom of the chain  NULL                  NULL                NULL           NULL; base_frame (3.15)
 *     an evaluated frame   must be cleared by    is cleared
 *                          the caller
 */
#include "state.h"
#include "depth.h"
#include <opcode.h>
#if V314
#include "internal/pycore_stackref.h"
#else
#include "internal/pycore_code.h"
#endif

/* Where the arguments of the primitive are in which a tasklet waits, and how many, those by keyword
 * included. `args` is NULL outside of primitives, and &sl_iterating where the interpreter asked for the
 * next value of an iteration. */
typedef struct {
    PyObject *const *args;
    Py_ssize_t count;
} sl_call;

char sl_iterating;

/* What a tasklet waits in that can be parked. */
typedef struct {
    int values;   /* of its innermost frame, variables included */
    int operands; /* how many of these are the operands of the pending call */
    int kind;     /* what `is_ours` said of the primitive */
} sl_pending;

/* Why a tasklet cannot be parked. */
typedef struct {
    enum { IN_C = 1, NOT_A_CALL, C_BETWEEN, CLEARING } kind;
    PyCodeObject *code; /* the Python function concerned: borrowed; NULL if there is none */
    int at;             /* its instruction, in bytes */
    PyObject *callee;   /* what it called: borrowed; NULL if nobody knows */
} sl_obstacle;

/* In shim.c. */
void sl_init(PyThreadState *ts, sl_state *s, char *end, size_t stack, PyObject *context);
void sl_abandon(sl_state *s);
frame_t *sl_below(frame_t *f, int *entered);

/* ------------------------------------------------------------------ one frame */

#if V314
typedef _PyStackRef value_t;
#define BORROW(v) (PyStackRef_IsNull(v) || PyStackRef_IsTaggedInt(v) ? NULL : PyStackRef_AsPyObjectBorrow(v))
#define STEAL(o) PyStackRef_FromPyObjectSteal(o)
#define NOTHING PyStackRef_NULL
#define DROP(v) PyStackRef_XCLOSE(v)
#else
typedef PyObject *value_t;
#define BORROW(v) (v)
#define STEAL(o) (o)
#define NOTHING NULL
#define DROP(v) Py_XDECREF(v)
#endif

static inline PyCodeObject *code_in(frame_t *f)
{
    return (PyCodeObject *)code_of(f);
}

/* How many values are in use, the variables included. */
static inline int values(frame_t *f)
{
#if V314
    return (int)(f->stackpointer - f->localsplus);
#else
    return f->stacktop;
#endif
}

static inline void set_values(frame_t *f, int count)
{
#if V314
    f->stackpointer = f->localsplus + count;
#else
    f->stacktop = count;
#endif
}

static inline void push(frame_t *f, PyObject *value)
{
    int count = values(f);
    f->localsplus[count] = STEAL(value);
    set_values(f, count + 1);
}

static inline PyObject *value_at(frame_t *f, int i)
{
    return BORROW(f->localsplus[i]);
}

/* The place of a frame moves on by so many code units. */
static inline void advance(frame_t *f, int units)
{
#if V313
    f->instr_ptr += units;
#else
    f->prev_instr += units;
#endif
}

#if V311
#define PRECALL_OR_CALL PRECALL
#else
#define PRECALL_OR_CALL CALL
#endif

typedef struct {
    int index; /* in code units */
    int op;    /* as the compiler wrote it */
    int arg;
} instruction_t;

/* The calls that the interpreter has specialised for functions like ours. */
static inline int is_special_call(int op)
{
    switch (op) {
#if V311
    case PRECALL_BUILTIN_FAST_WITH_KEYWORDS:
    case PRECALL_NO_KW_BUILTIN_FAST:
    case PRECALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
    case PRECALL_NO_KW_METHOD_DESCRIPTOR_FAST:
#elif V312
    case CALL_BUILTIN_FAST_WITH_KEYWORDS:
    case CALL_NO_KW_BUILTIN_FAST:
    case CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
    case CALL_NO_KW_METHOD_DESCRIPTOR_FAST:
#else
    case CALL_BUILTIN_FAST:
    case CALL_BUILTIN_FAST_WITH_KEYWORDS:
    case CALL_METHOD_DESCRIPTOR_FAST:
    case CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
    case CALL_NON_PY_GENERAL:
#endif
        return 1;
    default:
        return 0;
    }
}

/* The instruction that a frame executes; op -1 if there is no memory to find out. */
static instruction_t instruction(frame_t *f)
{
    instruction_t result = {_PyInterpreterFrame_LASTI(f), -1, 0};
    if (result.index > 0) {
        /* The usual case needs no look at the code as the compiler wrote it. */
        const _Py_CODEUNIT *unit = _PyCode_CODE(code_in(f)) + result.index;
        const int op = ((const unsigned char *)unit)[0];
        if (is_special_call(op) && ((const unsigned char *)(unit - 1))[0] != EXTENDED_ARG) {
            result.op = PRECALL_OR_CALL;
            result.arg = ((const unsigned char *)unit)[1];
            return result;
        }
    }
    /* CPython keeps this object for the next time. */
    PyObject *bytes = PyCode_GetCode(code_in(f));
    if (bytes == NULL) {
        PyErr_Clear();
        return result;
    }
    const unsigned char *units = (const unsigned char *)PyBytes_AS_STRING(bytes);
    const int i = result.index;
    if (i >= 0 && 2 * i < PyBytes_GET_SIZE(bytes)) {
        result.op = units[2 * i];
        result.arg = units[2 * i + 1];
        for (int k = 1; k <= 3 && i >= k && units[2 * (i - k)] == EXTENDED_ARG; k++) {
            result.arg |= units[2 * (i - k) + 1] << (8 * k);
        }
    }
    Py_DECREF(bytes);
    return result;
}

/* How many values the frame has while it executes this instruction; -1 if that cannot be known. */
static int values_during(frame_t *f, instruction_t in)
{
#if V314
    return values(f);
#else
    int depth = sl_stack_depth(code_in(f), in.index);
    return depth < 0 ? -1 : code_in(f)->co_nlocalsplus + depth;
#endif
}

/* Operands of a call besides its arguments: the callable, self, and the names of keywords. */
static inline int beside_arguments(int op)
{
#ifdef CALL_KW
    return op == CALL_KW ? 3 : 2;
#else
    return 2;
#endif
}

static inline int is_call(int op)
{
#if V311
    return op == CALL || op == PRECALL;
#elif V313
    return op == CALL || op == CALL_KW;
#else
    return op == CALL;
#endif
}

/* Code units from a call to the last one of it (before 3.13) or to the next instruction. */
static inline int call_length(int op)
{
#if V311
    return op == PRECALL ? 6 : 4;
#elif V314
    return 4;
#elif V313
    return op == CALL_KW ? 1 : 4;
#else
    return 3;
#endif
}

/* What a call calls, its operands beginning with this value: borrowed. */
static PyObject *callable_at(frame_t *f, int base)
{
#if V313
    return value_at(f, base);
#else
    PyObject *first = value_at(f, base);
    return first != NULL ? first : value_at(f, base + 1);
#endif
}

/* The C function behind a callable, NULL if it is none. */
static PyCFunction c_function(PyObject *callable)
{
    if (callable == NULL) {
        return NULL;
    }
    if (PyCFunction_Check(callable)) {
        return PyCFunction_GET_FUNCTION(callable);
    }
    if (Py_TYPE(callable) == &PyMethodDescr_Type) {
        return ((PyMethodDescrObject *)callable)->d_method->ml_meth;
    }
    return NULL;
}

/* ------------------------------------------------------------------ can it be parked? */

/* How much of a loop over an iterator lies on the stack. */
#if V315
#define OF_LOOP 2
#else
#define OF_LOOP 1
#endif

/* Does `consumer` execute a `for` over the generator whose frame `f` is, which it entered through C
 * only because the loop is not specialised yet? Then how many values the consumer has, else 0. */
static int cold_loop(frame_t *f, frame_t *consumer)
{
#if !V311
    if (f->owner != FRAME_OWNED_BY_GENERATOR) {
        return 0;
    }
    instruction_t in = instruction(consumer);
    int count = in.op == FOR_ITER ? values_during(consumer, in) : 0;
    if (count < code_in(consumer)->co_nlocalsplus + OF_LOOP) {
        return 0;
    }
    PyObject *iterator = value_at(consumer, count - OF_LOOP);
    PyObject *generator = (PyObject *)generator_of(f);
    if (iterator == generator && Py_TYPE(generator) == &PyGen_Type) {
        return count;
    }
#endif
    return 0;
}

/* How many values a frame has that executes a `for` in C, as far as that is known. */
int sl_values_during_loop(frame_t *f)
{
    const instruction_t in = instruction(f);
    const int count = in.op == FOR_ITER ? values_during(f, in) : -1;
    return count < 0 ? code_in(f)->co_nlocalsplus : count;
}

static int blame(sl_obstacle *why, int kind, frame_t *f)
{
    why->kind = kind;
    why->code = NULL;
    why->callee = NULL;
    if (f == NULL) {
        return 0;
    }
    why->code = code_in(f);
    instruction_t in = instruction(f);
    why->at = in.index * (int)sizeof(_Py_CODEUNIT);
    if (is_call(in.op)) {
        int base = values_during(f, in) - in.arg - beside_arguments(in.op);
        if (base >= why->code->co_nlocalsplus) {
            why->callee = callable_at(f, base);
        }
    }
    return 0;
}

/* The pending call of a tasklet, in `found`. 0 if it waits in something else than a primitive. */
static int pending_call(frame_t *f, const sl_call *call, int (*is_ours)(PyCFunction), sl_pending *found)
{
    const instruction_t in = instruction(f);
    const int lowest = code_in(f)->co_nlocalsplus;
    int *const count = &found->values, *const operands = &found->operands, *const kind = &found->kind;
    if (call->args == (PyObject *const *)&sl_iterating) {
        *count = in.op == FOR_ITER ? values_during(f, in) : -1;
        *operands = 0;
        if (*count < lowest + OF_LOOP) {
            return 0;
        }
        PyObject *iterator = value_at(f, *count - OF_LOOP);
        *kind = iterator == NULL ? -1 : is_ours((PyCFunction)Py_TYPE(iterator)->tp_iternext);
        return *kind >= 0;
    }
    if (!is_call(in.op) || call->args == NULL) {
        return 0;
    }
    const int names = beside_arguments(in.op) - 2;
    *operands = in.arg + beside_arguments(in.op);
#if V314
    *count = values(f);
#else
    const ptrdiff_t end = call->args + call->count + names - f->localsplus;
    if (end < lowest || end > lowest + code_in(f)->co_stacksize) {
        return 0; /* somebody else called the primitive, with arguments of its own */
    }
    *count = (int)end;
#endif
    const int base = *count - *operands;
    if (base < lowest || (*kind = is_ours(c_function(callable_at(f, base)))) < 0) {
        return 0;
    }
    /* A destructor or callback that runs while the call drops its operands has other arguments. */
    for (Py_ssize_t i = 0; i < call->count; i++) {
        if (value_at(f, (int)(*count - names - call->count + i)) != call->args[i]) {
            return 0;
        }
    }
    return 1;
}

/* How many values the innermost frame of a parked tasklet has. */
int sl_parked_values(sl_state *s)
{
    return values(state_frame(s));
}

/* Is this the lowest frame of the tasklet's data stack? */
static int is_bottom(sl_state *s, frame_t *f)
{
    PyObject **const at = (PyObject **)f;
    if (at == &s->data.data[1]) {
        return 1;
    }
    /* Or what was parked has got a chunk of its own. */
    _PyStackChunk *chunk = s->chunk;
    while (chunk != &s->data && chunk->previous != &s->data) {
        chunk = chunk->previous;
    }
    return chunk != &s->data && s->data.top == 1 && at == chunk->data;
}

/* Can this suspended tasklet be parked? Its function is a Python function, called from C. `is_ours`
 * says whether a C function is a primitive: not negative. */
int sl_can_park(sl_state *s, const sl_call *call, int (*is_ours)(PyCFunction), sl_pending *found, sl_obstacle *why)
{
    frame_t *f = state_frame(s);
    if (f == NULL || is_shim(f) || _PyFrame_IsIncomplete(f) || s->tracing != 0 || s->trash != NULL) {
        return blame(why, IN_C, NULL);
    }
#if !V313
    if (s->trash_nesting != 0) {
        return blame(why, IN_C, NULL);
    }
#endif
    /* The lowest entry is that of the tasklet's function, or of sl_resume. */
    frame_t *upper = NULL, *lower = NULL, *lowest = NULL;
    for (frame_t *next; f != NULL; f = next) {
        int entered;
        next = sl_below(f, &entered);
        lowest = f;
        if (!entered) {
            continue;
        }
        if (entered > 1) {
            return blame(why, CLEARING, f); /* a destructor runs while the frame in between is cleared */
        }
        if (upper != NULL && !cold_loop(upper, lower)) {
            return blame(why, C_BETWEEN, lower);
        }
        upper = f;
        lower = next;
    }
    if (upper == NULL) {
        return blame(why, IN_C, NULL);
    }
    if (!is_bottom(s, lowest)) {
        return blame(why, CLEARING, lowest); /* the same, where 3.11 does not count the frame any more */
    }
    f = state_frame(s);
    return pending_call(f, call, is_ours, found) ? 1 : blame(why, NOT_A_CALL, f);
}

/* ------------------------------------------------------------------ moving */

/* The part of a data stack in the root chunk. */
static inline PyObject **bottom_of(sl_state *s)
{
    return &s->data.data[1];
}

static inline PyObject **top_of(sl_state *s)
{
    return s->chunk == &s->data ? s->top : &s->data.data[s->data.top];
}

static inline void set_state_frame(sl_state *s, frame_t *f)
{
#if V313
    s->frame = f;
#else
    s->cframe = &s->root_cframe;
    s->root_cframe.current_frame = f;
#endif
}

/* Moves what `from` has in its root chunk to `at`, and turns everything that points there. `chunk` is
 * the chunk of `to` in which `at` lies. */
static void move(sl_state *from, sl_state *to, _PyStackChunk *chunk, PyObject **at)
{
    char *const low = (char *)bottom_of(from), *const high = (char *)top_of(from);
    const ptrdiff_t distance = (char *)at - low;
#define TURNED(p) ((char *)(p) >= low && (char *)(p) < high ? (void *)((char *)(p) + distance) : (void *)(p))
    memcpy(at, low, (size_t)(high - low));
    frame_t *f = TURNED(state_frame(from));
    set_state_frame(to, f);
    for (; f != NULL; f = f->previous) {
        const int moved = (char *)f >= low + distance && (char *)f < high + distance;
        f->previous = TURNED(f->previous);
        if (!moved) {
            continue; /* of a generator, or in a chunk of its own */
        }
        if (f->frame_obj != NULL) {
            f->frame_obj->f_frame = f;
        }
#if V314
        /* One past the last value may be the end of it all. */
        f->stackpointer = (value_t *)((char *)f->stackpointer + distance);
#endif
    }
    to->exc_info = from->exc_info;
    to->exc_state = from->exc_state;
    _PyErr_StackItem **item = &to->exc_info;
    while (*item != &from->exc_state) {
        item = &(*item)->previous_item;
    }
    *item = &to->exc_state;
    if (from->chunk == &from->data) {
        to->chunk = chunk;
        to->top = (PyObject **)(high + distance);
        to->limit = (PyObject **)((char *)chunk + chunk->size);
    }
    else {
        chunk->top = (size_t)((PyObject **)(high + distance) - chunk->data);
        _PyStackChunk *upper = from->chunk;
        while (upper->previous != &from->data) {
            upper = upper->previous;
        }
        upper->previous = chunk;
        to->chunk = from->chunk;
        to->top = from->top;
        to->limit = from->limit;
    }
#undef TURNED
}

/* The bytes that sl_park needs. */
size_t sl_parked_size(sl_state *s)
{
    return (size_t)((char *)top_of(s) - (char *)s);
}

/* Moves a tasklet that can be parked to `to`. What is left of `s` is of no use. `found` is what sl_can_park
 * has found, NULL for one that was woken and has not gone on yet. */
void sl_park(sl_state *s, const sl_pending *found, sl_state *to)
{
    const size_t size = sl_parked_size(s);
    frame_t *f = state_frame(s);
    if (found != NULL) {
        set_values(f, found->values);
    }
    for (frame_t *next; f != NULL; f = next) {
        int entered;
        next = sl_below(f, &entered);
#if V311
        f->is_entry = 0;
#else
        const int loop = entered && next != NULL ? cold_loop(f, next) : 0;
        f->previous = next;
        /* As the specialised loop leaves it. Where the entry is that of sl_resume, it is so already. */
        if (loop && instruction(next).op == FOR_ITER) {
            const instruction_t in = instruction(next);
            set_values(next, loop);
#if V313
            next->return_offset = (uint16_t)(1 + INLINE_CACHE_ENTRIES_FOR_ITER + in.arg);
#else
            advance(next, INLINE_CACHE_ENTRIES_FOR_ITER);
            next->return_offset = (uint16_t)in.arg;
#endif
        }
#endif
    }
    memcpy(to, s, offsetof(sl_state, data));
    to->root = &to->data;
    to->data.previous = NULL;
    to->data.size = size - offsetof(sl_state, data);
    to->data.top = 0;
    to->operands = found == NULL ? s->operands : found->operands;
    move(s, to, &to->data, bottom_of(to));
}

static _PyStackChunk *new_chunk(size_t bytes)
{
    size_t size = 16 << 10;
    while (size < bytes + offsetof(_PyStackChunk, data)) {
        size *= 2;
    }
    /* As CPython allocates its own, which it will free. */
    PyObjectArenaAllocator arena;
    PyObject_GetArenaAllocator(&arena);
    _PyStackChunk *chunk = arena.alloc(arena.ctx, size);
    if (chunk != NULL) {
        chunk->previous = NULL;
        chunk->size = size;
        chunk->top = 0;
    }
    return chunk;
}

static void free_chunk(_PyStackChunk *chunk)
{
    PyObjectArenaAllocator arena;
    PyObject_GetArenaAllocator(&arena);
    arena.free(arena.ctx, chunk, chunk->size);
}

/* Moves a parked tasklet to a new stack: `s`, `end` and `stack` are as for sl_init. What is left of
 * `from` is of no use. -1 if there is no memory; then nothing has changed. */
int sl_wake(PyThreadState *ts, sl_state *s, char *end, size_t stack, sl_state *from)
{
    const size_t bytes = (size_t)((char *)top_of(from) - (char *)bottom_of(from));
    _PyStackChunk *chunk = NULL;
    if (bytes > (size_t)(end - (char *)bottom_of(s))) {
        chunk = new_chunk(bytes);
        if (chunk == NULL) {
            return -1;
        }
    }
    sl_init(ts, s, end, stack, from->context);
#if !V311
    s->version = from->version;
#endif
    s->depth = from->depth;
    s->event = from->event;
    s->traced = from->traced;
    s->operands = from->operands;
    s->tracefunc = from->tracefunc;
    s->profilefunc = from->profilefunc;
    s->traceobj = from->traceobj;
    s->profileobj = from->profileobj;
    if (chunk != NULL) {
        chunk->previous = &s->data;
        s->data.top = 1;
        move(from, s, chunk, chunk->data);
    }
    else {
        move(from, s, &s->data, bottom_of(s));
    }
#if V315
    frame_t *f = state_frame(s);
    while (f->previous != NULL) {
        f = f->previous;
    }
    f->previous = ts->base_frame;
#endif
    return 0;
}

/* ------------------------------------------------------------------ clearing frames */

static void set_thread_frame(PyThreadState *ts, frame_t *f)
{
#if V313
    ts->current_frame = f;
#else
    ts->cframe->current_frame = f;
#endif
}

/* The frame object of a frame of any tasklet: a new reference or NULL. */
static PyFrameObject *object_of(PyThreadState *ts, frame_t *f)
{
    const int collecting = PyGC_Disable();
    /* One may be in flight through the frame below. */
    PyObject *exception[3];
    PyErr_Fetch(&exception[0], &exception[1], &exception[2]);
    frame_t *mine = thread_frame(ts);
    set_thread_frame(ts, f);
    PyFrameObject *object = PyThreadState_GetFrame(ts);
    set_thread_frame(ts, mine);
    if (collecting) {
        PyGC_Enable();
    }
    PyErr_Restore(exception[0], exception[1], exception[2]);
    return object;
}

/* A frame ends whose frame object somebody else has: its values move there. */
static void hand_to_object(PyThreadState *ts, frame_t *f, PyFrameObject *object)
{
    frame_t *own = (frame_t *)object->_f_frame_data;
    memcpy(own, f, (size_t)((char *)&f->localsplus[values(f)] - (char *)f));
    set_values(own, values(f));
    own->frame_obj = NULL;
    own->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    object->f_frame = own;
    int entered;
    frame_t *next = sl_below(f, &entered);
    while (next != NULL && _PyFrame_IsIncomplete(next)) {
        next = sl_below(next, &entered);
    }
    if (next != NULL) {
        object->f_back = object_of(ts, next);
    }
    own->previous = NULL;
    if (!PyObject_GC_IsTracked((PyObject *)object)) {
        PyObject_GC_Track(object);
    }
}

/* Drops what a frame owns. A generator keeps its code. */
static void clear_frame(PyThreadState *ts, frame_t *f)
{
    PyFrameObject *object = f->frame_obj;
    f->frame_obj = NULL;
    if (object != NULL && Py_REFCNT(object) > 1) {
        hand_to_object(ts, f, object);
        if (f->owner == FRAME_OWNED_BY_GENERATOR) {
            Py_INCREF(code_of(f));
        }
        Py_DECREF(object);
        return;
    }
    Py_XDECREF(object);
    for (int i = 0, count = values(f); i < count; i++) {
        value_t value = f->localsplus[i];
        f->localsplus[i] = NOTHING;
        DROP(value);
    }
    set_values(f, 0);
    Py_CLEAR(f->f_locals);
#if V311
    Py_DECREF(f->f_func);
    Py_DECREF(f->f_code);
#elif V312
    Py_DECREF(f->f_funcobj);
    if (f->owner != FRAME_OWNED_BY_GENERATOR) {
        Py_DECREF(f->f_code);
    }
#else
    DROP(f->f_funcobj);
    if (f->owner != FRAME_OWNED_BY_GENERATOR) {
        DROP(f->f_executable);
    }
#endif
}

/* A parked tasklet is given up: no code of it runs any more. What its variables hold is dropped, which
 * may run destructors. */
void sl_drop_parked(PyThreadState *ts, sl_state *s)
{
    for (frame_t *f = state_frame(s), *next; f != NULL; f = next) {
        next = f->previous;
        if (f->owner == FRAME_OWNED_BY_GENERATOR) {
            PyGenObject *generator = generator_of(f);
            generator->gi_exc_state.previous_item = NULL;
            generator->gi_frame_state = FRAME_CLEARED;
            Py_CLEAR(generator->gi_exc_state.exc_value);
            clear_frame(ts, f);
            f->previous = NULL;
        }
        else {
            clear_frame(ts, f);
        }
    }
    Py_CLEAR(s->exc_state.exc_value);
    for (_PyStackChunk *chunk = s->chunk, *next; chunk != &s->data; chunk = next) {
        next = chunk->previous;
        free_chunk(chunk);
    }
    sl_abandon(s);
}

/* ------------------------------------------------------------------ going on */

/* The interpreter has taken a value out of an iteration of a `for` that was suspended in it. */
static void leave_loop(frame_t *f, instruction_t in)
{
    /* To the instruction behind the loop's end, which drops the iterator where this does not. */
#if V314
    advance(f, 1 + INLINE_CACHE_ENTRIES_FOR_ITER + in.arg + 1);
#else
    const int count = values(f);
    PyObject *iterator = f->localsplus[count - 1];
    set_values(f, count - 1);
#if V313
    advance(f, 1 + INLINE_CACHE_ENTRIES_FOR_ITER + in.arg + 2);
#elif V311
    advance(f, in.arg);
#else
    advance(f, INLINE_CACHE_ENTRIES_FOR_ITER + in.arg + 1);
#endif
    Py_DECREF(iterator);
#endif
}

/* The innermost frame of a woken tasklet gets what its pending call returns. Is there anything to
 * raise? */
static int finish_call(frame_t *f, PyObject *value)
{
    const instruction_t in = instruction(f);
    if (in.op == FOR_ITER) {
        if (value != NULL) {
#if V313
            advance(f, 1 + INLINE_CACHE_ENTRIES_FOR_ITER);
#elif !V311
            advance(f, INLINE_CACHE_ENTRIES_FOR_ITER);
#endif
            push(f, value);
            return 0;
        }
        if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
            return 1;
        }
        PyErr_Clear();
        leave_loop(f, in);
        return 0;
    }
    if (value != NULL) {
        advance(f, call_length(in.op));
        push(f, value);
    }
    return value == NULL;
}

/* Drops the operands of the pending call, while its frame is the running one. */
static void drop_operands(frame_t *f, int operands)
{
    while (operands-- > 0) {
        const int count = values(f) - 1;
        value_t value = f->localsplus[count];
        set_values(f, count);
        DROP(value);
    }
}

#if V311
/* What the caller of a frame does on 3.11 when it has been evaluated. */
static void end_frame(PyThreadState *ts, frame_t *f)
{
    clear_frame(ts, f);
    PyObject **base = (PyObject **)f;
    _PyStackChunk *chunk = ts->datastack_chunk;
    if (base != chunk->data) {
        ts->datastack_top = base;
        return;
    }
    _PyStackChunk *lower = chunk->previous;
    ts->datastack_chunk = lower;
    ts->datastack_top = &lower->data[lower->top];
    ts->datastack_limit = (PyObject **)((char *)lower + lower->size);
    free_chunk(chunk);
}
#endif

/* The running tasklet was woken, and its pending call returns `value`, whose reference is taken over;
 * NULL: an exception is set. The result is what its function returns. `evaluating` is set where the
 * tasklet can be parked again. */
PyObject *sl_resume(PyThreadState *ts, sl_state *s, PyObject *value, char *evaluating)
{
    frame_t *f = thread_frame(ts);
    if (s->operands > 0) {
        PyObject *exception[3];
        PyErr_Fetch(&exception[0], &exception[1], &exception[2]);
        const int operands = s->operands;
        s->operands = 0;
        drop_operands(f, operands);
        PyErr_Restore(exception[0], exception[1], exception[2]);
    }
    int raises = finish_call(f, value);
    for (;;) {
        frame_t *const lower = f->previous;
        int entered;
        frame_t *const next = sl_below(f, &entered);
#if !V311
        PyGenObject *generator = NULL;
        if (f->owner == FRAME_OWNED_BY_GENERATOR) {
            generator = generator_of(f);
        }
#endif
        set_thread_frame(ts, lower);
#if V311
        ts->recursion_remaining++;
#else
        ts->py_recursion_remaining++;
#endif
        *evaluating = 1;
        value = _PyEval_EvalFrameDefault(ts, f, raises);
        *evaluating = 0;
#if V311
        end_frame(ts, f);
#endif
        if (next == NULL) {
            return value;
        }
        raises = value == NULL;
        f = next;
        if (raises) {
            continue;
        }
#if V313
        if (generator != NULL && generator->gi_frame_state != FRAME_CLEARED) {
            advance(f, 1 + INLINE_CACHE_ENTRIES_SEND); /* it yielded */
        }
        else {
            advance(f, f->return_offset);
        }
#elif !V311
        if (generator == NULL || generator->gi_frame_state == FRAME_CLEARED) {
            advance(f, f->return_offset);
        }
#endif
        push(f, value);
    }
}

/* Who evaluates frames: as Evaluator in park.rs. */
int sl_evaluator(void)
{
    PyInterpreterState *interp = PyInterpreterState_Get();
#if V314
    if (interp->jit) {
        return 1;
    }
#endif
    return _PyInterpreterState_GetEvalFrameFunc(interp) == _PyEval_EvalFrameDefault ? 0 : 2;
}
