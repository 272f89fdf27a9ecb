/* Where tasklets are: their calls, without making frame objects. Nothing here runs Python code.
 * Layouts come from the interpreter's own headers, as in shim.c. */
#include "versions.h"
#include "internal/pycore_dict.h"

/* In shim.c. */
frame_t *sl_innermost(PyThreadState *ts, void *state);

static inline frame_t *skip(frame_t *f)
{
    while (f != NULL && (is_shim(f) || _PyFrame_IsIncomplete(f))) {
        f = f->previous;
    }
    return f;
}

/* A local variable, borrowed, or NULL. */
static inline PyObject *local(frame_t *f, int i)
{
#if V314
    _PyStackRef ref = f->localsplus[i];
    return PyStackRef_IsNull(ref) || PyStackRef_IsTaggedInt(ref) ? NULL : PyStackRef_AsPyObjectBorrow(ref);
#else
    return f->localsplus[i];
#endif
}

/* The calls of a tasklet, innermost first, at most `most`: how many there are. */
int sl_places(PyThreadState *ts, void *state, sl_place *places, int most)
{
    int count = 0;
    for (frame_t *f = skip(sl_innermost(ts, state)); f != NULL && count < most; f = skip(f->previous)) {
        places[count].code = (PyCodeObject *)code_of(f);
        places[count].at = _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT);
        count++;
    }
    return count;
}

static PyObject *name_in_dict(PyObject *dict, PyObject *object)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, &key, &value)) {
        if (value == object && PyUnicode_Check(key)) {
            return key;
        }
    }
    return NULL;
}

/* The name of a variable of the tasklet's code that holds this very object: borrowed, or NULL. Looks
 * at a few calls, innermost first, and then at the innermost one's globals. */
PyObject *sl_variable_name(PyThreadState *ts, void *state, PyObject *object)
{
    frame_t *innermost = skip(sl_innermost(ts, state));
    int left = 3;
    for (frame_t *f = innermost; f != NULL && left > 0; f = skip(f->previous), left--) {
        PyCodeObject *code = (PyCodeObject *)code_of(f);
        for (int i = 0; i < code->co_nlocalsplus; i++) {
            PyObject *value = local(f, i);
            if (value != NULL && PyCell_Check(value)) {
                value = PyCell_GET(value);
            }
            if (value == object) {
                return PyTuple_GET_ITEM(code->co_localsplusnames, i);
            }
        }
    }
    if (innermost == NULL || innermost->f_globals == NULL || !PyDict_Check(innermost->f_globals)) {
        return NULL;
    }
    return name_in_dict(innermost->f_globals, object);
}

/* Visits the global variables that the code names. Only where looking one up cannot run Python code:
 * all keys are strings. */
static int visit_named_globals(PyObject *globals, PyCodeObject *code, visitproc visit, void *arg)
{
    if (globals == NULL || !PyDict_CheckExact(globals)
        || ((PyDictObject *)globals)->ma_keys->dk_kind == DICT_KEYS_GENERAL) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_names); i++) {
        PyObject *value = PyDict_GetItemWithError(globals, PyTuple_GET_ITEM(code->co_names, i));
        if (value != NULL && visit(value, arg)) {
            return 1;
        }
    }
    return 0;
}

/* Visits what the variables of the innermost `most` calls hold: locals, those of enclosing functions,
 * and the globals that the code names. Stops when `visit` answers something else than 0. */
void sl_visit_variables(PyThreadState *ts, void *state, int most, visitproc visit, void *arg)
{
    for (frame_t *f = skip(sl_innermost(ts, state)); f != NULL && most > 0; f = skip(f->previous), most--) {
        PyCodeObject *code = (PyCodeObject *)code_of(f);
        for (int i = 0; i < code->co_nlocalsplus; i++) {
            PyObject *value = local(f, i);
            if (value != NULL && PyCell_Check(value)) {
                value = PyCell_GET(value);
            }
            if (value != NULL && visit(value, arg)) {
                return;
            }
        }
        if (visit_named_globals(f->f_globals, code, visit, arg)) {
            return;
        }
    }
}

/* The frame `back` becomes what has called the frame `o`, which is not being executed and has no caller. 0, or -1
 * with TypeError or ValueError. */
int sl_set_caller(PyObject *o, PyObject *back)
{
    if (!PyFrame_Check(o) || !PyFrame_Check(back)) {
        PyErr_SetString(PyExc_TypeError, "two frames are needed");
        return -1;
    }
    PyFrameObject *object = (PyFrameObject *)o;
    if (object->f_back != NULL || o == back || object->f_frame->owner != FRAME_OWNED_BY_FRAME_OBJECT) {
        PyErr_SetString(PyExc_ValueError, "the frame is in use");
        return -1;
    }
    object->f_back = (PyFrameObject *)Py_NewRef(back);
    return 0;
}

/* The name of a Python function, or of a method's, and its code: borrowed, NULL for other objects. */
void sl_function(PyObject *callable, PyObject **name, PyObject **code)
{
    while (PyMethod_Check(callable)) {
        callable = PyMethod_GET_FUNCTION(callable);
    }
    int is_function = PyFunction_Check(callable);
    *name = is_function ? ((PyFunctionObject *)callable)->func_qualname : NULL;
    *code = is_function ? ((PyFunctionObject *)callable)->func_code : NULL;
}

/* The line of an instruction; of the function itself for those that have none. */
int sl_line(PyObject *code, int at)
{
    int line = PyCode_Addr2Line((PyCodeObject *)code, at);
    return line > 0 ? line : ((PyCodeObject *)code)->co_firstlineno;
}

/* The qualified name of a code object and its file name: borrowed. */
void sl_code_names(PyObject *code, PyObject **name, PyObject **file)
{
    *name = ((PyCodeObject *)code)->co_qualname;
    *file = ((PyCodeObject *)code)->co_filename;
}
