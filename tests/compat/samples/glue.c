#include <Python.h>
#include <stackless_api.h> // -> error stackless_api.h

#ifdef STACKLESS // -> error STACKLESS
PyObject *start(PyObject *function) {
    STACKLESS_GETARG(); // -> error STACKLESS_GETARG
    /* A word such as STACKLESS in a comment is none. */
    PyTaskletObject *task = PyTasklet_New(NULL, function); // -> error PyTaskletObject, error PyTasklet_New
    return (PyObject *)PyTasklet_New(NULL, function);
}
#endif
