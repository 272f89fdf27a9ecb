/* The awaitables of asynchronous generators, which asend(), __anext__(), athrow() and aclose() return, as tuples, and
 * made from such tuples. Their structs are private to Objects/genobject.c: after the object's head comes the
 * generator, then values that may be NULL, then a number for the state. asend() has one value on all versions,
 * athrow() one up to 3.13 and three later. The size of the type tells which, and other sizes are refused. */
#include "exports.h"

#define CLOSED 2 /* the last of the states: not started, started, closed */

/* The number of values, or -1 with TypeError. */
static int values_in(PyTypeObject *type)
{
    const int asend = strcmp(type->tp_name, "async_generator_asend") == 0;
    const int athrow = strcmp(type->tp_name, "async_generator_athrow") == 0;
    const Py_ssize_t fixed = sizeof(PyObject) + 2 * sizeof(PyObject *); /* generator, and state with padding */
    const Py_ssize_t count = (type->tp_basicsize - fixed) / (Py_ssize_t)sizeof(PyObject *);
    const int plain = !(type->tp_flags & Py_TPFLAGS_HEAPTYPE) && type->tp_itemsize == 0;
    if (!(asend || athrow) || !plain || !(count == 1 || (athrow && count == 3))) {
        PyErr_Format(PyExc_TypeError, "an awaitable of an asynchronous generator is needed, not %.100s", type->tp_name);
        return -1;
    }
    return (int)count;
}

static inline PyObject **fields_of(PyObject *o)
{
    return (PyObject **)(o + 1);
}

/* (generator, state, values): a value is a tuple of one item, or None where there is none. */
PyObject *sl_awaitable_tuple(PyObject *o)
{
    const int count = values_in(Py_TYPE(o));
    if (count < 0) {
        return NULL;
    }
    PyObject **fields = fields_of(o), *values = PyTuple_New(count);
    for (int i = 0; i < count && values != NULL; i++) {
        PyObject *value = fields[1 + i] == NULL ? Py_NewRef(Py_None) : PyTuple_Pack(1, fields[1 + i]);
        if (value == NULL) {
            Py_CLEAR(values);
            break;
        }
        PyTuple_SET_ITEM(values, i, value);
    }
    return values == NULL ? NULL : Py_BuildValue("(OiN)", fields[0], *(int *)&fields[1 + count], values);
}

/* An awaitable of this type, made from the three items of the tuple. */
PyObject *sl_new_awaitable(PyObject *type, PyObject *generator, int state, PyObject *values)
{
    if (!PyType_Check(type) || !PyAsyncGen_CheckExact(generator) || !PyTuple_Check(values)) {
        PyErr_SetString(PyExc_TypeError, "an asynchronous generator and its values are needed");
        return NULL;
    }
    const int count = values_in((PyTypeObject *)type);
    if (count < 0) {
        return NULL;
    }
    int fits = PyTuple_GET_SIZE(values) == count && state >= 0 && state <= CLOSED;
    for (int i = 0; i < count && fits; i++) {
        PyObject *value = PyTuple_GET_ITEM(values, i);
        fits = value == Py_None || (PyTuple_Check(value) && PyTuple_GET_SIZE(value) == 1);
    }
    PyObject *made = fits ? (PyObject *)PyObject_GC_New(PyObject, (PyTypeObject *)type) : NULL;
    if (made == NULL) {
        if (!fits) {
            PyErr_SetString(PyExc_ValueError, "not the picture of an awaitable of an asynchronous generator");
        }
        return NULL;
    }
    PyObject **fields = fields_of(made);
    memset(fields, 0, ((PyTypeObject *)type)->tp_basicsize - sizeof(PyObject));
    fields[0] = Py_NewRef(generator);
    for (int i = 0; i < count; i++) {
        PyObject *value = PyTuple_GET_ITEM(values, i);
        fields[1 + i] = value == Py_None ? NULL : Py_NewRef(PyTuple_GET_ITEM(value, 0));
    }
    *(int *)&fields[1 + count] = state;
    PyObject_GC_Track(made);
    return made;
}
