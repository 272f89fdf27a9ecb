/* How deep the evaluation stack is at an instruction. */

/* Before the instruction at `offset`, in code units: how many values. -1 if no instruction begins there
 * that can be reached, or if there is no memory to find out. Sets no exception. In a generator or coroutine the
 * value that is sent counts: while suspended, one less is there than before the instruction at which it
 * goes on. */
int sl_stack_depth(PyCodeObject *code, int offset);

/* For each code unit. To be freed with PyMem_Free; NULL with MemoryError. */
int *sl_stack_depths(PyCodeObject *code);
