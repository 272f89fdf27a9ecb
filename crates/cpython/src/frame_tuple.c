/* Suspended frames as plain tuples, and frames made from them. A tuple may come from a damaged or foreign file: it is
 * checked against the code before any memory is written. Nothing here runs Python code, but for the allocation of
 * tuples, which may collect garbage. */
#include "frame_tuple.h"
#include "slot_check.h"

/* ------------------------------------------------------------------ making a tuple */

/* The index of the next instruction; while the frame executes a call of a primitive, of that call. */
static inline int position(frame_t *f, int waits_for)
{
    return pointer_index(f) + (!PY_GE(3, 13) && waits_for != SL_WAITS_IN_CALL);
}

static char letter_of(value_t value)
{
    return is_bare_int(value) ? 'i' : object_of(value) == NULL ? '-' : 'o';
}

/* A new reference. */
static PyObject *object_in(value_t value, char letter)
{
#if PY_GE(3, 14)
    if (letter == 'i') {
        return PyLong_FromSsize_t((Py_ssize_t)PyStackRef_UntagInt(value));
    }
#endif
    return Py_NewRef(letter == '-' ? Py_None : object_of(value));
}

/* A tuple of `count` references, which are taken over; also if there is an error, or one of them is NULL. */
static PyObject *tuple_of(PyObject *const *items, int count)
{
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; i < count; i++) {
        if (items[i] == NULL) {
            Py_CLEAR(tuple);
        }
    }
    for (int i = 0; i < count; i++) {
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, i, items[i]);
        }
        else {
            Py_XDECREF(items[i]);
        }
    }
    return tuple;
}

/* The first `count` values of a frame, and the letters of their kinds, or None: new references. 0, or -1. */
static int values_of(frame_t *f, int count, PyObject **tuple, PyObject **shape)
{
    PyObject *values = PyTuple_New(count);
    char *letters = PyMem_Malloc(count + 1);
    *tuple = *shape = NULL;
    int plain = 1;
    for (int i = 0; values != NULL && letters != NULL && i < count; i++) {
        letters[i] = letter_of(f->localsplus[i]);
        PyObject *value = object_in(f->localsplus[i], letters[i]);
        if (value == NULL) {
            Py_CLEAR(values);
            break;
        }
        PyTuple_SET_ITEM(values, i, value);
        plain &= letters[i] == 'o';
    }
    if (values != NULL && letters != NULL) {
        *shape = plain ? Py_NewRef(Py_None) : PyUnicode_FromStringAndSize(letters, count);
    }
    else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    PyMem_Free(letters);
    if (*shape == NULL) {
        Py_XDECREF(values);
        return -1;
    }
    *tuple = values;
    return 0;
}

static PyObject *frame_tuple(frame_t *f, int waits_for, int count, int packed)
{
    PyObject *code = (PyObject *)code_of(f), *function = (PyObject *)function_of(f), *values, *shape;
    if (values_of(f, count, &values, &shape) < 0) {
        return NULL;
    }
    if (!packed && code == ((PyFunctionObject *)function)->func_code) {
        code = Py_None;
    }
    /* In an optimized function f_locals is a copy that was made on request. */
    PyObject *locals = f->f_locals == NULL || (code_of(f)->co_flags & CO_OPTIMIZED) ? Py_None : f->f_locals;
    PyObject *items[SL_FRAME_ITEMS] = {
        Py_NewRef(function),
        Py_NewRef(code),
        PyLong_FromLong(position(f, waits_for)),
        PyLong_FromLong(waits_for == SL_WAITS_FOR_CALL ? return_offset(f) : 0),
        values,
        shape,
        Py_NewRef(locals),
    };
    int needed = SL_FRAME_ITEMS;
    while (packed && needed > SL_PACKED_ITEMS && items[needed - 1] == Py_None) {
        Py_DECREF(items[--needed]);
    }
    return tuple_of(items, needed);
}

PyObject *sl_frame_tuple(frame_t *f, int waits_for, int count)
{
    return frame_tuple(f, waits_for, count, 0);
}

PyObject *sl_packed_frame(frame_t *f, int waits_for, int count)
{
    return frame_tuple(f, waits_for, count, 1);
}

