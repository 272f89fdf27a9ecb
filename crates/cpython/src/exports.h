/* What Rust calls: every function, struct, enum and constant that C and Rust share.
 *
 * Rust repeats these declarations in its `extern "C"` blocks and `#[repr(C)]` types. `tools/check-c-interface`, a
 * part of `make lint`, compares the two: names, parameters, results, fields and enumerators. All C files include
 * this header, so the compiler compares it with the definitions. */
#pragma once
#include "versions.h"

#define SL_STATE_SIZE 256 /* the bytes that Rust reserves for a sl_state */

typedef struct sl_state sl_state;                   /* state.h */
typedef struct sl_tasklet_frames sl_tasklet_frames; /* tasklet_frames.c */

/* ------------------------------------------------------------------ thread.c */

void sl_begin_thread(void *word, PyThreadState *ts, sl_state *running);
void sl_init_main(PyThreadState *ts, sl_state *state);
void sl_end_thread(PyThreadState *ts);
int sl_has_ended(PyThreadState *ts);
int sl_is_finalizing(void);
void sl_forbid(int change);
int sl_is_foreign(void);
void *sl_word(void);
void *sl_enter(void);
PyObject *sl_thread_dict(PyThreadState *ts);
PyThreadState *sl_thread_state(void);
unsigned long sl_thread_ident(PyThreadState *ts);
PyThreadState *sl_next_thread(PyThreadState *ts);
void sl_trashcan(PyObject *o, destructor slot, destructor body);

/* ------------------------------------------------------------------ switch.c */

void sl_swap(sl_state *from, sl_state *to);
void sl_load(sl_state *state);
void sl_init(PyThreadState *ts, sl_state *state, char *end, size_t stack, PyObject *context);
int sl_is_traced(sl_state *state);
void sl_unload(sl_state *state, PyObject **owned);
void sl_finish(PyThreadState *ts, sl_state *state);
void sl_abandon(sl_state *state);
void sl_outlive(PyThreadState *ts, sl_state *state);
const char *sl_check(PyThreadState *ts);

/* ------------------------------------------------------------------ traverse.c, interpreters.c */

int sl_traverse(sl_state *state, int top, visitproc visit, void *arg);
void sl_watch_interpreters(void);

/* ------------------------------------------------------------------ context.c */

PyObject *sl_current_context(PyThreadState *ts);
PyObject *sl_peek_context(PyThreadState *ts);
PyObject *sl_state_context(sl_state *state);
int sl_context_entered(PyObject *context);
void sl_set_context(PyThreadState *ts, sl_state *state, PyObject *context);

/* ------------------------------------------------------------------ tracing.c */

PyObject *sl_trace_object(PyThreadState *ts, sl_state *state, int profile);
int sl_set_trace(PyThreadState *ts, sl_state *state, PyObject *setter, PyObject *function);
int sl_traced_lately(void);

/* ------------------------------------------------------------------ ticks.c */

/* The result of a tick. */
typedef enum {
    SL_NOTHING, /* continue */
    SL_NOW,     /* interrupt the running tasklet */
    SL_LATER,   /* interrupt it when the C code that has called back into Python has returned */
} sl_answer;

/* What is called at ticks. */
typedef struct {
    sl_answer (*tick)(int count);
    /* Interrupts the running tasklet, if that is due. If an exception was thrown into it meanwhile: -1 and the
     * exception is set if it can be raised here, else 1. */
    int (*interrupt)(int can_raise);
    int (*settled)(void);    /* true if nothing forbids a due interrupt any more, or none is due */
    int (*must_raise)(void); /* true if interrupt() has returned 1 to the running tasklet */
    void (*throw_in)(void);  /* sets that exception */
} sl_on_ticks;

int sl_start_ticks(sl_on_ticks callbacks);
void sl_show_ticks(PyThreadState *ts, int on);

/* ------------------------------------------------------------------ frames.c */

/* A call in progress. */
typedef struct {
    PyCodeObject *code; /* borrowed from the frame */
    int at;             /* the offset of the instruction in the code, in bytes */
} sl_position;

int sl_depth(PyThreadState *ts, sl_state *state);
int sl_nesting(PyThreadState *ts, sl_state *state, PyObject *before);
PyObject *sl_frame_object(PyThreadState *ts, sl_state *state);
int sl_positions(PyThreadState *ts, sl_state *state, sl_position *positions, int maximum);
PyObject *sl_variable_name(PyThreadState *ts, sl_state *state, PyObject *object);
void sl_visit_variables(PyThreadState *ts, sl_state *state, int maximum, visitproc visit, void *arg);
extern const Py_ssize_t sl_code_flags_offset;
void sl_function(PyObject *callable, PyObject **name, PyObject **code);
void sl_code_names(PyObject *code, PyObject **name, PyObject **file);
int sl_line(PyObject *code, int at);
int sl_set_caller(PyObject *o, PyObject *back);

