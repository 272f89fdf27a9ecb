/* Access to CPython's frames, which differ between its versions. Every accessor of a frame's fields that
 * depends on the version is here. */
#pragma once
#include "exports.h"

typedef struct _PyInterpreterFrame frame_t;

/* ------------------------------------------------------------------ values in frames */

/* What a variable or an element of the evaluation stack is stored as. From 3.14 on it may be a borrowed
 * reference, or an int that is no object. */
#if PY_GE(3, 14)
typedef _PyStackRef value_t;
#define NO_VALUE PyStackRef_NULL
#else
typedef PyObject *value_t;
#define NO_VALUE NULL
#endif

/* True for an int that is no object. */
static inline int is_bare_int(value_t value)
{
#if PY_GE(3, 14)
    return PyStackRef_IsTaggedInt(value);
#else
    return 0;
#endif
}

/* The object, borrowed; NULL if there is none. */
static inline PyObject *object_of(value_t value)
{
#if PY_GE(3, 14)
    return PyStackRef_IsNull(value) || is_bare_int(value) ? NULL : PyStackRef_AsPyObjectBorrow(value);
#else
    return value;
#endif
}

/* Takes over a reference. */
static inline value_t value_from(PyObject *owned)
{
#if PY_GE(3, 14)
    return PyStackRef_FromPyObjectSteal(owned);
#else
    return owned;
#endif
}

static inline value_t new_value(PyObject *borrowed)
{
#if PY_GE(3, 14)
    return PyStackRef_FromPyObjectNew(borrowed);
#else
    return Py_NewRef(borrowed);
#endif
}

/* The value with a reference of its own. From 3.14 on a value may be borrowed: the function of a
 * frame and its arguments can belong to variables of the caller's frame, and live only as long as these. */
static inline value_t owned_value(value_t value)
{
#if PY_GE(3, 14)
    return PyStackRef_IsNull(value) || is_bare_int(value) ? value : PyStackRef_MakeHeapSafe(value);
#else
    return value;
#endif
}

static inline void drop_value(value_t value)
{
#if PY_GE(3, 14)
    PyStackRef_XCLOSE(value);
#else
    Py_XDECREF(value);
#endif
}

/* For tp_traverse: visits only what the frame owns, since CPython's frames borrow some values. */
static inline int visit_value(value_t value, visitproc visit, void *arg)
{
#if PY_GE(3, 14)
    if (PyStackRef_IsNull(value) || is_bare_int(value) || !PyStackRef_RefcountOnObject(value)) {
        return 0;
    }
#endif
    Py_VISIT(object_of(value));
    return 0;
}

/* The number of values in use: variables and evaluation stack. Up to 3.13 it is known only while another frame
 * runs on top of this one; else it is negative. */
static inline int value_count(frame_t *f)
{
#if PY_GE(3, 14)
    return (int)(f->stackpointer - f->localsplus);
#else
    return f->stacktop;
#endif
}

static inline void set_value_count(frame_t *f, int count)
{
#if PY_GE(3, 14)
    f->stackpointer = f->localsplus + count;
#else
    f->stacktop = count;
#endif
}

/* Borrowed, or NULL. */
static inline PyObject *value_at(frame_t *f, int i)
{
    return object_of(f->localsplus[i]);
}

/* Takes over the reference. */
static inline void push(frame_t *f, PyObject *value)
{
    const int count = value_count(f);
    f->localsplus[count] = value_from(value);
    set_value_count(f, count + 1);
}

/* ------------------------------------------------------------------ function and code */

static inline value_t function_value(frame_t *f)
{
#if PY_GE(3, 12)
    return f->f_funcobj;
#else
    return (PyObject *)f->f_func;
#endif
}

static inline PyFunctionObject *function_of(frame_t *f)
{
    return (PyFunctionObject *)object_of(function_value(f));
}

/* Takes over the reference. */
static inline void set_function(frame_t *f, value_t function)
{
#if PY_GE(3, 12)
    f->f_funcobj = function;
#else
    f->f_func = (PyFunctionObject *)function;
#endif
}

static inline value_t code_value(frame_t *f)
{
#if PY_GE(3, 13)
    return f->f_executable;
#else
    return (PyObject *)f->f_code;
#endif
}

/* Borrowed. */
static inline PyCodeObject *code_of(frame_t *f)
{
#if PY_GE(3, 13)
    return _PyFrame_GetCode(f);
#else
    return f->f_code;
#endif
}

/* Takes over the reference. */
static inline void set_code(frame_t *f, value_t code)
{
#if PY_GE(3, 13)
    f->f_executable = code;
#else
    f->f_code = (PyCodeObject *)code;
#endif
}