PyObject *sl_unpacked_frame(PyObject *packed, int same_code)
{
    PyObject *items[SL_FRAME_ITEMS];
    for (int i = 0; i < SL_FRAME_ITEMS; i++) {
        items[i] = Py_NewRef(i < PyTuple_GET_SIZE(packed) && !(i == 1 && same_code) ? PyTuple_GET_ITEM(packed, i) : Py_None);
    }
    return tuple_of(items, SL_FRAME_ITEMS);
}

/* ------------------------------------------------------------------ reading a tuple */

static int bad(const char *what)
{
    PyErr_Format(PyExc_ValueError, "not the picture of a frame: %s", what);
    return -1;
}

static int is_letter(char letter)
{
    return letter == 'o' || letter == '-' || (PY_GE(3, 14) && letter == 'i');
}

static int read_shape(PyObject *shape, sl_parts *p)
{
    Py_ssize_t length;
    p->shape = NULL;
    if (shape == Py_None) {
        return 0;
    }
    p->shape = PyUnicode_Check(shape) ? PyUnicode_AsUTF8AndSize(shape, &length) : NULL;
    if (p->shape == NULL || length != p->count) {
        PyErr_Clear();
        return bad("the shape does not fit the values");
    }
    for (int i = 0; i < p->count; i++) {
        if (!is_letter(p->shape[i])) {
            return bad("unknown kind of value");
        }
        if (p->shape[i] == 'i') {
            PyObject *value = PyTuple_GET_ITEM(p->values, i);
            long long number = PyLong_Check(value) ? PyLong_AsLongLong(value) : -1;
            if (number < 0 || number > (PY_SSIZE_T_MAX >> 3)) {
                PyErr_Clear();
                return bad("an untagged int is none");
            }
        }
    }
    return 0;
}

/* The number of values that a call takes off the stack, the callable included; -1 for other instructions. */
static int operands_of(int opcode, int oparg)
{
    switch (opcode) {
    case FOR_ITER:
        return 0;
#if !PY_GE(3, 12)
    case PRECALL:
#endif
    case CALL:
        return oparg + 2;
#ifdef CALL_KW
    case CALL_KW:
        return oparg + 3;
#endif
    default:
        return -1;
    }
}

/* Checks where the frame will continue, and how many values are on its stack then. `facts` are those of its code.
 *
 *                   3.11, 3.12               3.13 and later
 *     callee ends   at + return_offset       at + return_offset
 *     callee yields at                       the instruction after `at`, a FOR_ITER or SEND
 *     next(), send  at                       at
 *     a primitive returns                    the instruction after `at`, a call or FOR_ITER
 *
 * One value more is on the stack then. Only in FOR_ITER and SEND may a callee that yields and one that ends lead to
 * different instructions, and there the second one is the jump's target. */
static int check_place(sl_parts *p, code_facts_t *facts)
{
    const unsigned char *const ops = facts->flow.ops;
    const int *const depths = facts->depths;
    const int waits_for = p->waits_for;
    const int size = (int)Py_SIZE(p->code), stack = p->count - p->code->co_nlocalsplus;
    int begin = 0, next = 0; /* of the instruction that it waits in, and the one after it */
#if PY_GE(3, 13)
    const int wanted = waits_for == SL_WAITS_FOR_SEND ? p->at - 1 : p->at;
#else
    const int wanted = waits_for == SL_WAITS_IN_CALL ? p->at : -1;
#endif
    p->oparg = 0;
    for (int at = 0, oparg = 0; at < size; at = next) {
        begin = at;
        p->opcode = ops[2 * at];
        oparg = oparg << 8 | ops[2 * at + 1];
        next = next_instruction(ops, size, at);
        if (begin == wanted || (wanted < 0 && next == p->at)) {
            p->oparg = oparg;
            break;
        }
        oparg = p->opcode == EXTENDED_ARG ? oparg : 0;
    }
    if (next >= size || (wanted >= 0 ? begin != wanted : next != p->at) || depths[begin] < 0) {
        return bad("it stands where no instruction is");
    }
    if (p->return_offset > UINT16_MAX) {
        return bad("a number is out of range");
    }
    if (waits_for == SL_WAITS_IN_CALL) {
        const int operands = operands_of(p->opcode, p->oparg);
        return operands < 0 || depths[begin] != stack + operands ? bad("it waits in no call")
                                                                 : sl_check_slots(p, facts, begin, begin);
    }
    if (depths[next] != stack + 1) {
        return bad("the depth of its stack does not fit the place");
    }
    if (waits_for == SL_WAITS_FOR_SEND) {
        if (p->opcode != YIELD_VALUE && p->opcode != RETURN_GENERATOR) {
            return bad("it stands where no generator waits");
        }
        return sl_check_slots(p, facts, begin, next);
    }
    const int end = p->at + p->return_offset;
    if (end != next && !((p->opcode == FOR_ITER || p->opcode == SEND) && end == next + p->oparg && end < size
                         && depths[end] == stack + 1)) {
        return bad("it returns to where nothing waits");
    }
    return sl_check_slots(p, facts, begin, next);
}

