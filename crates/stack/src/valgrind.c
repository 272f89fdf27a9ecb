/* Registers a C stack with valgrind, which would take a switch of stacks for a very large frame otherwise. */
#include <valgrind/valgrind.h>

void sl_register_stack(void *low, void *high)
{
    (void)VALGRIND_STACK_REGISTER(low, high);
}
