/* For the garbage collector: what a suspended tasklet holds, as far as it can be known. */
#include "state.h"
#include "event_loop.h"
#include "instruction.h"

/* True if the generator of this frame does not visit its values because it executes a call of C code. From 3.14 on
 * it knows how many values it has then. */
static inline int hides_values(frame_t *f)
{
    return !PY_GE(3, 14) && f->owner == FRAME_OWNED_BY_GENERATOR && value_count(f) < 0;
}

/* The number of values to visit in a frame in the middle of a call. If not all of them are known these are the
 * variables. */
static int known_values(sl_state *s, frame_t *f, int top)
{
    if (top >= 0 && f == state_frame(s)) {
        return top;
    }
    const int count = top < 0 ? -1 : value_count(f);
    if (count >= 0) {
        return count;
    }
    return top < 0 ? code_of(f)->co_nlocalsplus : sl_values_during_loop(f);
}

/* Frames that belong to generators are visited by these. The values on the evaluation stack of the innermost frame
 * are visited if it is known how many values it has (`top`, variables included; else -1), and then those of the
 * other frames as well: they wait for one another. A value that is not visited only makes a cycle through it look
 * reachable. */
int sl_traverse(sl_state *s, int top, visitproc visit, void *arg)
{
    Py_VISIT(s->context);
    Py_VISIT(s->traceobj);
    Py_VISIT(s->profileobj);
    Py_VISIT(s->exc_state.exc_value);
    const int visited = sl_traverse_loop(s, visit, arg);
    if (visited != 0) {
        return visited;
    }
    for (frame_t *f = state_frame(s); f != NULL; f = f->previous) {
        const int owned = f->owner == FRAME_OWNED_BY_THREAD;
        if (is_shim(f) || (!owned && !hides_values(f))) {
            continue;
        }
        int result = 0;
        if (owned) {
            Py_VISIT(f->frame_obj);
            Py_VISIT(f->f_locals);
            result = visit_value(function_value(f), visit, arg);
            if (result == 0) {
                result = visit_value(code_value(f), visit, arg);
            }
        }
        const int count = known_values(s, f, top);
        for (int i = 0; i < count && result == 0; i++) {
            result = visit_value(f->localsplus[i], visit, arg);
        }
        if (result != 0) {
            return result;
        }
    }
    return 0;
}
