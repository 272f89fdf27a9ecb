/* Whether a pointer that a frame's stack holds still is one to an object.
 *
 * Up to CPython 3.13 an instruction drops its operands one by one and clears nothing behind it:
 *
 *     partial(id)(Loud())
 *
 *     the stack   | partial object | Loud object |        CALL: 1. the C function returns
 *                        |                |                     2. drops the partial object, which is freed
 *                        v                v                     3. drops the Loud object: __del__ runs, and waits
 *                    free memory      the object
 *
 * A tasklet that waits in such a destructor has such pointers on its stack, and nothing in its frame tells. So an operand
 * is used only after it was found among the objects: those that the garbage collector tracks, as it does functions,
 * methods and most other callables, and those that the program file and the libraries contain. Instead of an object that
 * has ended, another one may be found that has got its memory: it is one that may be used, all the same. */
#define _GNU_SOURCE
#include "versions.h"
#include <dlfcn.h>
#include "exports.h"

typedef struct {
    PyObject *wanted;
    int found;
} search_t;

#if PY_GE(3, 12)
static int look(PyObject *o, void *argument)
{
    search_t *search = argument;
    search->found = o == search->wanted;
    return !search->found;
}

static void search_tracked(search_t *search)
{
    PyUnstable_GC_VisitObjects(look, search);
}
#else
static void search_tracked(search_t *search)
{
    PyInterpreterState *interpreter = PyThreadState_Get()->interp;
    for (int i = 0; i < NUM_GENERATIONS && !search->found; i++) {
        PyGC_Head *const head = &interpreter->gc.generations[i].head;
        for (PyGC_Head *at = _PyGCHead_NEXT(head); at != head && !search->found; at = _PyGCHead_NEXT(at)) {
            search->found = (PyObject *)(at + 1) == search->wanted;
        }
    }
}
#endif

/* True if this pointer from the stack of a frame is one to an object. Looks at all objects: for messages. */
int sl_is_living(PyObject *pointer)
{
    search_t search = {pointer, 0};
    Dl_info file;
    if (pointer == NULL) {
        return 0;
    }
    if (PY_GE(3, 14) || dladdr(pointer, &file)) {
        return 1;
    }
    search_tracked(&search);
    return search.found;
}