/* ------------------------------------------------------------------ crash.c */

int sl_crash_install(int descriptor, void (*list)(void));
void sl_crash_write(const char *text, size_t length);
void sl_crash_number(unsigned long long number, unsigned base);
void sl_crash_calls(PyThreadState *ts, sl_state *state);

/* ------------------------------------------------------------------ can_park.c, park.c, resume.c */

/* The call of a primitive in which a tasklet waits. */
typedef struct {
    /* Where its arguments are, those by keyword included. NULL outside of primitives, &sl_iterating where the
     * interpreter asked for the next value of an iteration, &sl_interrupted where a limit of run() has interrupted
     * the tasklet. */
    PyObject *const *args;
    int count;
    int gives_none;
    PyCFunction function;
} sl_pending;

/* The pending call of a tasklet that can be parked, as it lies on the stack of the innermost frame. */
typedef struct {
    int values;   /* in the frame, variables included */
    int operands; /* the number of these that are operands of the pending call */
    int length;   /* of the call's instruction, see call_length() */
} sl_call_layout;

/* Why a tasklet cannot be parked. */
typedef enum {
    SL_NONE,
    SL_IN_C,        /* C code runs in it */
    SL_NOT_A_CALL,  /* the code does not wait in a call of a primitive */
    SL_C_BETWEEN,   /* the code called C code that called back into Python */
    SL_CLEARING,    /* the code is that of a destructor */
    SL_TRACING,     /* it waits in a trace or profile function */
    SL_INTERRUPTED, /* a limit of run() has interrupted it */
} sl_refusal_kind;

/* What an instruction does. */
typedef enum {
    SL_DOES_OTHER,
    SL_DOES_CALL,
    SL_DOES_CALL_STARRED, /* with * or ** */
    SL_DOES_ATTRIBUTE,
    SL_DOES_ITEM,
    SL_DOES_OPERATOR,
    SL_DOES_LOOP,  /* iter() or next() of a loop */
    SL_DOES_ENTER, /* the beginning of a with block */
    SL_DOES_EXIT,  /* the end of one, with an exception in flight */
} sl_does;

/* Why a tasklet cannot be parked, and where. */
typedef struct {
    sl_refusal_kind kind;
    PyCodeObject *code;   /* of the Python function concerned: borrowed; NULL if there is none */
    int at;               /* the offset of its instruction, in bytes */
    sl_does what;         /* what the instruction does */
    PyObject *callee;     /* what it called: NULL if that is not known; see sl_is_living */
    PyCodeObject *called; /* of the Python function that C code has called for it: borrowed, or NULL */
} sl_refusal;

/* What evaluates frames. */
typedef enum {
    SL_INTERPRETER, /* CPython's own function, which can continue a frame */
    SL_COMPILER,    /* perhaps CPython's just-in-time compiler: a call may be pending in compiled code */
    SL_OTHER,       /* a function set by another library (PEP 523) */
} sl_evaluator_kind;

extern char sl_iterating;
extern char sl_interrupted;

int sl_can_park(sl_state *state, const sl_pending *call, sl_call_layout *layout, sl_refusal *why);
int sl_is_living(PyObject *pointer);
int sl_parked_values(sl_state *state);
size_t sl_parked_size(sl_state *state);
size_t sl_parked_room(sl_state *state);
void sl_park(sl_state *state, const sl_call_layout *layout, sl_state *to, size_t size);
int sl_wake(PyThreadState *ts, sl_state *state, char *end, size_t stack, sl_state *from);
PyObject *sl_resume(PyThreadState *ts, sl_state *state, PyObject *value, char *evaluating);
void sl_drop_parked(PyThreadState *ts, sl_state *state);
sl_evaluator_kind sl_evaluator(PyThreadState *ts);

/* ------------------------------------------------------------------ generators.c, asyncgen_awaitables.c */

PyObject *sl_generator_tuple(PyObject *o, PyObject *waiting);
PyObject *sl_new_generator(PyObject *type, int slots);
int sl_restore_generator(PyObject *o, PyObject *tuple);
PyObject *sl_awaitable_tuple(PyObject *o);
PyObject *sl_new_awaitable(PyObject *type, PyObject *generator, int state, PyObject *values);

/* ------------------------------------------------------------------ tasklet_frames.c */

PyObject *sl_list_frames(sl_state *state);
PyObject *sl_pack_frames(sl_state *state);
PyObject *sl_unpack_frames(PyObject *frames, PyObject *link);
sl_tasklet_frames *sl_read_frames(PyObject *list);
size_t sl_frames_size(const sl_tasklet_frames *frames);
void sl_build_frames(const sl_tasklet_frames *frames, sl_state *state, PyObject *context, PyObject *exception);
int sl_iterates(sl_state *state);
PyObject *sl_handled(sl_state *state);
