/* Which version of CPython this is compiled for, and what its frames look like. */
#pragma once
#define Py_BUILD_CORE 1
#include <Python.h>
#include "internal/pycore_frame.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_ceval.h"

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x03100000
#error "stackless supports CPython 3.11 to 3.15"
#endif
#ifdef Py_GIL_DISABLED
#error "stackless needs a CPython with the GIL"
#endif

#define V311 (PY_VERSION_HEX < 0x030C0000)
#define V312 (PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030D0000)
#define V313 (PY_VERSION_HEX >= 0x030D0000) /* and later */
#define V314 (PY_VERSION_HEX >= 0x030E0000) /* and later */
#define V315 (PY_VERSION_HEX >= 0x030F0000) /* and later */

#if V314
#include "internal/pycore_genobject.h"
#include "internal/pycore_interpframe.h"
#include "internal/pycore_tstate.h"
#endif

typedef struct _PyInterpreterFrame frame_t;

/* A frame of the interpreter's own, below the frames of one entry into it. */
static inline int is_shim(frame_t *f)
{
#if V311
    return 0;
#elif V314
    return f->owner >= FRAME_OWNED_BY_INTERPRETER;
#else
    return f->owner == FRAME_OWNED_BY_CSTACK;
#endif
}

static inline PyObject *code_of(frame_t *f)
{
#if V313
    return (PyObject *)_PyFrame_GetCode(f);
#else
    return (PyObject *)f->f_code;
#endif
}

/* The generator that a frame belongs to, whose owner says that it belongs to one. */
static inline PyGenObject *generator_of(frame_t *f)
{
#if V314
    return _PyGen_GetGeneratorFromFrame(f);
#else
    return _PyFrame_GetGenerator(f);
#endif
}

/* The next Python frame below, NULL under the lowest one; how often was the interpreter entered between
 * them? More than once if a frame in between is just being cleared. Bottom of a thread's frames is a frame
 * of the interpreter's own on 3.15. */
static inline frame_t *sl_below(frame_t *f, int *entered)
{
#if V311
    *entered = f->is_entry;
    return f->previous;
#else
    frame_t *p = f->previous;
    *entered = 0;
    while (p != NULL && is_shim(p)) {
        *entered += !V315 || p->previous != NULL;
        p = p->previous;
    }
    return p;
#endif
}

/* A call in progress: its code, and the offset of the instruction in bytes. */
typedef struct {
    PyCodeObject *code; /* borrowed from the frame */
    int at;
} sl_place;

/* In frames.c: the calls of a tasklet, innermost first, at most `most`. How many there are. */
int sl_places(PyThreadState *ts, void *state, sl_place *places, int most);
