/* What the checks of a frame need to know of its code, found out once for several frames of the same code. */
#pragma once
#include "slot_kinds.h"
#include "stack_depth.h"

/* Of one code object. The references are owned, but for `flow.code`, which is borrowed. */
typedef struct {
    PyObject *bytes; /* the base code; flow.ops is in it */
    int *depths;     /* as from sl_stack_depths */
    flow_t flow;     /* flow.kinds is NULL until sl_kinds_before was called */
} code_facts_t;

/* Facts that are not kept with their code object, of those that were asked for last. Begins as {0}. */
#define SL_FACTS 4
typedef struct {
    code_facts_t kept[SL_FACTS];
    int next; /* to be replaced */
} sl_facts;

/* The facts of a code object, which lives as long as `facts` are used; valid until the next call. NULL with
 * MemoryError. Runs no Python code. */
code_facts_t *sl_facts_of(sl_facts *facts, PyCodeObject *code);

/* The kinds of the slots before the instruction `at`; NULL with MemoryError. */
const kinds_t *sl_kinds_before(code_facts_t *facts, int at);

/* Drops what they own. */
void sl_drop_facts(sl_facts *facts);
