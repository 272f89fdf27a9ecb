/* Follows every path through a function's code, as stack_depth.c does, and records what each slot of a frame can hold
 * before each instruction: what the instructions before it have stored there. */
#include "slot_kinds.h"
#include "stack_depth.h"

#define REACHED 1     /* there is a path to it */
#define NEW 2         /* its kinds have changed since they were passed on to the next instruction */
#define HANDLER_NEW 4 /* its kinds have changed since they were passed on to its exception handler */

static kinds_t kinds_of_argument(flow_t *flow, int local)
{
    PyObject *name = name_of(flow->code, local);
    if (!is_hidden(flow->code, local)) {
        return OBJECT;
    }
    if (PyUnicode_CompareWithASCIIString(name, ".defaults") == 0) {
        return TUPLE;
    }
    if (PyUnicode_CompareWithASCIIString(name, ".kwdefaults") == 0) {
        return DICT;
    }
    /* `.0`: the caller has called iter() already, if this code does not. */
    for (int at = 0; at + 1 < flow->size; at++) {
        if (flow->ops[2 * at] == LOAD_FAST && flow->ops[2 * at + 1] == local && flow->ops[2 * at + 2] == FOR_ITER) {
            return ITERATOR;
        }
    }
    return OBJECT;
}

static void enter_code(flow_t *flow)
{
    const PyCodeObject *code = flow->code;
    const int arguments = code->co_argcount + code->co_kwonlyargcount + ((code->co_flags & CO_VARARGS) != 0)
                          + ((code->co_flags & CO_VARKEYWORDS) != 0);
    for (int i = 0; i < flow->locals; i++) {
        flow->kinds[i] = i < arguments ? kinds_of_argument(flow, i) : EMPTY;
    }
    flow->reached[0] = REACHED | NEW | HANDLER_NEW;
}

/* Records that control can reach `at` with `depth` values on the stack. Returns true if that is new. */
static int merge(flow_t *flow, int at, const kinds_t *kinds, int depth)
{
    if (at < 0 || at >= flow->size || depth < 0 || flow->depths[at] != depth) {
        return 0;
    }
    int changed = !flow->reached[at];
    kinds_t *known = kinds_at(flow, at);
    /* Since 3.14 there are loops over the result of a call, which the compiler knows to be a generator. */
    const int iterator = flow->ops[2 * at] == FOR_ITER ? flow->locals + depth - 1 - PY_GE(3, 15) : -1;
    for (int i = 0; i < flow->locals + depth; i++) {
        const kinds_t kind = i == iterator && kinds[i] == OBJECT ? ITERATOR : kinds[i];
        changed |= (known[i] | kind) != known[i];
        known[i] |= kind;
    }
    if (changed) {
        flow->reached[at] = REACHED | NEW | HANDLER_NEW;
    }
    return changed;
}

static kinds_t loaded(kinds_t kinds)
{
    kinds &= (kinds_t)~EMPTY;
    return kinds != 0 ? kinds : OBJECT;
}

/* A debugger may give the program's own variables any value. */
static kinds_t stored(flow_t *flow, int local, kinds_t kinds)
{
    const kinds_t kept = kinds & (EMPTY | CELL);
    return is_hidden(flow->code, local) || kinds == kept ? kinds : kept | OBJECT;
}

static kinds_t kind_of_constant(flow_t *flow, int number)
{
    PyObject *constants = flow->code->co_consts;
    return number < PyTuple_GET_SIZE(constants) && PyTuple_CheckExact(PyTuple_GET_ITEM(constants, number)) ? TUPLE : OBJECT;
}

