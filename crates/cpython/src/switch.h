/* What other C files use of switch.c. */
#pragma once
#include "state.h"

/* Copies the running tasklet's share of the thread state to `s`, or the other way round, as a switch does. */
void sl_save_fields(PyThreadState *ts, sl_state *s);
void sl_load_fields(PyThreadState *ts, sl_state *s);

#if PY_GE(3, 14)
/* The calling thread's state in another interpreter gets the limits of the stack that it runs on. */
void sl_adopt_stack(PyThreadState *other);
#endif
