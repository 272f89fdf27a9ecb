/* Parking: a suspended tasklet gives up its C stack, and gets another one before it continues.
 *
 * Since 3.11 a Python function that calls another one runs it in the same activation of the interpreter,
 * `_PyEval_EvalFrameDefault`. While a tasklet waits in a call of ours, and below that call there is only one such
 * activation, its C stack holds nothing that the frames do not hold as well:
 *
 *     C stack                                       frames, innermost first
 *     ┌──────────────────────────────┐              ┌─────────────────────────────────────────┐
 *     │ our function, waiting        │  · · · · ·   │ f: its instruction is a CALL of ours;   │
 *     ├──────────────────────────────┤              │    [.. callable, self, arguments]       │
 *     │ _PyEval_EvalFrameDefault     │  runs        ├─────────────────────────────────────────┤
 *     │   (owns nothing now)         │ ─────────>   │ ...                                     │
 *     ├──────────────────────────────┤  all of      ├─────────────────────────────────────────┤
 *     │ begin() of the engine        │  them        │ the tasklet's function                  │
 *     └──────────────────────────────┘              └────────────────── entry frame ──────────┘
 *
 * `sl_can_park` (can_park.c) finds out whether that is true. `sl_park` copies the state and the frames to another
 * block of memory, which the first time has exactly their size. `sl_wake` gives the state a stack again, and leaves
 * the frames where they are. On that stack `sl_resume` (resume.c) continues: it moves the innermost frame to the
 * stack, drops the operands of the pending call, pushes what the call returns, and has the interpreter evaluate
 * the frame; then it does the same with the other frames, down to the tasklet's function. So when a tasklet waits
 * again after a while, only its newest frames have to be moved:
 *
 *     parked                       woken, and has called h                   parked again
 *     state                        state       state ─ rest ──┐              state
 *     f0 f1 f2 g                   f0 f1 f2 <───── floor      │   g h        f0 f1 f2 g h
 *     └ in one block ┘             └ the same block <─────────┘   └ on a stack
 *
 * By version (source: Python/ceval.c, bytecodes.c and frame.c of each):
 *
 *     what                 3.11                  3.12                3.13           3.14, 3.15
 *     values in use        stacktop              stacktop            stacktop       stackpointer, valid
 *                          only while another frame runs on top of it               in calls of C too
 *     position             prev_instr, the code unit before the      instr_ptr, the instruction itself
 *                          next one
 *     behind a call        + 4 (PRECALL: + 6)    + 3                 + 4 (CALL_KW: + 1; since 3.14 + 4)
 *     callable of a call   [method or NULL, function or self, ...]   [function, self or NULL, ...]
 *     entry frame          is_entry              owner CSTACK        owner CSTACK   owner INTERPRETER
 *     bottom of the chain  NULL                  NULL                NULL           NULL; base_frame (3.15)
 *     an evaluated frame   must be cleared by    is cleared
 *                          the caller
 */
#include "state.h"
#include "instruction.h"

#if PY_GE(3, 12)
/* Turns the loop of `consumer` over the generator of `f` into what the specialised loop is; `moved` is where the
 * consumer is now. If sl_resume entered the generator, that was done before. */
static void inline_loop(frame_t *f, frame_t *consumer, frame_t *moved)
{
    const int count = sl_cold_loop(f, consumer);
    if (count == 0) {
        return;
    }
    const instruction_t in = sl_instruction(consumer);
#if PY_GE(3, 13)
    moved->return_offset = (uint16_t)(1 + INLINE_CACHE_ENTRIES_FOR_ITER + in.arg);
#else
    advance(moved, INLINE_CACHE_ENTRIES_FOR_ITER);
    moved->return_offset = (uint16_t)in.arg;
#endif
#if !PY_GE(3, 14)
    set_value_count(moved, count);
#endif
}
#endif

/* Where a frame is when the memory from `low` to `high` was moved to `at`. */
static inline frame_t *moved_frame(frame_t *f, PyObject **low, PyObject **high, PyObject **at)
{
    PyObject **const place = (PyObject **)f;
    return place >= low && place < high ? (frame_t *)(at + (place - low)) : f;
}

/* Moves the memory from `low` to `high`, which is part of a data stack, to `at`, and adjusts all pointers to it in
 * the frames from `f` down to `end`, which is not included. Afterwards no frame of the interpreter's own is among
 * these. Returns where `f` is. */
static frame_t *move(PyObject **low, PyObject **high, PyObject **at, frame_t *f, frame_t *end)
{
    /* Before anything is written there: a wide load from what was just stored has to wait. */
    memcpy(at, low, (size_t)((char *)high - (char *)low));
    frame_t *const result = moved_frame(f, low, high, at);
    for (frame_t *next; f != end; f = next) {
        int entered;
        next = frame_below(f, &entered);
        frame_t *const moved = moved_frame(f, low, high, at);
        moved->previous = moved_frame(next, low, high, at);
#if !PY_GE(3, 12)
        moved->is_entry = 0;
#else
        if (entered && next != NULL) {
            inline_loop(f, next, moved_frame(next, low, high, at));
        }
#endif
        if (moved == f) {
            continue; /* it belongs to a generator, or is in another chunk */
        }
        if (moved->frame_obj != NULL) {
            moved->frame_obj->f_frame = moved;
        }
#if PY_GE(3, 14)
        set_value_count(moved, value_count(f));
#endif
    }
    return result;
}

/* Gives the exceptions being handled, and the chunks above the root chunk, to `to`, whose chunk `root` has this
 * number of words in use. */
