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
 * `sl_can_park` (can_park.c) finds out whether it is so. `sl_park` copies the state and the frames to another
 * place, of exactly their size the first time. `sl_wake` gives the state a stack again, and leaves the frames
 * where they are. There `sl_resume` (resume.c) goes on: it brings the innermost frame to the stack, drops the
 * operands of the pending call, pushes what the call returns, and has the interpreter evaluate it; and then
 * the same with one frame after the other, down to the tasklet's function. So a tasklet that waits again after
 * a while has only the frames to move that are its newest:
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
#include "instruction.h"

#if PY_GE(3, 12)
/* The loop of `consumer` over the generator of `f` becomes what the specialised one is; `moved` is where the
 * consumer lies now. If it was entered by sl_resume that was done before. */
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
static inline frame_t *turned(frame_t *f, PyObject **low, PyObject **high, PyObject **at)
{
    PyObject **const place = (PyObject **)f;
    return place >= low && place < high ? (frame_t *)(at + (place - low)) : f;
}

/* Moves the memory from `low` to `high`, which is part of a data stack, to `at`, and turns everything that
 * points there, from the frame `f` on down to `end`, which is not looked at any more. No frame of the
 * interpreter's own is in between any more then. Returns where `f` is. */
static frame_t *move(PyObject **low, PyObject **high, PyObject **at, frame_t *f, frame_t *end)
{
    /* Before anything is written there: a wide load from what was just stored has to wait. */
    memcpy(at, low, (size_t)((char *)high - (char *)low));
    frame_t *const result = turned(f, low, high, at);
    for (frame_t *next; f != end; f = next) {
        int entered;
        next = frame_below(f, &entered);
        frame_t *const moved = turned(f, low, high, at);
        moved->previous = turned(next, low, high, at);
#if !PY_GE(3, 12)
        moved->is_entry = 0;
#else
        if (entered && next != NULL) {
            inline_loop(f, next, turned(next, low, high, at));
        }
#endif
        if (moved == f) {
            continue; /* of a generator, or elsewhere */
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

/* The exceptions being handled, and the chunks above the root chunk, become those of `to`, in whose chunk
 * `root` so many words are in use. */
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
/* The lowest frame of a tasklet: one of those that lie in `rest`, if any do, or far below `f`. */
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

/* The bytes that sl_park needs. */
size_t sl_parked_size(sl_state *s)
{
    return (size_t)((char *)bottom_of(s) - (char *)s) + used_bytes(s) + (s->rest == NULL ? 0 : used_bytes(s->rest));
}

/* The bytes that a parked state takes, or could take in its place. */
size_t sl_parked_room(sl_state *s)
{
    return offsetof(sl_state, data) + s->data.size;
}

/* Moves a tasklet that can be parked to `to`, which has room for `size` bytes. It may be what the tasklet
 * was woken from: then the frames that are still there stay. What is left of `s` is of no use. `found` is
 * what sl_can_park has layout, NULL for one that was woken and has not gone on yet. */
void sl_park(sl_state *s, const sl_call_layout *layout, sl_state *to, size_t size)
{
    sl_state *const rest = s->rest;
    frame_t *f = state_frame(s), *floor = s->floor;
    PyObject **at = bottom_of(to);
#if PY_GE(3, 15)
    if (floor != NULL) {
        lowest(rest, floor)->previous = NULL; /* not what belongs to a thread, which may end */
    }
#endif
    if (rest != NULL) {
        const size_t kept = used_bytes(rest);
        if (rest != to) {
            frame_t *const innermost = f;
            f = move(bottom_of(rest), top_of(rest), at, f, NULL);
            floor = innermost == floor ? f : turned(floor, bottom_of(rest), top_of(rest), at);
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

/* Gives a parked tasklet a stack: `s`, `end` and `stack` are as for sl_init. Its frames stay where they are
 * until sl_resume comes to them; `from` has to be kept so long. Result 0: frames that are too large for
 * that were moved, and what is left of `from` is of no use. -1: there is no memory, nothing has changed. */
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
