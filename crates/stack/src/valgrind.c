/* Valgrind takes a jump of the stack pointer for a large frame, unless it knows the stacks. */
#include <valgrind/valgrind.h>

void sl_register_stack(void *low, void *high)
{
    (void)VALGRIND_STACK_REGISTER(low, high);
}
