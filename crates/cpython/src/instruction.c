/* The instruction that a frame executes, as the compiler wrote it, and the values on the stack during it. */
#include "instruction.h"
#include "stack_depth.h"

/* True for the calls that the interpreter has specialised for functions like ours. */
static inline int is_special_call(int op)
{
    switch (op) {
#if PY_GE(3, 13)
    case CALL_BUILTIN_FAST:
    case CALL_BUILTIN_FAST_WITH_KEYWORDS:
    case CALL_METHOD_DESCRIPTOR_FAST:
    case CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
    case CALL_NON_PY_GENERAL:
#elif PY_GE(3, 12)
    case CALL_BUILTIN_FAST_WITH_KEYWORDS:
    case CALL_NO_KW_BUILTIN_FAST:
    case CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
    case CALL_NO_KW_METHOD_DESCRIPTOR_FAST:
#else
    case PRECALL_BUILTIN_FAST_WITH_KEYWORDS:
    case PRECALL_NO_KW_BUILTIN_FAST:
    case PRECALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
    case PRECALL_NO_KW_METHOD_DESCRIPTOR_FAST:
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
        /* The usual case does not need the code as the compiler wrote it. */
        const _Py_CODEUNIT *unit = code_units(code_of(f)) + result.index;
        const int op = ((const unsigned char *)unit)[0];
        if (is_special_call(op) && ((const unsigned char *)(unit - 1))[0] != EXTENDED_ARG) {
            result.op = PRECALL_OR_CALL;
            result.arg = ((const unsigned char *)unit)[1];
            return result;
        }
    }
    /* CPython keeps this object for the next time. */
    PyObject *bytes = PyCode_GetCode(code_of(f));
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

int sl_values_during(frame_t *f, instruction_t in)
{
#if PY_GE(3, 14)
    return value_count(f);
#else
    int depth = sl_stack_depth(code_of(f), in.index);
    return depth < 0 ? -1 : code_of(f)->co_nlocalsplus + depth;
#endif
}

int sl_values_during_loop(frame_t *f)
{
    const instruction_t in = sl_instruction(f);
    const int count = in.op == FOR_ITER ? sl_values_during(f, in) : -1;
    return count < 0 ? code_of(f)->co_nlocalsplus : count;
}

#if PY_GE(3, 12)
/* True if code of the generator runs because it is being closed: it handles GeneratorExit then, or what was raised
 * during that. An exception that leaves a loop closes the generator in the middle of FOR_ITER, where the generator
 * is still in its slot: but C code will continue behind that, and not the loop. */
static int is_being_closed(PyGenObject *generator)
{
    enum { MAXIMUM = 100 }; /* a chain of contexts may be a cycle */
    PyObject *e = generator->gi_exc_state.exc_value;
    for (int i = 0; i < MAXIMUM && e != NULL && e != Py_None; i++) {
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
#if PY_GE(3, 12)
    if (f->owner != FRAME_OWNED_BY_GENERATOR) {
        return 0;
    }
    instruction_t in = sl_instruction(consumer);
    int count = in.op == FOR_ITER ? sl_values_during(consumer, in) : 0;
    if (count < code_of(consumer)->co_nlocalsplus + OF_LOOP) {
        return 0;
    }
    PyObject *iterator = value_at(consumer, count - OF_LOOP);
    PyGenObject *generator = generator_of(f);
    if (iterator == (PyObject *)generator && Py_TYPE(generator) == &PyGen_Type && !is_being_closed(generator)) {
        return count;
    }
#endif
    return 0;
}