/* The number of values that an instruction pushes. Values that it reads and leaves on the stack do not count. */
static int pushed(int opcode, int oparg, int jump)
{
    switch (opcode) {
    case CACHE:
    case COPY_FREE_VARS:
    case DELETE_ATTR:
    case DELETE_DEREF:
    case DELETE_FAST:
    case DELETE_GLOBAL:
    case DELETE_NAME:
    case DELETE_SUBSCR:
    case DICT_MERGE:
    case DICT_UPDATE:
    case END_ASYNC_FOR:
    case EXTENDED_ARG:
    case JUMP_BACKWARD:
    case JUMP_BACKWARD_NO_INTERRUPT:
    case JUMP_FORWARD:
    case LIST_APPEND:
    case LIST_EXTEND:
    case MAKE_CELL:
    case MAP_ADD:
    case NOP:
    case POP_EXCEPT:
    case POP_TOP:
    case RAISE_VARARGS:
    case RERAISE:
    case RESUME:
    case RETURN_VALUE:
    case SETUP_ANNOTATIONS:
    case SET_ADD:
    case SET_UPDATE:
    case STORE_ATTR:
    case STORE_DEREF:
    case STORE_FAST:
    case STORE_GLOBAL:
    case STORE_NAME:
    case STORE_SUBSCR:
#if !PY_GE(3, 12)
    case IMPORT_STAR:
    case JUMP_IF_FALSE_OR_POP:
    case JUMP_IF_TRUE_OR_POP:
    case POP_JUMP_BACKWARD_IF_FALSE:
    case POP_JUMP_BACKWARD_IF_NONE:
    case POP_JUMP_BACKWARD_IF_NOT_NONE:
    case POP_JUMP_BACKWARD_IF_TRUE:
    case POP_JUMP_FORWARD_IF_FALSE:
    case POP_JUMP_FORWARD_IF_NONE:
    case POP_JUMP_FORWARD_IF_NOT_NONE:
    case POP_JUMP_FORWARD_IF_TRUE:
    case PRECALL:
    case PRINT_EXPR:
#else
    case END_FOR:
    case POP_JUMP_IF_FALSE:
    case POP_JUMP_IF_NONE:
    case POP_JUMP_IF_NOT_NONE:
    case POP_JUMP_IF_TRUE:
    case STORE_SLICE:
#endif
#ifdef KW_NAMES
    case KW_NAMES:
#endif
#ifdef INTERPRETER_EXIT
    case INTERPRETER_EXIT:
#endif
#ifdef RETURN_CONST
    case RETURN_CONST:
#endif
#ifdef EXIT_INIT_CHECK
    case EXIT_INIT_CHECK:
#endif
#ifdef STORE_FAST_STORE_FAST
    case STORE_FAST_STORE_FAST:
#endif
#ifdef POP_ITER
    case NOT_TAKEN:
    case POP_ITER:
#endif
        return 0;
    case FOR_ITER:
        return !(!PY_GE(3, 12) && jump);
    case CHECK_EG_MATCH:
    case PUSH_EXC_INFO:
#ifdef BEFORE_WITH
    case BEFORE_ASYNC_WITH:
    case BEFORE_WITH:
#endif
#ifdef LOAD_METHOD
    case LOAD_METHOD:
#endif
#ifdef LOAD_SPECIAL
    case LOAD_SPECIAL:
#endif
#ifdef LOAD_FAST_LOAD_FAST
    case LOAD_FAST_LOAD_FAST:
#endif
#ifdef LOAD_FAST_BORROW_LOAD_FAST_BORROW
    case LOAD_FAST_BORROW_LOAD_FAST_BORROW:
#endif
        return 2;
#ifdef CLEANUP_THROW
    case CLEANUP_THROW:
        return PY_GE(3, 15) ? 3 : 2;
#endif
#if PY_GE(3, 15)
    case GET_ITER:
        return 2;
#endif
#if PY_GE(3, 12)
    case LOAD_ATTR:
    case LOAD_SUPER_ATTR:
#endif
    case LOAD_GLOBAL:
        return 1 + (oparg & 1);
    case UNPACK_SEQUENCE:
        return oparg;
    case UNPACK_EX:
        return (oparg & 0xFF) + (oparg >> 8) + 1;
    default:
        return 1;
    }
}

/* A callable and the slot for its self, as instructions before a call push them. */
static void push_callable(kinds_t *top, kinds_t self)
{
    top[PY_GE(3, 13)] = self;
    top[!PY_GE(3, 13)] = OBJECT;
}

