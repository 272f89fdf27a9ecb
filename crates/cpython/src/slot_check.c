/* Checks what the interpreter relies on about the variables and the evaluation stack of a frame.
 *
 * The compiler guarantees that FOR_ITER finds an iterator, RERAISE an exception and LOAD_DEREF a cell, and the
 * interpreter does not check that again. A frame that is made from a tuple may hold anything: an object may have a
 * `__reduce__` or `__deepcopy__` that returns another kind of object. So each value is compared with what the
 * instructions before this one can have stored there: see slot_kinds.c. */
#include "slot_check.h"

typedef struct {
    const sl_parts *parts;
    const kinds_t *kinds;
    int at; /* the instruction that the frame is at */
} look_t;

static int refuse(const look_t *look, int i, const char *needed)
{
    const sl_parts *p = look->parts;
    PyCodeObject *code = p->code;
    const char *found = letter_at(p, i) == '-' ? "nothing" : letter_at(p, i) == 'i' ? "a bare number" : Py_TYPE(PyTuple_GET_ITEM(p->values, i))->tp_name;
    const int line = PyCode_Addr2Line(code, look->at * (int)sizeof(_Py_CODEUNIT));
    if (i < code->co_nlocalsplus) {
        PyErr_Format(PyExc_ValueError, "not the picture of a frame: %U() (%U:%d) cannot go on: its variable %R must hold %s, not %.100s",
                     code->co_qualname, code->co_filename, line, name_of(code, i), needed, found);
    }
    else {
        PyErr_Format(PyExc_ValueError, "not the picture of a frame: %U() (%U:%d) cannot go on: value %d on its stack must be %s, not %.100s",
                     code->co_qualname, code->co_filename, line, i - code->co_nlocalsplus, needed, found);
    }
    return -1;
}

static int is_iterator(PyObject *o)
{
    return PyIter_Check(o);
}

static int is_receiver(PyObject *o)
{
    return PyIter_Check(o) || PyCoro_CheckExact(o);
}

static int is_place(PyObject *o, PyCodeObject *code)
{
    if (!PyLong_CheckExact(o)) {
        return 0;
    }
    const long long at = PyLong_AsLongLong(o);
    PyErr_Clear();
    return at >= 0 && at < Py_SIZE(code);
}

static int is_interpolation(PyObject *o)
{
    return strcmp(Py_TYPE(o)->tp_name, "string.templatelib.Interpolation") == 0;
}

/* The most specific of the kinds that a slot can hold, for a message. */
static const char *description(kinds_t kinds)
{
    return kinds & CELL          ? "a cell"
           : kinds & ITERATOR    ? "an iterator"
           : kinds & RECEIVER    ? "an iterator or a coroutine"
           : kinds & NONE        ? "an exception or None"
           : kinds & EXCEPTION   ? "an exception"
           : kinds & PLACE       ? "a place in the code"
           : kinds & LIST        ? "a list"
           : kinds & TUPLE       ? "a tuple"
           : kinds & DICT        ? "a dict"
           : kinds & SET         ? "a set"
           : kinds & INTERPOLATION ? "an interpolation"
           : kinds & OBJECT      ? "an object"
                                 : "nothing";
}

static int object_fits(PyObject *o, kinds_t kinds, PyCodeObject *code)
{
    return kinds & OBJECT || (kinds & CELL && PyCell_Check(o)) || (kinds & ITERATOR && is_iterator(o))
           || (kinds & RECEIVER && is_receiver(o)) || (kinds & EXCEPTION && PyExceptionInstance_Check(o))
           || (kinds & NONE && o == Py_None) || (!PY_GE(3, 14) && kinds & PLACE && is_place(o, code))
           || (kinds & LIST && PyList_CheckExact(o)) || (kinds & TUPLE && PyTuple_CheckExact(o))
           || (kinds & DICT && PyDict_CheckExact(o)) || (kinds & SET && Py_IS_TYPE(o, &PySet_Type))
           || (kinds & INTERPOLATION && is_interpolation(o));
}

/* In `except*`, the list beside the exception that is split holds what was raised for each part. */
static int check_exceptions(const look_t *look, int i)
{
    PyObject *list = PyTuple_GET_ITEM(look->parts->values, i);
    for (Py_ssize_t k = 0; k < PyList_GET_SIZE(list); k++) {
        PyObject *o = PyList_GET_ITEM(list, k);
        if (o != Py_None && !PyExceptionInstance_Check(o)) {
            return refuse(look, i, "a list of exceptions");
        }
    }
    return 0;
}

static int check_value(const look_t *look, int i)
{
    const sl_parts *p = look->parts;
    const kinds_t kinds = look->kinds[i];
    PyObject *o = PyTuple_GET_ITEM(p->values, i);
    const int above = i + 1 < p->count ? look->kinds[i + 1] : 0;
    switch (letter_at(p, i)) {
    case '-':
        return kinds & EMPTY ? 0 : refuse(look, i, description(kinds));
    case 'i':
        return kinds & INDEX || (PY_GE(3, 14) && kinds & PLACE && is_place(o, p->code)) ? 0 : refuse(look, i, description(kinds));
    default:
        break;
    }
#if PY_GE(3, 15)
    if (above & INDEX && letter_at(p, i + 1) == 'i') {
        return Py_TYPE(o)->_tp_iteritem != NULL ? 0 : refuse(look, i, "something with items");
    }
#endif
    if (!object_fits(o, kinds, p->code)) {
        return refuse(look, i, description(kinds));
    }
    return kinds == LIST && above & EXCEPTION ? check_exceptions(look, i) : 0;
}

/* Checks that a variable which must be in a cell is in one, and that one which must have a value has one. */
static int check_variable(const look_t *look, int i)
{
    const sl_parts *p = look->parts;
    const kinds_t kinds = look->kinds[i];
    if (letter_at(p, i) == '-') {
        return kinds & EMPTY ? 0 : refuse(look, i, description(kinds));
    }
    if (letter_at(p, i) == 'i') {
        return refuse(look, i, description(kinds));
    }
    /* A debugger may have given a value to a variable that the code has not set yet. */
    return kinds == EMPTY || object_fits(PyTuple_GET_ITEM(p->values, i), kinds, p->code) ? 0 : refuse(look, i, description(kinds));
}

/* True if the frame holds nothing that the interpreter relies on: the case for most frames. */
static int is_plain(const sl_parts *p)
{
    const PyCodeObject *code = p->code;
    return p->shape == NULL && p->count == code->co_nlocalsplus && code->co_ncellvars == 0 && code->co_nfreevars == 0
           && !(p->count > 0 && is_hidden(p->code, 0));
}

int sl_check_slots(const sl_parts *p, code_facts_t *facts, int at, int next)
{
    if (is_plain(p) && at == next) {
        return 0;
    }
    const int locals = p->code->co_nlocalsplus;
    look_t look = {p, sl_kinds_before(facts, next), at};
    if (look.kinds == NULL) {
        return -1;
    }
    if (!facts->flow.reached[next]) {
        PyErr_SetString(PyExc_ValueError, "not the picture of a frame: it stands where no instruction leads to");
        return -1;
    }
    int result = 0;
    for (int i = 0; i < locals && result == 0; i++) {
        result = check_variable(&look, i);
    }
    for (int i = locals; i < p->count && result == 0; i++) {
        result = check_value(&look, i);
    }
    if (result == 0 && at != next && !(look.kinds[p->count] & OBJECT)) {
        PyErr_SetString(PyExc_ValueError, "not the picture of a frame: it waits for what no call gives");
        result = -1;
    }
    return result;
}
