/* CPython's headers, and which version of CPython this is compiled for. */
#pragma once
#define Py_BUILD_CORE 1
#include <Python.h>

/* True from this minor version on; usable in #if and in expressions. */
#define PY_GE(major, minor) (PY_VERSION_HEX >= ((major) << 24 | (minor) << 16))

#if !PY_GE(3, 11) || PY_GE(3, 16)
#error "stackless supports CPython 3.11 to 3.15"
#endif
#ifdef Py_GIL_DISABLED
#error "stackless needs a CPython with the GIL"
#endif

#include "internal/pycore_frame.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_ceval.h"
#if PY_GE(3, 14)
#include "internal/pycore_genobject.h"
#include "internal/pycore_interpframe.h"
#include "internal/pycore_stackref.h"
#include "internal/pycore_tstate.h"
#else
#include "internal/pycore_code.h"
#endif
