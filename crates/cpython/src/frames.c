/* The calls that a tasklet executes: their code, positions, variables and number. Nothing here runs Python code,
 * but for sl_frame_object, which allocates. */
#include "frames.h"
#include "state.h"
#include "thread.h"
#include "internal/pycore_dict.h"

/* ------------------------------------------------------------------ counting calls */

/* The number of Python calls in progress. `s` is NULL for the running tasklet. */
int sl_depth(PyThreadState *ts, sl_state *s)
{
    int depth = 0;
    for (frame_t *f = python_frame(innermost_frame(ts, s)); f != NULL; f = python_frame(f->previous)) {
        depth++;
    }
    return depth;
}

/* The number of entries into the interpreter through C between the frames, without the lowest entry, which is that
 * of the tasklet's function, or the one that continues a tasklet that was parked. Frames with the globals `before`
 * at the bottom do not count: they are where the thread's Python code starts. */
int sl_nesting(PyThreadState *ts, sl_state *s, PyObject *before)
{
    int level = 0, entries = 0, entered = 0;
    frame_t *f = innermost_frame(ts, s);
    if (f != NULL && is_shim(f)) {
        f = frame_below(f, &entered);
    }
    while (f != NULL) {
        if (f->f_globals != before) {
            level = entries;
        }
        f = frame_below(f, &entered);
        entries += entered;
    }
    if (entered > 1) {
        level += entered - 1;
    }
    return level < entries ? level : level > 0 ? level - 1 : 0;
}

/* That is the innermost frame above the lowest entry. */
PyObject *sl_outer_code(void)
{
    frame_t *outer = NULL, *top = thread_frame(sl_thread.ts);
    int entered;
    if (top != NULL && is_shim(top)) {
        top = frame_below(top, &entered);
    }
    for (frame_t *f = top, *next; f != NULL; f = next) {
        next = frame_below(f, &entered);
        if (entered) {
            outer = top;
            top = next;
        }
    }
    return outer == NULL ? NULL : (PyObject *)code_of(outer);
}

PyFrameObject *sl_object_of_frame(PyThreadState *ts, frame_t *f)
{
    /* Making the frame object may collect garbage, and its finalizers must not run on a frame chain that is not
     * theirs. An exception may be in flight, which the allocation must not see. */
    const int collecting = PyGC_Disable();
    PyObject *exception[3];
    PyErr_Fetch(&exception[0], &exception[1], &exception[2]);
    frame_t *own = thread_frame(ts);
    set_thread_frame(ts, f);
    PyFrameObject *object = PyThreadState_GetFrame(ts);
    set_thread_frame(ts, own);
    if (collecting) {
        PyGC_Enable();
    }
    PyErr_Restore(exception[0], exception[1], exception[2]);
    return object;
}

/* The innermost frame as an object: a new reference, NULL without an exception if there is none. `s` is NULL for the
 * running tasklet. */
PyObject *sl_frame_object(PyThreadState *ts, sl_state *s)
{
    return (PyObject *)sl_object_of_frame(ts, innermost_frame(ts, s));
}

/* ------------------------------------------------------------------ positions and variables */

/* The calls of a tasklet, innermost first, at most `maximum`. Returns their number. */
int sl_positions(PyThreadState *ts, sl_state *s, sl_position *positions, int maximum)
{
    int count = 0;
    frame_t *f = python_frame(innermost_frame(ts, s));
    for (; f != NULL && count < maximum; f = python_frame(f->previous)) {
        positions[count].code = code_of(f);
        positions[count].at = _PyInterpreterFrame_LASTI(f) * (int)sizeof(_Py_CODEUNIT);
        count++;
    }
    return count;
}

/* What a variable holds, also if that is in a cell: borrowed, or NULL. */
static inline PyObject *variable(frame_t *f, int i)
{
    PyObject *value = value_at(f, i);
    return value != NULL && PyCell_Check(value) ? PyCell_GET(value) : value;
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

/* The name of a variable of the tasklet's code that holds this object: borrowed, or NULL. Searches a few calls,
 * innermost first, and then the globals of the innermost one. */
PyObject *sl_variable_name(PyThreadState *ts, sl_state *s, PyObject *object)
{
    frame_t *innermost = python_frame(innermost_frame(ts, s));
    int left = 3;
    for (frame_t *f = innermost; f != NULL && left > 0; f = python_frame(f->previous), left--) {
        PyCodeObject *code = code_of(f);
        for (int i = 0; i < code->co_nlocalsplus; i++) {
            if (variable(f, i) == object) {
                return PyTuple_GET_ITEM(code->co_localsplusnames, i);
            }
        }
    }
    if (innermost == NULL || innermost->f_globals == NULL || !PyDict_Check(innermost->f_globals)) {
        return NULL;
    }
    return name_in_dict(innermost->f_globals, object);
}

/* Visits the global variables that the code names. Only if looking one up cannot run Python code, that is, if all
 * keys are strings. */
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

/* Visits what the variables of the innermost `maximum` calls hold: locals, those of enclosing functions, and the
 * globals that the code names. Stops when `visit` returns something else than 0. */
void sl_visit_variables(PyThreadState *ts, sl_state *s, int maximum, visitproc visit, void *arg)
{
    frame_t *f = python_frame(innermost_frame(ts, s));
    for (; f != NULL && maximum > 0; f = python_frame(f->previous), maximum--) {
        PyCodeObject *code = code_of(f);
        for (int i = 0; i < code->co_nlocalsplus; i++) {
            PyObject *value = variable(f, i);
            if (value != NULL && visit(value, arg)) {
                return;
            }
        }
        if (visit_named_globals(f->f_globals, code, visit, arg)) {
            return;
        }
    }
}

/* Makes the frame `back` the caller of the frame `o`, which is not being executed and has no caller. 0, or -1 with
 * TypeError or ValueError. */
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

/* ------------------------------------------------------------------ functions and code */

/* Where the flags of a code object are: for a test that is part of the making of a tasklet. */
const Py_ssize_t sl_code_flags_offset = offsetof(PyCodeObject, co_flags);

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
