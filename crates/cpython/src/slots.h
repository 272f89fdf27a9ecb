/* What the interpreter takes for granted about the values in a frame. */
#pragma once
#include "picture.h"

/* The frame of `parts` stands at the instruction `at` and goes on at `next`, with one value more on its stack
 * than the picture has; or it goes on at `at` itself, which is `next` then, with as many values. `ops` is the
 * base code, `depths` as from sl_stack_depths. 0, or -1 with ValueError, which names the place, or
 * MemoryError. */
int sl_check_slots(const sl_parts *parts, const unsigned char *ops, const int *depths, int at, int next);