/* The kinds of the values that an instruction pushes at `top`, if they are not arbitrary objects. */
static void push_kinds(flow_t *flow, int opcode, int oparg, kinds_t *top, const kinds_t *locals)
{
    switch (opcode) {
    case PUSH_NULL:
        top[0] = EMPTY;
        break;
    case LOAD_CONST:
        top[0] = kind_of_constant(flow, oparg);
        break;
    case LOAD_GLOBAL:
        if (oparg & 1) {
            push_callable(top, EMPTY);
        }
        break;
#if !PY_GE(3, 12)
    case LOAD_METHOD:
        push_callable(top, EMPTY | OBJECT);
        break;
#else
    case LOAD_ATTR:
    case LOAD_SUPER_ATTR:
        if (oparg & 1) {
            push_callable(top, EMPTY | OBJECT);
        }
        break;
#endif
#ifdef LOAD_SPECIAL
    case LOAD_SPECIAL:
        push_callable(top, EMPTY | OBJECT);
        break;
#endif
#ifdef LOAD_CLOSURE
    case LOAD_CLOSURE:
#endif
#ifdef LOAD_FAST_CHECK
    case LOAD_FAST_CHECK:
#endif
#ifdef LOAD_FAST_BORROW
    case LOAD_FAST_BORROW:
#endif
    case LOAD_FAST:
        top[0] = loaded(locals[oparg]);
        break;
#ifdef LOAD_FAST_AND_CLEAR
    case LOAD_FAST_AND_CLEAR:
        top[0] = locals[oparg];
        break;
#endif
#ifdef LOAD_FAST_LOAD_FAST
#ifdef LOAD_FAST_BORROW_LOAD_FAST_BORROW
    case LOAD_FAST_BORROW_LOAD_FAST_BORROW:
#endif
    case LOAD_FAST_LOAD_FAST:
        top[0] = loaded(locals[oparg >> 4]);
        top[1] = loaded(locals[oparg & 15]);
        break;
    case STORE_FAST_LOAD_FAST:
        top[0] = loaded(locals[oparg & 15]);
        break;
#endif
    case PUSH_EXC_INFO:
        top[0] = EXCEPTION | NONE;
        top[1] = EXCEPTION;
        break;
    case CHECK_EG_MATCH:
        top[0] = top[1] = EXCEPTION | NONE;
        break;
#ifdef PREP_RERAISE_STAR
    case PREP_RERAISE_STAR:
        top[0] = EXCEPTION | NONE;
        break;
#endif
#ifdef CALL_INTRINSIC_2
    case CALL_INTRINSIC_2:
        top[0] = oparg == 1 ? EXCEPTION | NONE : OBJECT; /* PREP_RERAISE_STAR */
        break;
    case CALL_INTRINSIC_1:
        top[0] = oparg == 6 ? TUPLE : oparg == 3 ? EXCEPTION : OBJECT; /* LIST_TO_TUPLE, STOPITERATION_ERROR */
        break;
#endif
#ifdef CLEANUP_THROW
    case CLEANUP_THROW:
        top[1] = PY_GE(3, 15) ? EMPTY | OBJECT : OBJECT;
        break;
#endif
#ifdef LIST_TO_TUPLE
    case LIST_TO_TUPLE:
#endif
    case BUILD_TUPLE:
        top[0] = TUPLE;
        break;
    case BUILD_LIST:
        top[0] = LIST;
        break;
#ifdef BUILD_CONST_KEY_MAP
    case BUILD_CONST_KEY_MAP:
#endif
    case BUILD_MAP:
        top[0] = DICT;
        break;
    case BUILD_SET:
        top[0] = SET;
        break;
#ifdef BUILD_INTERPOLATION
    case BUILD_INTERPOLATION:
        top[0] = INTERPOLATION;
        break;
#endif
#if PY_GE(3, 15)
    case GET_ITER:
        top[0] = oparg == 0 ? ITERATOR : RECEIVER;
        top[1] = EMPTY | INDEX;
        break;
#else
    case GET_ITER:
        top[0] = ITERATOR;
        break;
    case GET_YIELD_FROM_ITER:
#endif
    case GET_AWAITABLE:
    case GET_ANEXT:
        top[0] = RECEIVER;
        break;
    default:
        break;
    }
}

/* What an instruction does to the variables before it pushes anything. `top` is the stack's top before that. */
static void change_locals(flow_t *flow, int opcode, int oparg, kinds_t *locals, const kinds_t *top)
{
    switch (opcode) {
    case MAKE_CELL:
        locals[oparg] = CELL;
        break;
    case COPY_FREE_VARS:
        for (int i = flow->locals - oparg; i < flow->locals; i++) {
            locals[i] = CELL;
        }
        break;
    case DELETE_FAST:
        locals[oparg] = EMPTY;
        break;
#ifdef LOAD_FAST_CHECK
    case LOAD_FAST_CHECK:
        locals[oparg] = loaded(locals[oparg]); /* else it raises an exception */
        break;
#endif
    case STORE_FAST:
        locals[oparg] = stored(flow, oparg, top[-1]);
        break;
#ifdef STORE_FAST_STORE_FAST
    case STORE_FAST_STORE_FAST:
        locals[oparg >> 4] = stored(flow, oparg >> 4, top[-1]);
        locals[oparg & 15] = stored(flow, oparg & 15, top[-2]);
        break;
    case STORE_FAST_LOAD_FAST:
        locals[oparg >> 4] = stored(flow, oparg >> 4, top[-1]);
        break;
#endif
    default:
        break;
    }
}

