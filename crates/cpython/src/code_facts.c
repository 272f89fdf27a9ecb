/* The depth of the stack and the kinds of the slots at each instruction of a code object: finding them follows every
 * path through the code, which takes longer than all other checks of a frame. So they are kept while the frames of one
 * tasklet are read, for the code objects that came last. */
#include "code_facts.h"

static void drop(code_facts_t *of)
{
    Py_CLEAR(of->bytes);
    PyMem_Free(of->depths);
    PyMem_Free(of->flow.kinds);
    PyMem_Free(of->flow.reached);
    memset(of, 0, sizeof(*of));
}

code_facts_t *sl_facts_of(sl_facts *facts, PyCodeObject *code)
{
    for (int i = 0; i < SL_FACTS; i++) {
        if (facts->kept[i].flow.code == code) {
            return &facts->kept[i];
        }
    }
    code_facts_t *const of = &facts->kept[facts->next];
    facts->next = (facts->next + 1) % SL_FACTS;
    drop(of);
    of->depths = sl_stack_depths(code);
    of->bytes = of->depths == NULL ? NULL : PyCode_GetCode(code);
    if (of->bytes == NULL) {
        drop(of);
        return NULL;
    }
    const int size = (int)Py_SIZE(code), locals = code->co_nlocalsplus;
    of->flow = (flow_t){code, (const unsigned char *)PyBytes_AS_STRING(of->bytes), of->depths, size, locals,
                        locals + code->co_stacksize + 1, NULL, NULL};
    return of;
}

const kinds_t *sl_kinds_before(code_facts_t *of, int at)
{
    flow_t *const flow = &of->flow;
    if (flow->kinds == NULL) {
        flow->reached = PyMem_Calloc(flow->size, 1);
        kinds_t *const kinds = flow->reached == NULL ? NULL : PyMem_Calloc((size_t)(flow->size + 1) * flow->width, sizeof(kinds_t));
        if (kinds == NULL) {
            PyMem_Free(flow->reached);
            flow->reached = NULL;
            PyErr_NoMemory();
            return NULL;
        }
        flow->kinds = kinds;
        sl_slot_kinds(flow);
    }
    return kinds_at(flow, at);
}

void sl_drop_facts(sl_facts *facts)
{
    for (int i = 0; i < SL_FACTS; i++) {
        drop(&facts->kept[i]);
    }
}
