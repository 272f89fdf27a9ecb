/* Whether a suspended tasklet can be parked, and why not: for messages. park.c has the picture. */
#include "state.h"
#include "instruction.h"

char sl_iterating, sl_interrupted;

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

static sl_does what_does(instruction_t in)
{
#ifdef NB_SUBSCR
    if (in.op == BINARY_OP && in.arg == NB_SUBSCR) {
        return SL_DOES_ITEM;
    }
#endif
    switch (in.op) {
    case CALL_FUNCTION_EX:
        return SL_DOES_CALL_STARRED;
    case LOAD_ATTR:
    case STORE_ATTR:
    case DELETE_ATTR:
#ifdef LOAD_METHOD
    case LOAD_METHOD:
#endif
        return SL_DOES_ATTRIBUTE;
#ifdef BINARY_SUBSCR
    case BINARY_SUBSCR:
#endif
#ifdef BINARY_SLICE
    case BINARY_SLICE:
    case STORE_SLICE:
#endif
    case STORE_SUBSCR:
    case DELETE_SUBSCR:
        return SL_DOES_ITEM;
    case BINARY_OP:
    case COMPARE_OP:
    case CONTAINS_OP:
    case UNARY_INVERT:
    case UNARY_NEGATIVE:
        return SL_DOES_OPERATOR;
    case FOR_ITER:
    case GET_ITER:
        return SL_DOES_LOOP;
#ifdef BEFORE_WITH
    case BEFORE_WITH:
        return SL_DOES_ENTER;
#endif
    case WITH_EXCEPT_START:
        return SL_DOES_EXIT;
    default:
        return is_call(in.op) ? SL_DOES_CALL : SL_DOES_OTHER;
    }
}

/* What the frame calls, or NULL. Up to 3.13 it may have been freed: see sl_is_living. */
static PyObject *callee_of(frame_t *f, instruction_t in)
{
    const int starred = in.op == CALL_FUNCTION_EX;
    const int operands = !starred ? in.arg + beside_arguments(in.op) : PY_GE(3, 14) ? 4 : 3 + (in.arg & 1);
    const int values = sl_values_during(f, in), base = values - operands;
    if (base < code_of(f)->co_nlocalsplus) {
        return NULL;
    }
#if PY_GE(3, 14)
    if (values != value_count(f)) {
        return NULL; /* they were taken from the stack, and are being dropped */
    }
#endif
    return starred ? value_at(f, base + !PY_GE(3, 13)) : callable_at(f, base);
}

/* Says why a tasklet cannot be parked, and returns 0. `upper` is the frame of the Python function that C code has
 * called for `f`, or NULL. */
static int refuse(sl_refusal *why, sl_refusal_kind kind, frame_t *f, frame_t *upper)
{
    memset(why, 0, sizeof(*why));
    why->kind = kind;
    if (f == NULL) {
        return 0;
    }
    why->code = code_of(f);
    instruction_t in = sl_instruction(f);
    why->at = in.index * (int)sizeof(_Py_CODEUNIT);
    why->what = what_does(in);
    if (is_call(in.op) || in.op == CALL_FUNCTION_EX) {
        why->callee = callee_of(f, in);
    }
    if (upper != NULL) {
        why->called = code_of(upper);
        /* During the call of a bound method, self is in the method's slot on the stack. */
        if (why->called->co_argcount > 0 && why->callee == value_at(upper, 0)) {
            why->callee = NULL;
        }
    }
    return 0;
}

