/* What each variable and each value on the evaluation stack can hold, at every instruction. */
#pragma once
#include "exports.h"

/* What a slot can hold: one bit for each kind. */
typedef unsigned short kinds_t;
#define EMPTY 1        /* NULL */
#define OBJECT 2       /* any object */
#define CELL 4
#define ITERATOR 8     /* FOR_ITER calls its tp_iternext */
#define RECEIVER 16    /* SEND: an iterator or a coroutine */
#define EXCEPTION 32
#define NONE 64
#define PLACE 128      /* RERAISE jumps there: an int; since 3.14 an untagged one */
#define INDEX 256      /* an untagged int beside what is iterated over by index (3.15) */
#define LIST 512
#define TUPLE 1024
#define DICT 2048
#define SET 4096
#define INTERPOLATION 8192

typedef struct {
    PyCodeObject *code;
    const unsigned char *ops;
    const int *depths;
    int size, locals, width; /* code units; variables; variables and values */
    kinds_t *kinds;          /* before each instruction, as many as `width` */
    unsigned char *reached;  /* for each instruction, of the bits below */
} flow_t;

/* The kinds of the variables and values before an instruction. */
static inline kinds_t *kinds_at(flow_t *flow, int at)
{
    return flow->kinds + (size_t)at * flow->width;
}

static inline PyObject *name_of(PyCodeObject *code, int local)
{
    return PyTuple_GET_ITEM(code->co_localsplusnames, local);
}

/* A variable of the compiler's own, such as the iterator of a generator expression. */
static inline int is_hidden(PyCodeObject *code, int local)
{
    PyObject *name = name_of(code, local);
    return PyUnicode_GET_LENGTH(name) > 1 && PyUnicode_READ_CHAR(name, 0) == '.';
}

/* Fills in `kinds` and `reached` (zeroed, of `size + 1` times `width` and of `size` elements) for a frame that
 * begins at the start of its code: every path through the code is followed. */
void sl_slot_kinds(flow_t *flow);
