/* Suspended frames as plain tuples, and frames made from them. */
#pragma once
#include "code_facts.h"
#include "frame_parts.h"

#define SL_FRAME_ITEMS 7
#define SL_PACKED_ITEMS 5 /* the fewest */

/* A frame with its first `count` values, as a tuple; a new reference. In a primitive the operands of the call do
 * not count.
 *
 *     0  the function
 *     1  its code, None if that is still function.__code__
 *     2  its position, in code units: see check_place in frame_tuple.c
 *     3  the return offset, in code units
 *     4  local variables, cells and the evaluation stack: a tuple, with None where there is no value
 *     5  None, or if not all of these are objects a str with a letter for each, see letter_at()
 *     6  f_locals, if they are not the variables in 4; None */
PyObject *sl_frame_tuple(frame_t *f, int waits_for, int count);

/* The same as blobs hold it: always with the code, and without items 5 and 6 where they are None. */
PyObject *sl_packed_frame(frame_t *f, int waits_for, int count);

/* The tuple of seven for a packed one, which has five to seven items; without the code if it is the function's. */
PyObject *sl_unpacked_frame(PyObject *packed, int same_code);

/* Takes a tuple apart and checks it. 0, or -1 with TypeError or ValueError. A frame made from what passes can be
 * run. `facts` are kept for the frames that are read next. */
int sl_read_frame_tuple(PyObject *tuple, int waits_for, sl_parts *parts, sl_facts *facts);

/* Makes the frame in memory of the size that frame_size() says. It cannot fail, and takes new references. */
void sl_build_frame(const sl_parts *parts, frame_t *f, int owner);
