/* How many values are on the evaluation stack at an instruction. */
#pragma once
#include "exports.h"
#include <opcode.h>

/* The number of values before the instruction at `offset`, in code units. -1 if no instruction begins there that can
 * be reached, or if there is no memory to find out. Sets no exception. In a generator or coroutine the value that is
 * sent counts: while it is suspended, one value less is there than before the instruction at which it continues. */
int sl_stack_depth(PyCodeObject *code, int offset);

/* The same for each code unit. To be freed with PyMem_Free; NULL with MemoryError. */
int *sl_stack_depths(PyCodeObject *code);

/* The index of the next instruction in the base code `ops`, which has `size` code units: the inline cache of the one
 * at `at` is skipped. */
static inline int next_instruction(const unsigned char *ops, int size, int at)
{
    do {
        at++;
    } while (at < size && ops[2 * at] == CACHE);
    return at;
}

/* 1 if the opcode jumps forwards, -1 backwards, 0 if it does not jump. */
int sl_jump_of(int opcode);

/* True if the code can continue behind this instruction: it is no unconditional jump, return or raise. */
int sl_falls_through(int opcode);

/* By how much an instruction changes the depth of the stack. */
int sl_stack_effect(int opcode, int oparg, int jump);

/* Calls `visit` for each entry of the exception table: an exception in the code from `start` to before `end` leads to
 * `target` with `depth` values, the position of the instruction if `with_place`, and the exception. The results are
 * combined with `|`. */
typedef int (*sl_handler_f)(void *arg, int start, int end, int target, int depth, int with_place);
int sl_each_handler(PyCodeObject *code, sl_handler_f visit, void *arg);
