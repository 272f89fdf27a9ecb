/* The calling thread: the caller's word, whether a switch is possible here, and questions about threads. */
#include "thread.h"
#include "event_loop.h"

__thread struct sl_thread sl_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));

void sl_begin_thread(void *word, PyThreadState *ts, sl_state *running)
{
    sl_thread.word = word;
    sl_thread.ts = ts;
    sl_thread.running = running;
    sl_thread.forbidden = 0;
#if !PY_GE(3, 12)
    sl_thread.ticking = 0;
#endif
}

/* Destructors that run while CPython takes the thread state apart must not begin again. */
void sl_end_thread(PyThreadState *ts)
{
    sl_state *main = sl_thread.running;
    sl_begin_thread(NULL, NULL, NULL);
    sl_thread.ended = ts->id;
    if (main != NULL) {
        sl_drop_loop(main);
    }
}

int sl_has_ended(PyThreadState *ts)
{
    return sl_thread.ended == ts->id;
}

int sl_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

void sl_forbid(int change)
{
    sl_thread.forbidden += change;
}

static _PyStackChunk *bottom_chunk(PyThreadState *ts)
{
    _PyStackChunk *chunk = ts->datastack_chunk;
    while (chunk != NULL && chunk->previous != NULL) {
        chunk = chunk->previous;
    }
    return chunk;
}

/* True if the running code is on a data stack that is not this tasklet's. Then another library switches C stacks
 * here (greenlet), and our records do not describe what runs. */
int sl_is_foreign(void)
{
    sl_state *s = sl_thread.running;
    if (sl_thread.ts->datastack_chunk == s->root) {
        return 0;
    }
    _PyStackChunk *bottom = bottom_chunk(sl_thread.ts);
    if (s->root == NULL) {
        /* The main tasklet of a thread that had not run Python code before. */
        s->root = bottom;
    }
    return bottom != s->root;
}

void *sl_word(void)
{
    return sl_thread.word;
}

static __attribute__((noinline, cold)) void *look_closer(void)
{
    return (char *)sl_thread.word + (sl_thread.word != NULL && (sl_thread.forbidden || sl_is_foreign()));
}

/* The word; its lowest bit is set if a switch would be wrong here. */
void *sl_enter(void)
{
    if (sl_thread.word == NULL || sl_thread.forbidden
        || sl_thread.ts->datastack_chunk != sl_thread.running->root) {
        return look_closer();
    }
    return sl_thread.word;
}

/* The state of a thread's main tasklet: nothing to prepare, it is saved at its first switch. */
void sl_init_main(PyThreadState *ts, sl_state *s)
{
    memset(s, 0, sizeof(*s));
    s->root = bottom_chunk(ts);
}

/* The dict of any thread, made if there is none: borrowed; NULL with an exception. */
PyObject *sl_thread_dict(PyThreadState *ts)
{
    if (ts->dict == NULL) {
        ts->dict = PyDict_New();
    }
    return ts->dict;
}

PyThreadState *sl_thread_state(void)
{
#if PY_GE(3, 13)
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

unsigned long sl_thread_ident(PyThreadState *ts)
{
    return ts->thread_id;
}

PyThreadState *sl_next_thread(PyThreadState *ts)
{
    return ts == NULL ? PyInterpreterState_ThreadHead(PyInterpreterState_Get()) : PyThreadState_Next(ts);
}

/* Runs `body`, the rest of the destructor `slot`, unless destructors are nested too deeply: then the interpreter
 * calls `slot` again later. Needed where an object owns objects of its own kind. */
void sl_trashcan(PyObject *o, destructor slot, destructor body)
{
    Py_TRASHCAN_BEGIN(o, slot)
    body(o);
    Py_TRASHCAN_END
}