static int read_int(PyObject *o, int *number)
{
    long value = PyLong_Check(o) ? PyLong_AsLong(o) : -1;
    if (value < 0 || value > 0xFFFFFF) {
        PyErr_Clear();
        return bad("a number is out of range");
    }
    *number = (int)value;
    return 0;
}

int sl_read_frame_tuple(PyObject *tuple, int waits_for, sl_parts *p, sl_facts *facts)
{
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != SL_FRAME_ITEMS) {
        return bad("it is no tuple of seven");
    }
    PyObject *function = PyTuple_GET_ITEM(tuple, 0), *code = PyTuple_GET_ITEM(tuple, 1);
    if (!PyFunction_Check(function)) {
        return bad("no function");
    }
    p->function = (PyFunctionObject *)function;
    code = code == Py_None ? p->function->func_code : code;
    if (!PyCode_Check(code)) {
        return bad("no code");
    }
    p->code = (PyCodeObject *)code;
    p->waits_for = waits_for;
    p->values = PyTuple_GET_ITEM(tuple, 4);
    p->locals = PyTuple_GET_ITEM(tuple, 6);
    if (read_int(PyTuple_GET_ITEM(tuple, 2), &p->at) < 0
        || read_int(PyTuple_GET_ITEM(tuple, 3), &p->return_offset) < 0) {
        return -1;
    }
    if (!PyTuple_Check(p->values)) {
        return bad("the values are no tuple");
    }
    p->count = (int)PyTuple_GET_SIZE(p->values);
    PyObject *closure = p->function->func_closure;
    if ((closure == NULL ? 0 : PyTuple_GET_SIZE(closure)) != p->code->co_nfreevars) {
        return bad("the function's cells do not fit the code");
    }
    if (p->locals != Py_None && (p->code->co_flags & CO_OPTIMIZED)) {
        return bad("a function without a namespace of its own");
    }
    if (p->count < p->code->co_nlocalsplus || p->count > p->code->co_nlocalsplus + p->code->co_stacksize) {
        return bad("the number of values does not fit the code");
    }
    if (read_shape(PyTuple_GET_ITEM(tuple, 5), p) < 0) {
        return -1;
    }
    if (waits_for == SL_WAITS_UNCHECKED) {
        return 0;
    }
    code_facts_t *const found = sl_facts_of(facts, p->code);
    return found == NULL ? -1 : check_place(p, found);
}

/* ------------------------------------------------------------------ building a frame */

static value_t value_of(PyObject *object, char letter)
{
#if PY_GE(3, 14)
    if (letter == 'i') {
        return PyStackRef_TagInt(PyLong_AsSsize_t(object));
    }
#endif
    return letter == '-' ? NO_VALUE : new_value(object);
}

void sl_build_frame(const sl_parts *p, frame_t *f, int owner)
{
    memset(f, 0, offsetof(frame_t, localsplus));
    set_code(f, new_value((PyObject *)p->code));
    set_function(f, new_value((PyObject *)p->function));
    f->f_globals = p->function->func_globals;
    f->f_builtins = p->function->func_builtins;
    f->f_locals = p->locals == Py_None ? NULL : Py_NewRef(p->locals);
    set_pointer_index(f, p->at - (!PY_GE(3, 13) && p->waits_for != SL_WAITS_IN_CALL));
    set_return_offset(f, p->return_offset);
    f->owner = (char)owner;
    for (int i = 0; i < p->count; i++) {
        f->localsplus[i] = value_of(PyTuple_GET_ITEM(p->values, i), letter_at(p, i));
    }
    set_value_count(f, p->count);
}
