/* Can a suspended tasklet be parked? See park.c. */
#include "park.h"

char sl_iterating, sl_interrupted;

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

instruction_t sl_instruction(frame_t *f)
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

#if !V311
/* Does code of the generator run because it is being closed? It handles GeneratorExit then, or what was raised
 * during that. An exception that leaves a loop closes the generator in the middle of FOR_ITER, where the
 * generator still lies in its slot: but C code will go on behind that, and not the loop. */
static int is_being_closed(PyGenObject *generator)
{
    enum { LONGEST = 100 }; /* a chain may be a circle */
    PyObject *e = generator->gi_exc_state.exc_value;
    for (int i = 0; i < LONGEST && e != NULL && e != Py_None; i++) {
        if (PyErr_GivenExceptionMatches(e, PyExc_GeneratorExit)) {
            return 1;
        }
        e = ((PyBaseExceptionObject *)e)->context;
    }
    return 0;
}
#endif

int sl_cold_loop(frame_t *f, frame_t *consumer)
{
#if !V311
    if (f->owner != FRAME_OWNED_BY_GENERATOR) {
        return 0;
    }
    instruction_t in = sl_instruction(consumer);
    int count = in.op == FOR_ITER ? values_during(consumer, in) : 0;
    if (count < code_in(consumer)->co_nlocalsplus + OF_LOOP) {
        return 0;
    }
    PyObject *iterator = value_at(consumer, count - OF_LOOP);
    PyObject *generator = (PyObject *)generator_of(f);
    if (iterator == generator && Py_TYPE(generator) == &PyGen_Type && !is_being_closed(generator_of(f))) {
        return count;
    }
#endif
    return 0;
}

/* How many values a frame has that executes a `for` in C, as far as that is known. */
int sl_values_during_loop(frame_t *f)
{
    const instruction_t in = sl_instruction(f);
    const int count = in.op == FOR_ITER ? values_during(f, in) : -1;
    return count < 0 ? code_in(f)->co_nlocalsplus : count;
}

static int what_does(instruction_t in)
{
#ifdef NB_SUBSCR
    if (in.op == BINARY_OP && in.arg == NB_SUBSCR) {
        return DOES_ITEM;
    }
#endif
    switch (in.op) {
    case CALL_FUNCTION_EX:
        return DOES_CALL_STARRED;
    case LOAD_ATTR:
    case STORE_ATTR:
    case DELETE_ATTR:
#ifdef LOAD_METHOD
    case LOAD_METHOD:
#endif
        return DOES_ATTRIBUTE;
#ifdef BINARY_SUBSCR
    case BINARY_SUBSCR:
#endif
#ifdef BINARY_SLICE
    case BINARY_SLICE:
    case STORE_SLICE:
#endif
    case STORE_SUBSCR:
    case DELETE_SUBSCR:
        return DOES_ITEM;
    case BINARY_OP:
    case COMPARE_OP:
    case CONTAINS_OP:
    case UNARY_INVERT:
    case UNARY_NEGATIVE:
        return DOES_OPERATOR;
    case FOR_ITER:
    case GET_ITER:
        return DOES_LOOP;
#ifdef BEFORE_WITH
    case BEFORE_WITH:
        return DOES_ENTER;
#endif
    case WITH_EXCEPT_START:
        return DOES_EXIT;
    default:
        return is_call(in.op) ? DOES_CALL : DOES_OTHER;
    }
}

/* What the frame calls: borrowed, or NULL. */
static PyObject *callee_of(frame_t *f, instruction_t in)
{
    const int starred = in.op == CALL_FUNCTION_EX;
    const int operands = !starred ? in.arg + beside_arguments(in.op) : V314 ? 4 : 3 + (in.arg & 1);
    const int base = values_during(f, in) - operands;
    if (base < code_in(f)->co_nlocalsplus) {
        return NULL;
    }
    return starred ? value_at(f, base + !V313) : callable_at(f, base);
}

/* `upper` is the frame of the Python function that C code has called for `f`, or NULL. */
static int blame(sl_obstacle *why, int kind, frame_t *f, frame_t *upper)
{
    memset(why, 0, sizeof(*why));
    why->kind = kind;
    if (f == NULL) {
        return 0;
    }
    why->code = code_in(f);
    instruction_t in = sl_instruction(f);
    why->at = in.index * (int)sizeof(_Py_CODEUNIT);
    why->what = what_does(in);
    if (is_call(in.op) || in.op == CALL_FUNCTION_EX) {
        why->callee = callee_of(f, in);
    }
    if (upper != NULL) {
        why->called = code_in(upper);
        /* During the call of a bound method, self takes the method's place on the stack. */
        if (why->called->co_argcount > 0 && why->callee == value_at(upper, 0)) {
            why->callee = NULL;
        }
    }
    return 0;
}

/* The pending call of a tasklet, in `found`. 0 if it waits in something else than a primitive. */
static int pending_call(frame_t *f, const sl_call *call, sl_pending *found)
{
    const instruction_t in = sl_instruction(f);
    const int lowest = code_in(f)->co_nlocalsplus;
    int *const count = &found->values, *const operands = &found->operands;
    if (call->args == (PyObject *const *)&sl_iterating) {
        *count = in.op == FOR_ITER ? values_during(f, in) : -1;
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
    found->length = call_length(in.op);
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

/* Can this suspended tasklet be parked? Its function is a Python function, called from C. */
int sl_can_park(sl_state *s, const sl_call *call, sl_pending *found, sl_obstacle *why)
{
    frame_t *f = state_frame(s);
    if (f == NULL || is_shim(f) || _PyFrame_IsIncomplete(f)) {
        return blame(why, IN_C, NULL, NULL);
    }
    if (call->args == (PyObject *const *)&sl_interrupted) {
        return blame(why, INTERRUPTED, f, NULL);
    }
    if (s->tracing != 0) {
        return blame(why, TRACING, f, NULL);
    }
#if !V313
    if (s->trash_nesting != 0) {
        return blame(why, CLEARING, f, NULL);
    }
#endif
    if (s->trash != NULL) {
        return blame(why, CLEARING, f, NULL);
    }
    /* The lowest entry is that of the tasklet's function, or of sl_resume. */
    frame_t *upper = NULL, *lower = NULL, *lowest = NULL;
    for (frame_t *next; f != s->floor; f = next) {
        int entered;
        next = sl_below(f, &entered);
        lowest = f;
        if (!entered) {
            continue;
        }
        if (entered > 1) {
            return blame(why, CLEARING, f, NULL); /* a destructor runs while the frame in between is cleared */
        }
        if (upper != NULL && !sl_cold_loop(upper, lower)) {
            return blame(why, C_BETWEEN, lower, upper);
        }
        upper = f;
        lower = next;
    }
    if (upper == NULL) {
        return blame(why, IN_C, NULL, NULL);
    }
    if (s->floor == NULL && !is_bottom(s, lowest)) {
        return blame(why, CLEARING, lowest, NULL); /* the same, where 3.11 does not count the frame any more */
    }
    f = state_frame(s);
    return pending_call(f, call, found) ? 1 : blame(why, NOT_A_CALL, f, NULL);
}
