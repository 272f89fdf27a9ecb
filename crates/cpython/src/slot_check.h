/* Whether the values of a frame are of the kinds that the interpreter relies on. */
#pragma once
#include "frame_parts.h"

/* The frame of `parts` is at the instruction `at` and continues at `next`, with one value more on its stack than the
 * tuple has; or it continues at `at` itself, which is `next` then, with as many values. `ops` is the base code,
 * `depths` as from sl_stack_depths. 0, or -1 with ValueError, which names the instruction, or MemoryError. */
int sl_check_slots(const sl_parts *parts, const unsigned char *ops, const int *depths, int at, int next);
