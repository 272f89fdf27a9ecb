/* The instruction that a frame executes, and what it has on its evaluation stack during it. */
#pragma once
#include "frame.h"
#include <opcode.h>

typedef struct {
    int index; /* in code units */
    int op;    /* as the compiler wrote it */
    int arg;
} instruction_t;

/* The instruction that a frame executes; op is -1 if there is no memory to find out. */
instruction_t sl_instruction(frame_t *f);

/* The number of values that the frame has while it executes this instruction; -1 if that cannot be known. */
int sl_values_during(frame_t *f, instruction_t in);

/* The number of values of a frame that executes a `for` in C, as far as that is known. */
int sl_values_during_loop(frame_t *f);

/* If `f` is the frame of a generator over which `consumer` executes a `for`, which entered it through C only
 * because the loop is not specialised yet: the number of values that the consumer has. Else 0. */
int sl_cold_loop(frame_t *f, frame_t *consumer);

/* How many values of a loop over an iterator are on the stack. */
#define OF_LOOP (PY_GE(3, 15) ? 2 : 1)

#if PY_GE(3, 12)
#define PRECALL_OR_CALL CALL
#else
#define PRECALL_OR_CALL PRECALL
#endif

/* Operands of a call besides its arguments: the callable, self, and the names of keywords. */
static inline int beside_arguments(int op)
{
#ifdef CALL_KW
    return op == CALL_KW ? 3 : 2;
#else
    return 2;
#endif
}

static inline int is_call(int op)
{
#if PY_GE(3, 13)
    return op == CALL || op == CALL_KW;
#elif PY_GE(3, 12)
    return op == CALL;
#else
    return op == CALL || op == PRECALL;
#endif
}

/* Code units from a call to its last one (before 3.13) or to the next instruction. */
static inline int call_length(int op)
{
#if PY_GE(3, 14)
    return 4;
#elif PY_GE(3, 13)
    return op == CALL_KW ? 1 : 4;
#elif PY_GE(3, 12)
    return 3;
#else
    return op == PRECALL ? 6 : 4;
#endif
}

/* What a call calls, its operands beginning with the value `base`: borrowed. */
static inline PyObject *callable_at(frame_t *f, int base)
{
    PyObject *first = value_at(f, base);
#if !PY_GE(3, 13)
    if (first == NULL) {
        return value_at(f, base + 1);
    }
#endif
    return first;
}
