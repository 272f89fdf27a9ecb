//! Making tasklets runnable, and taking the running one out of the ring.

use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::python::objects::*;
use crate::scheduler::{hooks, waits};

/// Wakes a tasklet with a bomb (or null), whatever it waits for, and makes it the running one of its ring.
/// The bomb is taken over.
pub fn deliver(s: &'static Sched, t: TaskletRef, bomb: Obj) {
    make_runnable(t);
    leave_value(s, t, bomb);
    world(|w| w.run_now(t.id()));
}

/// Appends a tasklet that is in no list to its thread's ring, which gets a reference, and wakes that
/// thread if it sleeps.
pub fn link(t: TaskletRef) {
    new_ref(t.obj());
    adopt_link(t);
}

/// As [`link`], for a tasklet that was taken from a queue: the queue's reference becomes the ring's.
pub fn adopt_link(t: TaskletRef) {
    waits::ends(t);
    if world(|w| w.link(t.id())) {
        t.scheduler().expect("a linked tasklet has a scheduler").wake();
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.linked(t);
    }
}

/// Makes a tasklet runnable, whatever it waits for: at the end of its thread's ring if it is not there.
pub fn make_runnable(t: TaskletRef) {
    if t.blocked() {
        world(|w| w.dequeue(t.id()));
        adopt_link(t);
    } else if !t.linked() {
        link(t);
    }
}

/// Puts a value, which is taken over, or null for None, where a tasklet will find it when it resumes.
/// The next tasklet to run drops what was there, so that no Python code runs here.
#[inline(always)]
pub fn leave_value(s: &'static Sched, t: TaskletRef, value: Obj) {
    let old = t.tempval.replace(value);
    if !old.is_null() {
        s.drop_later(old);
    }
}

/// Takes the running tasklet out of the ring and puts it in no list: the next tasklet to run drops the ring's
/// reference.
pub fn unlink_running(s: &'static Sched) {
    let me = s.current();
    world(|w| w.unlink(me.id()));
    s.drop_later(me.obj());
}

/// Makes a tasklet runnable that waits for something, with this result, which is taken over.
pub fn wake(s: &'static Sched, t: TaskletRef, value: Obj) {
    leave_value(s, t, value);
    make_runnable(t);
}
