/* How a woken tasklet continues, and how its frames end. park.c has the picture. */
#include "state.h"
#include "frames.h"
#include "instruction.h"

static void free_chunk(_PyStackChunk *chunk)
{
    PyObjectArenaAllocator arena;
    PyObject_GetArenaAllocator(&arena);
    arena.free(arena.ctx, chunk, chunk->size);
}

/* ------------------------------------------------------------------ clearing frames */

/* A frame ends while its frame object is still referred to: the values move into the object. */
static void hand_to_object(PyThreadState *ts, frame_t *f, PyFrameObject *object)
{
    frame_t *own = (frame_t *)object->_f_frame_data;
    memcpy(own, f, (size_t)((char *)&f->localsplus[value_count(f)] - (char *)f));
    set_value_count(own, value_count(f));
    /* The caller's frame, whose variables some of these are borrowed from, ends as well. */
    set_function(own, owned_value(function_value(f)));
    for (int i = 0, count = value_count(f); i < count; i++) {
        own->localsplus[i] = owned_value(own->localsplus[i]);
    }
    own->frame_obj = NULL;
    own->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    object->f_frame = own;
    frame_t *next = python_frame(f->previous);
    if (next != NULL) {
        object->f_back = sl_object_of_frame(ts, next);
    }
    own->previous = NULL;
    if (!PyObject_GC_IsTracked((PyObject *)object)) {
        PyObject_GC_Track(object);
    }
}

/* Drops what a frame owns. A generator keeps its code, which from 3.12 on only its frame refers to. */
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
    for (int i = 0, count = value_count(f); i < count; i++) {
        value_t value = f->localsplus[i];
        f->localsplus[i] = NO_VALUE;
        drop_value(value);
    }
    set_value_count(f, 0);
    Py_CLEAR(f->f_locals);
    drop_value(function_value(f));
    if (!PY_GE(3, 12) || f->owner != FRAME_OWNED_BY_GENERATOR) {
        drop_value(code_value(f));
    }
}

/* Ends a parked tasklet without running its code any more. What its variables hold is dropped, which may run
 * destructors. */
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

/* ------------------------------------------------------------------ continuing */

/* Ends a `for` whose iterator is exhausted, as FOR_ITER does. */
static void leave_loop(frame_t *f, instruction_t in)
{
    /* To the instruction behind the loop. From 3.14 on an instruction there drops the iterator. */
#if PY_GE(3, 14)
    advance(f, 1 + INLINE_CACHE_ENTRIES_FOR_ITER + in.arg + 1);
#else
    const int count = value_count(f);
    PyObject *iterator = f->localsplus[count - 1];
    set_value_count(f, count - 1);
#if PY_GE(3, 13)
    advance(f, 1 + INLINE_CACHE_ENTRIES_FOR_ITER + in.arg + 2);
#elif PY_GE(3, 12)
    advance(f, INLINE_CACHE_ENTRIES_FOR_ITER + in.arg + 1);
#else
    advance(f, in.arg);
#endif
    Py_DECREF(iterator);
#endif
}

/* Pushes what the pending call returns on the innermost frame of a woken tasklet. `length` is that of the call, 0 if
 * it is not known. Returns true if an exception is to be raised in the frame. */
static int finish_call(frame_t *f, int length, PyObject *value)
{
    if (length > 0 && value != NULL) {
        advance(f, length);
        push(f, value);
        return 0;
    }
    const instruction_t in = sl_instruction(f);
    if (in.op == FOR_ITER) {
        if (value != NULL) {
#if PY_GE(3, 13)
            advance(f, 1 + INLINE_CACHE_ENTRIES_FOR_ITER);
#elif PY_GE(3, 12)
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

/* Drops the operands of the pending call while the frame is the running one. */
static void drop_operands(frame_t *f, int operands)
{
    while (operands-- > 0) {
        const int count = value_count(f) - 1;
        value_t value = f->localsplus[count];
        set_value_count(f, count);
        drop_value(value);
    }
}

/* Moves the innermost frame of the running tasklet to the data stack, if it is still where the tasklet was woken
 * from. The data stack has room for it. Returns where the frame is. */
static frame_t *move_to_stack(PyThreadState *ts, sl_state *s, frame_t *f)
{
    sl_state *const rest = s->rest;
    if (rest == NULL || !lies_in(f, rest)) {
        return f;
    }
    frame_t *const here = (frame_t *)ts->datastack_top;
    ts->datastack_top += top_of(rest) - (PyObject **)f;
    memcpy(here, f, (size_t)((char *)&f->localsplus[value_count(f)] - (char *)f));
    set_value_count(here, value_count(f));
    if (here->frame_obj != NULL) {
        here->frame_obj->f_frame = here;
    }
    rest->top = (PyObject **)f;
    set_thread_frame(ts, here);
    return here;
}

#if !PY_GE(3, 12)
/* What the caller of a frame does on 3.11 after it was evaluated. */
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

/* Continues the running tasklet, which was woken. Its pending call returns `value`, whose reference is taken over;
 * NULL: an exception is set. The result is what the tasklet's function returns. `*evaluating` is 1 while the tasklet
 * can be parked again. */
PyObject *sl_resume(PyThreadState *ts, sl_state *s, PyObject *value, char *evaluating)
{
    frame_t *f = move_to_stack(ts, s, thread_frame(ts));
    const int operands = s->operands;
    s->operands = 0;
    if (value != NULL) {
        drop_operands(f, operands);
    }
    else {
        PyObject *exception[3];
        PyErr_Fetch(&exception[0], &exception[1], &exception[2]);
        drop_operands(f, operands);
        PyErr_Restore(exception[0], exception[1], exception[2]);
    }
    int raises = finish_call(f, s->call_length, value);
    s->call_length = 0;
    for (;;) {
        frame_t *const lower = f->previous;
        int entered;
        frame_t *const next = frame_below(f, &entered);
#if PY_GE(3, 12)
        PyGenObject *generator = NULL;
        if (f->owner == FRAME_OWNED_BY_GENERATOR) {
            generator = generator_of(f);
        }
#endif
        set_thread_frame(ts, lower);
        s->floor = next;
#if !PY_GE(3, 12)
        ts->recursion_remaining++;
#else
        ts->py_recursion_remaining++;
#endif
        *evaluating = 1;
        value = _PyEval_EvalFrameDefault(ts, f, raises);
        *evaluating = 0;
#if !PY_GE(3, 12)
        end_frame(ts, f);
#endif
        if (next == NULL) {
            s->rest = NULL;
            return value;
        }
        raises = value == NULL;
        f = move_to_stack(ts, s, next);
        if (raises) {
            continue;
        }
#if PY_GE(3, 13)
        if (generator != NULL && generator->gi_frame_state != FRAME_CLEARED) {
            advance(f, 1 + INLINE_CACHE_ENTRIES_SEND); /* it yielded */
        }
        else {
            advance(f, f->return_offset);
        }
#elif PY_GE(3, 12)
        if (generator == NULL || generator->gi_frame_state == FRAME_CLEARED) {
            advance(f, f->return_offset);
        }
#endif
        push(f, value);
    }
}

/* What evaluates the frames of new calls. */
sl_evaluator_kind sl_evaluator(PyThreadState *ts)
{
    PyInterpreterState *const interp = ts->interp;
#if PY_GE(3, 14)
    if (interp->jit) {
        return SL_COMPILER;
    }
#endif
    return interp->eval_frame == NULL || interp->eval_frame == _PyEval_EvalFrameDefault ? SL_INTERPRETER : SL_OTHER;
}
