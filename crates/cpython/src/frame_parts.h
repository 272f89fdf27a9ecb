/* The tuple of a frame, taken apart. */
#pragma once
#include "frame.h"

/* What a frame waits for. */
#define SL_WAITS_FOR_CALL 0 /* the value of a call, or of a generator that it drives */
#define SL_WAITS_FOR_SEND 1 /* next() or send(): it is a generator's, and suspended by itself */
#define SL_WAITS_IN_CALL 2  /* the result of a primitive that it called, or that its `for` asked */
#define SL_WAITS_UNCHECKED 3 /* not checked: the code that builds the frame will */

/* Everything is borrowed from the tuple. */
typedef struct {
    PyFunctionObject *function;
    PyCodeObject *code;
    PyObject *values, *locals;
    const char *shape; /* or NULL */
    int at, return_offset, count;
    int waits_for;
    int opcode, oparg; /* of the instruction that the frame waits in */
} sl_parts;

/* The kind of value `i`: `o` object, `-` empty, `i` an int that is no object. */
static inline char letter_at(const sl_parts *p, int i)
{
    return p->shape == NULL ? 'o' : p->shape[i];
}
