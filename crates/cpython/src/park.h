/* What the parts of parking share: can_park.c, park.c, which has the picture, and resume.c. */
#pragma once
#include "state.h"
#include "depth.h"
#include <opcode.h>
#if V314
#include "internal/pycore_stackref.h"
#else
#include "internal/pycore_code.h"
#endif

/* The primitive in which a tasklet waits, where its arguments are, and how many, those by keyword
 * included. `args` is NULL outside of primitives, and &sl_iterating where the interpreter asked for the
 * next value of an iteration. */
typedef struct {
    PyObject *const *args;
    int count;
    int gives_none;
    PyCFunction function;
} sl_call;

extern char sl_iterating;

/* In place of `args` where a limit of run() has interrupted a tasklet. */
extern char sl_interrupted;

/* What a tasklet waits in that can be parked. */
typedef struct {
    int values;   /* of its innermost frame, variables included */
    int operands; /* how many of these are the operands of the pending call */
    int length;   /* of the call's instruction, see call_length() */
} sl_pending;

/* Why a tasklet cannot be parked. */
typedef struct {
    enum { IN_C = 1, NOT_A_CALL, C_BETWEEN, CLEARING, TRACING, INTERRUPTED } kind;
    PyCodeObject *code;   /* the Python function concerned: borrowed; NULL if there is none */
    int at;               /* its instruction, in bytes, */
    int what;             /* and what that does */
    PyObject *callee;     /* what it called: borrowed; NULL if that is not known */
    PyCodeObject *called; /* the Python function that C code has called for it: borrowed, or NULL */
} sl_obstacle;

/* What an instruction does, for `what`. */
enum { DOES_OTHER, DOES_CALL, DOES_CALL_STARRED, DOES_ATTRIBUTE, DOES_ITEM, DOES_OPERATOR, DOES_LOOP, DOES_ENTER, DOES_EXIT };

/* In shim.c. */
void sl_init(PyThreadState *ts, sl_state *s, char *end, size_t stack, PyObject *context);
void sl_abandon(sl_state *s);

#if V314
typedef _PyStackRef value_t;
#define BORROW(v) (PyStackRef_IsNull(v) || PyStackRef_IsTaggedInt(v) ? NULL : PyStackRef_AsPyObjectBorrow(v))
#define STEAL(o) PyStackRef_FromPyObjectSteal(o)
#define NOTHING PyStackRef_NULL
#define DROP(v) PyStackRef_XCLOSE(v)
#else
typedef PyObject *value_t;
#define BORROW(v) (v)
#define STEAL(o) (o)
#define NOTHING NULL
#define DROP(v) Py_XDECREF(v)
#endif

static inline PyCodeObject *code_in(frame_t *f)
{
    return (PyCodeObject *)code_of(f);
}

/* How many values are in use, the variables included. */
static inline int values(frame_t *f)
{
#if V314
    return (int)(f->stackpointer - f->localsplus);
#else
    return f->stacktop;
#endif
}

static inline void set_values(frame_t *f, int count)
{
#if V314
    f->stackpointer = f->localsplus + count;
#else
    f->stacktop = count;
#endif
}

static inline void push(frame_t *f, PyObject *value)
{
    int count = values(f);
    f->localsplus[count] = STEAL(value);
    set_values(f, count + 1);
}

static inline PyObject *value_at(frame_t *f, int i)
{
    return BORROW(f->localsplus[i]);
}

/* The place of a frame moves on by so many code units. */
static inline void advance(frame_t *f, int units)
{
#if V313
    f->instr_ptr += units;
#else
    f->prev_instr += units;
#endif
}

#if V311
#define PRECALL_OR_CALL PRECALL
#else
#define PRECALL_OR_CALL CALL
#endif

typedef struct {
    int index; /* in code units */
    int op;    /* as the compiler wrote it */
    int arg;
} instruction_t;

/* In can_park.c. The instruction that a frame executes; op -1 if there is no memory to find out. */
instruction_t sl_instruction(frame_t *f);

/* Is this the frame of a generator over which `consumer` executes a `for`, which entered it through C only
 * because the loop is not specialised yet? Then how many values the consumer has, else 0. */
int sl_cold_loop(frame_t *f, frame_t *consumer);

/* Operands of a call besides its arguments: the callable, self, and the names of keywords. */
static inline int beside_arguments(int op)
{
#ifdef CALL_KW
    return op == CALL_KW ? 3 : 2;
#else
    return 2;
#endif
}

static inline int is_call(int op)
{
#if V311
    return op == CALL || op == PRECALL;
#elif V313
    return op == CALL || op == CALL_KW;
#else
    return op == CALL;
#endif
}

/* Code units from a call to the last one of it (before 3.13) or to the next instruction. */
static inline int call_length(int op)
{
#if V311
    return op == PRECALL ? 6 : 4;
#elif V314
    return 4;
#elif V313
    return op == CALL_KW ? 1 : 4;
#else
    return 3;
#endif
}

/* The part of a data stack in the root chunk. */
static inline PyObject **bottom_of(sl_state *s)
{
    return &s->data.data[1];
}

static inline PyObject **top_of(sl_state *s)
{
    return s->chunk == &s->data ? s->top : &s->data.data[s->data.top];
}

static inline void set_state_frame(sl_state *s, frame_t *f)
{
#if V313
    s->frame = f;
#else
    s->cframe = &s->root_cframe;
    s->root_cframe.current_frame = f;
#endif
}

/* The bytes that the root chunk of a data stack has in use. */
static inline size_t used(sl_state *s)
{
    return (size_t)((char *)top_of(s) - (char *)bottom_of(s));
}

static inline int lies_in(frame_t *f, sl_state *s)
{
    return (PyObject **)f >= bottom_of(s) && (PyObject **)f < top_of(s);
}
