/* Pictures: suspended frames as plain tuples, and frames made from them. */
#pragma once
#include "versions.h"

/* What a frame waits for. */
#define SL_WAITS_FOR_CALL 0 /* a value that a call, or a generator that it drives, will give */
#define SL_WAITS_FOR_SEND 1 /* it is a generator's, and suspended by itself: for next() or send() */
#define SL_WAITS_IN_CALL 2  /* what a primitive will give that it called, or that its `for` asked */
#define SL_WAITS_ANYHOW 3   /* not checked: whoever builds the frame will */

/* A frame with its first `count` values, as a tuple; a new reference. In a primitive the operands of
 * the call do not count.
 *
 *     0  the function
 *     1  its code, None if that is still function.__code__
 *     2  where it stands, in code units: see check_place in picture.c
 *     3  the return offset, in code units
 *     4  local variables, cells and the evaluation stack: a tuple, None for places that are empty
 *     5  None, or if not all of these are objects a str with a letter for each: `o` object, `-` empty,
 *        `i` an int that the interpreter keeps untagged (3.14+)
 *     6  f_locals, if they are not the variables in 4; None */
PyObject *sl_picture(frame_t *f, int waits_for, int count);

/* How many values a frame has, if that is known. */
int sl_values(frame_t *f);

/* A picture taken apart and checked. Everything is borrowed from the tuple. */
typedef struct {
    PyFunctionObject *function;
    PyCodeObject *code;
    PyObject *values, *locals;
    const char *shape; /* or NULL */
    int at, return_offset, count;
    int waits_for;
    int opcode, oparg; /* of the instruction that the frame waits in */
} sl_parts;

/* 0, or -1 with TypeError or ValueError: whatever passes can be run. */
int sl_read_picture(PyObject *picture, int waits_for, sl_parts *parts);

/* How many pointers wide the frame is. */
int sl_frame_size(PyCodeObject *code);

/* Makes the frame in memory of that size. It cannot fail, and takes new references. */
void sl_build_frame(const sl_parts *parts, frame_t *f, int owner);

/* The frame of a generator, coroutine or asynchronous generator. */
frame_t *sl_generator_frame(PyObject *generator);
