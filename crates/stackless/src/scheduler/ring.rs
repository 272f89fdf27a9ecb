//! Making tasklets runnable, and taking them out of the ring.

use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::python::objects::*;
use crate::scheduler::{hooks, waits};

/// Wakes a tasklet with a bomb (or null), wherever it waits; it is the running one of its ring from
/// now on. The bomb is taken over.
pub fn deliver(s: &'static Sched, t: TaskletRef, bomb: Obj) {
    make_runnable(t);
    leave_value(s, t, bomb);
    world(|w| w.run_now(t.id()));
}

/// Appends a tasklet that stands in no list to its thread's ring, which then owns it, and wakes that
/// thread if it sleeps.
pub fn link(t: TaskletRef) {
    new_ref(t.obj());
    adopt_link(t);
}

/// The same for one that was taken from a queue: the reference is handed on.
pub fn adopt_link(t: TaskletRef) {
    waits::ends(t);
    if world(|w| w.link(t.id())) {
        t.scheduler().expect("a linked tasklet has a scheduler").wake();
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.linked(t);
    }
}

/// Makes a tasklet runnable, wherever it waits: at the end of its thread's ring if it is not there.
pub fn make_runnable(t: TaskletRef) {
    if t.blocked() {
        world(|w| w.dequeue(t.id()));
        adopt_link(t);
    } else if !t.linked() {
        link(t);
    }
}

/// Puts a value, which is taken over, or null for None, where a tasklet will find it when it resumes.
/// What was there is dropped by whoever runs next, so that no Python code runs here.
#[inline(always)]
pub fn leave_value(s: &'static Sched, t: TaskletRef, value: Obj) {
    let old = t.tempval.replace(value);
    if !old.is_null() {
        s.drop_later(old);
    }
}

/// The running tasklet leaves the ring for nowhere: whoever runs next drops the ring's reference.
pub fn unlink_running(s: &'static Sched) {
    let me = s.current();
    world(|w| w.unlink(me.id()));
    s.drop_later(me.obj());
}

/// Makes a tasklet runnable that waits for something, and leaves it the result, taken over.
pub fn wake(s: &'static Sched, t: TaskletRef, value: Obj) {
    leave_value(s, t, value);
    make_runnable(t);
}
