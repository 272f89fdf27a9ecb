/* What other C files use of frames.c. */
#pragma once
#include "frame.h"

/* The running tasklet's innermost code below all C code that has called back into Python: borrowed, or NULL. */
PyObject *sl_outer_code(void);

/* The frame object of a frame of any tasklet, made if there is none: a new reference, NULL without an exception if
 * there is no Python frame from `f` on, or no memory. */
PyFrameObject *sl_object_of_frame(PyThreadState *ts, frame_t *f);
