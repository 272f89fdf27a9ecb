/* The depth of the stack and the kinds of the slots at each instruction of a code object: finding them follows every
 * path through the code, which takes longer than all other checks of a frame. So they are kept with the code object,
 * which does not change, as CPython allows (co_extra), and are freed with it. Those of large code are kept only while
 * the frames of one tasklet are read. */
#include "code_facts.h"

static void drop(code_facts_t *of)
{
    Py_CLEAR(of->bytes);
    PyMem_Free(of->depths);
    PyMem_Free(of->flow.kinds);
    PyMem_Free(of->flow.reached);
    memset(of, 0, sizeof(*of));
}

/* Facts of more bytes are not kept with their code. */
#define MOST_BYTES (64 * 1024)

#if PY_GE(3, 12)
#define request_index PyUnstable_Eval_RequestCodeExtraIndex
#define get_extra PyUnstable_Code_GetExtra
#define set_extra PyUnstable_Code_SetExtra
#else
#define request_index _PyEval_RequestCodeExtraIndex
#define get_extra _PyCode_GetExtra
#define set_extra _PyCode_SetExtra
#endif

static void free_facts(void *of)
{
    drop(of);
    PyMem_Free(of);
}

/* The index of our facts among what is kept with code; negative if there is none left. */
static Py_ssize_t index_of_facts(void)
{
    static Py_ssize_t index = -2;
    if (index == -2) {
        index = request_index(free_facts);
    }
    return index;
}

static code_facts_t *kept_with(PyCodeObject *code)
{
    void *found = NULL;
    if (index_of_facts() < 0 || get_extra((PyObject *)code, index_of_facts(), &found) < 0) {
        PyErr_Clear();
        return NULL;
    }
    return found;
}

/* Moves facts to their code object, if it can keep them. Returns where they are. */
static code_facts_t *keep(code_facts_t *of)
{
    const size_t bytes = (size_t)(of->flow.size + 1) * ((size_t)of->flow.width * sizeof(kinds_t) + sizeof(int));
    code_facts_t *const moved = bytes <= MOST_BYTES && index_of_facts() >= 0 ? PyMem_Malloc(sizeof(*of)) : NULL;
    if (moved == NULL) {
        return of;
    }
    *moved = *of;
    if (set_extra((PyObject *)of->flow.code, index_of_facts(), moved) < 0) {
        PyErr_Clear();
        PyMem_Free(moved);
        return of;
    }
    memset(of, 0, sizeof(*of));
    return moved;
}

code_facts_t *sl_facts_of(sl_facts *facts, PyCodeObject *code)
{
    code_facts_t *const known = kept_with(code);
    if (known != NULL) {
        return known;
    }
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
    return keep(of);
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
