/* How many values are on the evaluation stack before an instruction. It is found by following every path through the
 * code, exception handlers included, with CPython's own table of what each opcode does to the stack. `co_code`
 * contains base opcodes only, also if code was specialised or instrumented. */
#include "stack_depth.h"

int sl_jump_of(int opcode)
{
    switch (opcode) {
    case FOR_ITER:
    case SEND:
    case JUMP_FORWARD:
#if !PY_GE(3, 12)
    case JUMP_IF_FALSE_OR_POP:
    case JUMP_IF_TRUE_OR_POP:
    case POP_JUMP_FORWARD_IF_FALSE:
    case POP_JUMP_FORWARD_IF_TRUE:
    case POP_JUMP_FORWARD_IF_NONE:
    case POP_JUMP_FORWARD_IF_NOT_NONE:
#else
    case POP_JUMP_IF_FALSE:
    case POP_JUMP_IF_TRUE:
    case POP_JUMP_IF_NONE:
    case POP_JUMP_IF_NOT_NONE:
#endif
        return 1;
#if !PY_GE(3, 12)
    case POP_JUMP_BACKWARD_IF_FALSE:
    case POP_JUMP_BACKWARD_IF_TRUE:
    case POP_JUMP_BACKWARD_IF_NONE:
    case POP_JUMP_BACKWARD_IF_NOT_NONE:
#endif
    case JUMP_BACKWARD:
    case JUMP_BACKWARD_NO_INTERRUPT:
        return -1;
    default:
        return 0;
    }
}

int sl_falls_through(int opcode)
{
    switch (opcode) {
    case JUMP_FORWARD:
    case JUMP_BACKWARD:
    case JUMP_BACKWARD_NO_INTERRUPT:
    case RETURN_VALUE:
#ifdef RETURN_CONST
    case RETURN_CONST:
#endif
    case RAISE_VARARGS:
    case RERAISE:
        return 0;
    default:
        return 1;
    }
}

int sl_stack_effect(int opcode, int oparg, int jump)
{
    switch (opcode) {
    case RETURN_GENERATOR:
        return 1; /* the value that the first send() pushes */
#if !PY_GE(3, 12)
    case PRECALL:
        return 0; /* the table takes the operands away here, the interpreter in CALL */
    case CALL:
        return -1 - oparg;
#endif
    default:
        return PyCompile_OpcodeStackEffectWithJump(opcode, oparg, jump);
    }
}

/* The exception table: numbers of 6 bits per byte, high ones first (Objects/exception_handling_notes.txt). */
static const unsigned char *read_number(const unsigned char *p, int *number)
{
    *number = *p & 63;
    while (*p++ & 64) {
        *number = *number << 6 | (*p & 63);
    }
    return p;
}

static int note(int *depths, int size, int at, int depth)
{
    if (at < 0 || at >= size || depths[at] >= 0 || depth < 0) {
        return 0;
    }
    depths[at] = depth;
    return 1;
}

int sl_each_handler(PyCodeObject *code, sl_handler_f visit, void *arg)
{
    const unsigned char *p = (const unsigned char *)PyBytes_AS_STRING(code->co_exceptiontable);
    const unsigned char *end = p + PyBytes_GET_SIZE(code->co_exceptiontable);
    int result = 0;
    while (p < end) {
        int start, length, target, depth_lasti;
        p = read_number(read_number(read_number(read_number(p, &start), &length), &target), &depth_lasti);
        result |= visit(arg, start, start + length, target, depth_lasti >> 1, depth_lasti & 1);
    }
    return result;
}

typedef struct {
    int *depths, size;
} depths_t;

static int note_handler(void *arg, int start, int end, int target, int depth, int with_place)
{
    const depths_t *const d = arg;
    for (int at = start; at < end && at < d->size; at++) {
        if (d->depths[at] >= 0) {
            return note(d->depths, d->size, target, depth + with_place + 1);
        }
    }
    return 0;
}

int *sl_stack_depths(PyCodeObject *code)
{
    const int size = (int)Py_SIZE(code);
    PyObject *bytes = PyCode_GetCode(code);
    int *depths = PyMem_Malloc(sizeof(int) * size);
    if (bytes == NULL || depths == NULL) {
        Py_XDECREF(bytes);
        PyMem_Free(depths);
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
        return NULL;
    }
    const unsigned char *ops = (const unsigned char *)PyBytes_AS_STRING(bytes);
    for (int at = 1; at < size; at++) {
        depths[at] = -1;
    }
    depths[0] = 0;
    int changed = 1;
    while (changed) {
        changed = 0;
        for (int at = 0, oparg = 0; at < size; at++) {
            const int opcode = ops[2 * at], depth = depths[at];
            oparg = oparg << 8 | ops[2 * at + 1];
            if (opcode == EXTENDED_ARG) {
                changed |= depth >= 0 && note(depths, size, at + 1, depth);
                continue;
            }
            const int next = next_instruction(ops, size, at);
            if (depth >= 0) {
                if (sl_jump_of(opcode)) {
                    changed |= note(depths, size, next + sl_jump_of(opcode) * oparg, depth + sl_stack_effect(opcode, oparg, 1));
                }
                if (sl_falls_through(opcode)) {
                    changed |= note(depths, size, next, depth + sl_stack_effect(opcode, oparg, 0));
                }
            }
            oparg = 0;
            at = next - 1;
        }
        changed |= sl_each_handler(code, note_handler, &(depths_t){depths, size});
    }
    Py_DECREF(bytes);
    return depths;
}

int sl_stack_depth(PyCodeObject *code, int offset)
{
    int *depths = offset >= 0 && offset < Py_SIZE(code) ? sl_stack_depths(code) : NULL;
    int depth = depths != NULL ? depths[offset] : -1;
    PyMem_Free(depths);
    if (depth < 0) {
        PyErr_Clear(); /* there was no memory to find out */
    }
    return depth;
}
