/* Between ticks.c and shim.c. */
#include <Python.h>
#include <frameobject.h>

/* 3.11: the C trace function that makes ticks, and the one that it stands in front of. */
int sl_trace_ticks(PyObject *obj, PyFrameObject *frame, int what, PyObject *arg);
Py_tracefunc sl_chained(void);

/* 3.12 and later: has CPython bring the instrumentation of a code object up to date. */
void sl_instrument(PyObject *code);