static void hand_on(sl_state *from, sl_state *to, _PyStackChunk *root, size_t words)
{
    to->exc_info = from->exc_info;
    to->exc_state = from->exc_state;
    _PyErr_StackItem **item = &to->exc_info;
    while (*item != &from->exc_state) {
        item = &(*item)->previous_item;
    }
    *item = &to->exc_state;
    if (from->chunk == &from->data) {
        to->chunk = root;
        to->top = &root->data[words];
        to->limit = (PyObject **)((char *)root + root->size);
        return;
    }
    _PyStackChunk *upper = from->chunk;
    while (upper->previous != &from->data) {
        upper = upper->previous;
    }
    upper->previous = root;
    root->top = words;
    to->chunk = from->chunk;
    to->top = from->top;
    to->limit = from->limit;
}

#if PY_GE(3, 15)
/* The lowest frame of a tasklet: the first one in `rest`, if any is there, else the last one below `f`. */
static frame_t *lowest(sl_state *rest, frame_t *f)
{
    if (rest != NULL && used_bytes(rest) > 0) {
        return (frame_t *)bottom_of(rest);
    }
    while (f->previous != NULL && !is_shim(f->previous)) {
        f = f->previous;
    }
    return f;
}
#endif

/* The number of bytes that sl_park needs. */
size_t sl_parked_size(sl_state *s)
{
    return (size_t)((char *)bottom_of(s) - (char *)s) + used_bytes(s) + (s->rest == NULL ? 0 : used_bytes(s->rest));
}

/* The number of bytes that the memory of a parked state has. */
size_t sl_parked_room(sl_state *s)
{
    return offsetof(sl_state, data) + s->data.size;
}

/* Moves a tasklet that can be parked to `to`, which has room for `size` bytes. `to` may be the state that the tasklet
 * was woken from: then the frames that are still there stay. `s` is not used afterwards. `layout` is what
 * sl_can_park has found, NULL for a tasklet that was woken and has not continued yet. */
void sl_park(sl_state *s, const sl_call_layout *layout, sl_state *to, size_t size)
{
    sl_state *const rest = s->rest;
    frame_t *f = state_frame(s), *floor = s->floor;
    PyObject **at = bottom_of(to);
#if PY_GE(3, 15)
    if (floor != NULL) {
        lowest(rest, floor)->previous = NULL; /* that belonged to a thread, which may end */
    }
#endif
    if (rest != NULL) {
        const size_t kept = used_bytes(rest);
        if (rest != to) {
            frame_t *const innermost = f;
            f = move(bottom_of(rest), top_of(rest), at, f, NULL);
            floor = innermost == floor ? f : moved_frame(floor, bottom_of(rest), top_of(rest), at);
        }
        at = (PyObject **)((char *)at + kept);
    }
    memcpy(to, s, offsetof(sl_state, data));
    if (rest != to) {
        to->root = &to->data;
        to->data.previous = NULL;
        to->data.size = size - offsetof(sl_state, data);
    }
    to->data.top = 0;
    to->rest = NULL;
    to->floor = NULL;
    if (layout != NULL) {
        to->operands = layout->operands;
        to->call_length = layout->length;
    }
    f = move(bottom_of(s), top_of(s), at, f, floor);
    if (layout != NULL) {
        set_value_count(f, layout->values);
    }
    set_state_frame(to, f);
    at = (PyObject **)((char *)at + used_bytes(s));
    hand_on(s, to, &to->data, (size_t)(at - to->data.data));
}

static _PyStackChunk *new_chunk(size_t bytes)
{
    size_t size = 16 << 10;
    while (size < bytes + offsetof(_PyStackChunk, data)) {
        size *= 2;
    }
    /* From the allocator of CPython's own chunks, since CPython will free it. */
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

/* Gives a parked tasklet a stack: `s`, `end` and `stack` are as for sl_init. Result 1: its frames stay in `from` until
 * sl_resume comes to them; `from` has to be kept until then. 0: the frames were too large for that and have been
 * moved; `from` is not used any more. -1: there is no memory, nothing has changed. */
int sl_wake(PyThreadState *ts, sl_state *s, char *end, size_t stack, sl_state *from)
{
    const size_t bytes = used_bytes(from);
    _PyStackChunk *chunk = NULL;
    if (bytes > (size_t)(end - (char *)bottom_of(s))) {
        chunk = new_chunk(bytes);
        if (chunk == NULL) {
            return -1;
        }
    }
    sl_init(ts, s, end, stack, from->context);
#if PY_GE(3, 12)
    s->version = from->version;
#endif
    s->depth = from->depth;
    s->ensured = from->ensured;
    s->event = from->event;
    s->traced = from->traced;
    s->operands = from->operands;
    s->call_length = from->call_length;
    s->tracefunc = from->tracefunc;
    s->profilefunc = from->profilefunc;
    s->traceobj = from->traceobj;
    s->profileobj = from->profileobj;
    s->loop = from->loop;
    frame_t *f = state_frame(from);
    PyObject **const high = top_of(from);
    if (chunk != NULL) {
        chunk->previous = &s->data;
        s->data.top = 1;
        f = move(bottom_of(from), high, chunk->data, f, NULL);
        hand_on(from, s, chunk, bytes / sizeof(PyObject *));
    }
    else {
        hand_on(from, s, &s->data, 1);
        from->chunk = &from->data;
        from->top = high;
        s->rest = from;
        s->floor = f;
    }
    set_state_frame(s, f);
#if PY_GE(3, 15)
    lowest(s->rest, f)->previous = ts->base_frame;
#endif
    return s->rest != NULL;
}
