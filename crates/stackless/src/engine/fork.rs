//! The child of a fork, where tasklets that are threads for `threading` exist only if they have forked.
//!
//! Tasklets that the program has made continue in the child, as in the parent. With native threads only the one that
//! forked exists there: so a tasklet that is a thread does not continue, and none of the others does if the one that
//! forked is a thread. No code of them runs any more, not even `finally` blocks. Their stacks stay as they are.

use crate::engine::{nesting, outcome, run_limits};
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::python::objects::*;
use crate::scheduler::{alts, hooks, limits, scopes, waits};
use stackless_core::ThreadId;
use stackless_cpython as cpython;

/// True if a tasklet of the calling thread is one that exists in the child of a fork by the running one.
pub fn exists_in_child(s: &'static Sched, t: TaskletRef) -> bool {
    let me = s.current();
    std::ptr::eq(t, me) || !(me.flags.get().is_thread || t.flags.get().is_thread)
}

/// Called in the child.
pub fn after_fork(s: &'static Sched) {
    let me = s.current();
    for t in world(|w| w.tasklets_of(s.id())).into_iter().map(object) {
        if !exists_in_child(s, t) {
            leave_behind(s, t);
        }
    }
    if me.flags.get().is_thread {
        run_limits::end_limit(s);
        // It takes the place of the main tasklet: what is for the innermost caller of `run()` is for it.
        new_ref(me.obj());
        world(|w| w.watch(me.id()));
    }
}

fn leave_behind(s: &'static Sched, t: TaskletRef) {
    new_ref(t.obj());
    alts::leave_call(t);
    waits::ends(t);
    limits::end_all(t);
    scopes::end_all(t);
    if world(|w| w.is_linked(t.id())) {
        world(|w| if w.in_ring(t.id()) { w.unlink(t.id()) } else { w.dequeue(t.id()) });
        if let Some(recorder) = hooks::recorder() {
            recorder.unlinked(t);
        }
        s.drop_later(t.obj());
    }
    if t.is_main() {
        return; // its thread needs it; it is in no list
    }
    if !t.started() {
        s.drop_later(t.obj());
    } else {
        // The reference stays, and with it all that its stack refers to.
        t.seat().last_level.set(nesting::nesting(t).min(u16::MAX.into()) as u16);
        t.set_flags(|f| f.zombie = true);
        // SAFETY: it is suspended, and its state is never loaded again.
        unsafe { cpython::outlive(s.ts, t.seat().state()) };
    }
    outcome::ended(s, t);
    world(|w| w.set_thread(t.id(), ThreadId::NONE));
}