/* Changes `kinds` to those behind an instruction, and returns the depth of the stack there; -1 if the instruction
 * does not fit the stack. */
static int execute(flow_t *flow, int opcode, int oparg, int jump, kinds_t *kinds, int depth)
{
    kinds_t *const locals = kinds, *const top = kinds + flow->locals + depth;
    const int highest = flow->width - flow->locals;
    if (opcode == SWAP || opcode == COPY) {
        if (oparg < 1 || oparg > depth || depth + (opcode == COPY) > highest) {
            return -1;
        }
        const kinds_t deep = top[-oparg];
        if (opcode == COPY) {
            top[0] = deep;
            return depth + 1;
        }
        top[-oparg] = top[-1];
        top[-1] = deep;
        return depth;
    }
    const int after = depth + sl_stack_effect(opcode, oparg, jump), count = pushed(opcode, oparg, jump);
    if (after < count || after > highest || after - count > depth) {
        return -1;
    }
    change_locals(flow, opcode, oparg, locals, top);
    kinds_t *const first = kinds + flow->locals + after - count;
    for (int i = 0; i < count; i++) {
        first[i] = OBJECT;
    }
    push_kinds(flow, opcode, oparg, first, locals);
#ifdef LOAD_FAST_AND_CLEAR
    if (opcode == LOAD_FAST_AND_CLEAR) {
        locals[oparg] = EMPTY;
    }
#endif
    return after;
}

static int merge_handler(void *arg, int start, int end, int target, int depth, int with_place)
{
    flow_t *const flow = arg;
    int changed = 0;
    kinds_t *const kinds = kinds_at(flow, flow->size); /* room for one more */
    if (flow->locals + depth + with_place + 1 > flow->width) {
        return 0;
    }
    for (int at = start; at < end && at < flow->size; at++) {
        if (!(flow->reached[at] & HANDLER_NEW) || flow->depths[at] < depth) {
            continue;
        }
        flow->reached[at] &= (unsigned char)~HANDLER_NEW;
        memcpy(kinds, kinds_at(flow, at), sizeof(kinds_t) * (size_t)(flow->locals + depth));
        kinds_t *const top = kinds + flow->locals + depth;
        top[0] = PLACE;
        top[with_place] = EXCEPTION;
        changed |= merge(flow, target, kinds, depth + with_place + 1);
    }
    return changed;
}

void sl_slot_kinds(flow_t *flow)
{
    kinds_t *const kinds = kinds_at(flow, flow->size);
    int changed = 1;
    enter_code(flow);
    while (changed) {
        changed = 0;
        for (int at = 0, oparg = 0, next; at < flow->size; at = next) {
            const int opcode = flow->ops[2 * at], depth = flow->depths[at];
            oparg = oparg << 8 | flow->ops[2 * at + 1];
            next = next_instruction(flow->ops, flow->size, at);
            const size_t bytes = sizeof(kinds_t) * (size_t)(flow->locals + depth);
            if (!(flow->reached[at] & NEW)) {
                oparg = opcode == EXTENDED_ARG ? oparg : 0;
                continue;
            }
            flow->reached[at] &= (unsigned char)~NEW;
            if (opcode == EXTENDED_ARG) {
                changed |= merge(flow, at + 1, kinds_at(flow, at), depth);
                continue;
            }
            const int direction = sl_jump_of(opcode);
            if (direction != 0) {
                memcpy(kinds, kinds_at(flow, at), bytes);
                const int after = execute(flow, opcode, oparg, 1, kinds, depth);
                changed |= merge(flow, next + direction * oparg, kinds, after);
            }
            if (sl_falls_through(opcode)) {
                memcpy(kinds, kinds_at(flow, at), bytes);
                const int after = execute(flow, opcode, oparg, 0, kinds, depth);
                changed |= merge(flow, next, kinds, after);
            }
            oparg = 0;
        }
        changed |= sl_each_handler(flow->code, merge_handler, flow);
    }
}
