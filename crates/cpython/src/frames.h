/* What other C files use of frames.c. */
#pragma once
#include "exports.h"

/* The running tasklet's innermost code below all C code that has called back into Python: borrowed, or NULL. */
PyObject *sl_outer_code(void);
