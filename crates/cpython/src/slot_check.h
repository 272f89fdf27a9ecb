/* Whether the values of a frame are of the kinds that the interpreter relies on. */
#pragma once
#include "code_facts.h"
#include "frame_parts.h"

/* The frame of `parts` is at the instruction `at` and continues at `next`, with one value more on its stack than the
 * tuple has; or it continues at `at` itself, which is `next` then, with as many values. `facts` are those of its code.
 * 0, or -1 with ValueError, which names the instruction, or MemoryError. */
int sl_check_slots(const sl_parts *parts, code_facts_t *facts, int at, int next);