/* Describes the pending call of a tasklet in `layout`. 0 if it waits in something else than a primitive. */
static int pending_call(frame_t *f, const sl_pending *call, sl_call_layout *layout)
{
    const instruction_t in = sl_instruction(f);
    const int lowest = code_of(f)->co_nlocalsplus;
    int *const count = &layout->values, *const operands = &layout->operands;
    if (call->args == (PyObject *const *)&sl_iterating) {
        *count = in.op == FOR_ITER ? sl_values_during(f, in) : -1;
        *operands = 0;
        if (*count < lowest + OF_LOOP) {
            return 0;
        }
        PyObject *iterator = value_at(f, *count - OF_LOOP);
        return iterator != NULL && (PyCFunction)Py_TYPE(iterator)->tp_iternext == call->function;
    }
    if (!is_call(in.op) || call->args == NULL) {
        return 0;
    }
    const int names = beside_arguments(in.op) - 2;
    *operands = in.arg + beside_arguments(in.op);
    layout->length = call_length(in.op);
#if PY_GE(3, 14)
    *count = value_count(f);
#else
    const ptrdiff_t end = call->args + call->count + names - f->localsplus;
    if (end < lowest || end > lowest + code_of(f)->co_stacksize) {
        return 0; /* C code called the primitive, with arguments of its own */
    }
    *count = (int)end;
#endif
    const int base = *count - *operands;
    if (base < lowest || c_function(callable_at(f, base)) != call->function) {
        return 0;
    }
    /* A destructor or callback that runs while the call drops its operands has other arguments. */
    for (int i = 0; i < call->count; i++) {
        if (value_at(f, *count - names - call->count + i) != call->args[i]) {
            return 0;
        }
    }
    return 1;
}

/* The number of values in the innermost frame of a parked tasklet. */
int sl_parked_values(sl_state *s)
{
    return value_count(state_frame(s));
}

/* True if this is the lowest frame of the tasklet's data stack. */
static int is_bottom(sl_state *s, frame_t *f)
{
    PyObject **const at = (PyObject **)f;
    if (at == &s->data.data[1]) {
        return 1;
    }
    /* Or the frames were too large when it was woken, and got a chunk of their own. */
    _PyStackChunk *chunk = s->chunk;
    while (chunk != &s->data && chunk->previous != &s->data) {
        chunk = chunk->previous;
    }
    return chunk != &s->data && s->data.top == 1 && at == chunk->data;
}

/* True if this suspended tasklet can be parked. Its function is a Python function, called from C. */
int sl_can_park(sl_state *s, const sl_pending *call, sl_call_layout *layout, sl_refusal *why)
{
    frame_t *f = state_frame(s);
    if (f == NULL || is_shim(f) || _PyFrame_IsIncomplete(f)) {
        return refuse(why, SL_IN_C, NULL, NULL);
    }
    if (call->args == (PyObject *const *)&sl_interrupted) {
        return refuse(why, SL_INTERRUPTED, f, NULL);
    }
    if (s->tracing != 0) {
        return refuse(why, SL_TRACING, f, NULL);
    }
#if !PY_GE(3, 13)
    if (s->trash_nesting != 0) {
        return refuse(why, SL_CLEARING, f, NULL);
    }
#endif
    if (s->trash != NULL) {
        return refuse(why, SL_CLEARING, f, NULL);
    }
    /* The lowest entry is that of the tasklet's function, or of sl_resume. */
    frame_t *upper = NULL, *lower = NULL, *lowest = NULL;
    for (frame_t *next; f != s->floor; f = next) {
        int entered;
        next = frame_below(f, &entered);
        lowest = f;
        if (!entered) {
            continue;
        }
        if (entered > 1) {
            return refuse(why, SL_CLEARING, f, NULL); /* a destructor runs while the frame in between is cleared */
        }
        if (upper != NULL && !sl_cold_loop(upper, lower)) {
            return refuse(why, SL_C_BETWEEN, lower, upper);
        }
        upper = f;
        lower = next;
    }
    if (upper == NULL) {
        return refuse(why, SL_IN_C, NULL, NULL);
    }
    if (s->floor == NULL && !is_bottom(s, lowest)) {
        return refuse(why, SL_CLEARING, lowest, NULL); /* the same on 3.11, which has unlinked the frame in between */
    }
    f = state_frame(s);
    return pending_call(f, call, layout) ? 1 : refuse(why, SL_NOT_A_CALL, f, NULL);
}