/* The code units that the interpreter executes, specialised ones among them. */
static inline _Py_CODEUNIT *code_units(PyCodeObject *code)
{
    return (_Py_CODEUNIT *)code->co_code_adaptive;
}

/* The size of a frame for this code, in pointers. */
static inline int frame_size(PyCodeObject *code)
{
#if PY_GE(3, 12)
    return code->co_framesize;
#else
    return code->co_nlocalsplus + code->co_stacksize + FRAME_SPECIALS_SIZE;
#endif
}

/* ------------------------------------------------------------------ position in the code */

/* The code unit that the frame's pointer points at: from 3.13 on the instruction that it executes or executes
 * next, before that the code unit in front of the next instruction. */
static inline int pointer_index(frame_t *f)
{
#if PY_GE(3, 13)
    return (int)(f->instr_ptr - code_units(code_of(f)));
#else
    return (int)(f->prev_instr - code_units(code_of(f)));
#endif
}

static inline void set_pointer_index(frame_t *f, int index)
{
#if PY_GE(3, 13)
    f->instr_ptr = code_units(code_of(f)) + index;
#else
    f->prev_instr = code_units(code_of(f)) + index;
#endif
}

/* Moves the frame's pointer on by this number of code units. */
static inline void advance(frame_t *f, int units)
{
#if PY_GE(3, 13)
    f->instr_ptr += units;
#else
    f->prev_instr += units;
#endif
}

/* Where a frame continues when the frame above it returns, in code units from its pointer; 0 on 3.11, which has
 * no such field. */
static inline int return_offset(frame_t *f)
{
#if PY_GE(3, 12)
    return f->return_offset;
#else
    return 0;
#endif
}

static inline void set_return_offset(frame_t *f, int units)
{
#if PY_GE(3, 12)
    f->return_offset = (uint16_t)units;
#endif
}

/* ------------------------------------------------------------------ generators */

/* The generator of a frame whose owner is FRAME_OWNED_BY_GENERATOR. */
static inline PyGenObject *generator_of(frame_t *f)
{
#if PY_GE(3, 14)
    return _PyGen_GetGeneratorFromFrame(f);
#else
    return _PyFrame_GetGenerator(f);
#endif
}

/* The frame of a generator, coroutine or asynchronous generator. */
static inline frame_t *frame_in(PyGenObject *g)
{
    return (frame_t *)&g->gi_iframe;
}

/* Borrowed. 3.11 keeps the code of a generator twice, in its frame as well: a frame drops its own. */
static inline PyCodeObject *generator_code(PyGenObject *g)
{
#if PY_GE(3, 12)
    return code_of(frame_in(g));
#else
    return g->gi_code;
#endif
}

/* Takes over the reference. */
static inline void set_generator_code(PyGenObject *g, PyObject *code)
{
#if PY_GE(3, 12)
    set_code(frame_in(g), value_from(code));
#else
    Py_XSETREF(g->gi_code, (PyCodeObject *)code);
#endif
}

/* ------------------------------------------------------------------ chains of frames */

/* True for a frame of the interpreter's own, below the frames of one entry into it. */
static inline int is_shim(frame_t *f)
{
#if PY_GE(3, 14)
    return f->owner >= FRAME_OWNED_BY_INTERPRETER;
#elif PY_GE(3, 12)
    return f->owner == FRAME_OWNED_BY_CSTACK;
#else
    return 0;
#endif
}

/* The first frame of a Python function from `f` on, or NULL. It skips the frames of the interpreter's own. One
 * of these lies between a class and its __init__; it runs code of the interpreter's and stays incomplete. */
static inline frame_t *python_frame(frame_t *f)
{
    while (f != NULL && (is_shim(f) || _PyFrame_IsIncomplete(f))) {
        f = f->previous;
    }
    return f;
}

/* The next Python frame below, NULL under the lowest one. `*entered`: how often the interpreter was entered
 * between them; more than once if a frame in between is just being cleared. On 3.15 the lowest frame of a thread
 * is one of the interpreter's own. */
static inline frame_t *frame_below(frame_t *f, int *entered)
{
#if PY_GE(3, 12)
    frame_t *p = f->previous;
    *entered = 0;
    while (p != NULL && is_shim(p)) {
        *entered += !PY_GE(3, 15) || p->previous != NULL;
        p = p->previous;
    }
    return p;
#else
    *entered = f->is_entry;
    return f->previous;
#endif
}

/* The innermost frame of the running tasklet. */
static inline frame_t *thread_frame(PyThreadState *ts)
{
#if PY_GE(3, 13)
    return ts->current_frame;
#else
    return ts->cframe->current_frame;
#endif
}

static inline void set_thread_frame(PyThreadState *ts, frame_t *f)
{
#if PY_GE(3, 13)
    ts->current_frame = f;
#else
    ts->cframe->current_frame = f;
#endif
}
