/* How many values are on the evaluation stack at an instruction. */
#pragma once
#include "exports.h"

/* Before the instruction at `offset`, in code units: how many values. -1 if no instruction begins there
 * that can be reached, or if there is no memory to find out. Sets no exception. In a generator or coroutine the
 * value that is sent counts: while suspended, one less is there than before the instruction at which it
 * goes on. */
int sl_stack_depth(PyCodeObject *code, int offset);

/* For each code unit. To be freed with PyMem_Free; NULL with MemoryError. */
int *sl_stack_depths(PyCodeObject *code);

/* Does the opcode jump: 1 forwards, -1 backwards, 0 not. */
int sl_jump_of(int opcode);

/* Does the code go on behind an instruction that does not jump? */
int sl_goes_on(int opcode);

/* What an instruction does to the depth of the stack. */
int sl_stack_effect(int opcode, int oparg, int jump);

/* For each entry of the exception table: the code from `start` up to `end` is left for `target` with `depth`
 * values, the place where it was if `with_place`, and the exception. The results' bits together. */
typedef int (*sl_handler_f)(void *arg, int start, int end, int target, int depth, int with_place);
int sl_each_handler(PyCodeObject *code, sl_handler_f visit, void *arg);
