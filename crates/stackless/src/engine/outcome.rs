//! `tasklet.join()`: waiting for the end of a tasklet, and what its function returned.
//!
//! Who joins receives from a channel of the tasklet's own, which nobody else sees. At the end all of
//! them get the outcome. A tasklet's `sequel` is this channel until it ends, then the outcome, if
//! anybody asked for it before the end: a value, or a bomb.

use crate::model::channel::{Channel, ChannelRef};
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::model::{bomb, thread};
use crate::python::objects::*;
use crate::scheduler::ring::{adopt_link, leave_value};
use std::ptr::null_mut;

/// Where those wait who join, if there ever were any and it has not ended since.
pub fn channel_of(t: TaskletRef) -> Option<ChannelRef> {
    let o = t.sequel.get();
    // SAFETY: before the end, the sequel is a channel.
    (!o.is_null() && !t.flags.get().has_outcome).then(|| unsafe { Channel::from(o) })
}

pub fn outcome(t: TaskletRef) -> Res<Obj> {
    let kept = t.sequel.get();
    if kept.is_null() || !t.flags.get().has_outcome {
        return Ok(none());
    }
    bomb::unpack(new_ref(kept))
}

/// Does anybody wait for its end?
pub fn is_joined(t: TaskletRef) -> bool {
    channel_of(t).is_some_and(|ch| world(|w| w.balance(ch.id())) < 0)
}

/// The running tasklet's function has returned which is taken over. (`kwargs` is free by then.)
#[inline(always)]
pub fn returned(result: Obj) {
    let t = thread::of_running_tasklet().current();
    if t.flags.get().keeps_result {
        drop_ref(t.kwargs.replace(result));
    } else {
        drop_ref(result);
    }
}

/// The running tasklet ends with an exception that nobody caught. Those who join get it; without
/// them, it is given back, and goes where it always went.
pub fn failed(t: TaskletRef, exception: [Obj; 3]) -> Result<(), [Obj; 3]> {
    if is_joined(t) {
        let Raised = set_exception(exception);
        drop_ref(t.kwargs.replace(bomb::of_raised()));
        return Ok(());
    }
    if t.flags.get().keeps_result {
        let Raised = runtime_error(
            "the tasklet ended with an exception, which went to the caller of run() or to the error handler",
        );
        drop_ref(t.kwargs.replace(bomb::of_raised()));
    }
    Err(exception)
}

/// A tasklet has ended, or its thread has: those who wait for that go on.
pub fn ended(s: &'static Sched, t: TaskletRef) {
    let outcome = t.kwargs.replace(null_mut());
    let joined = channel_of(t);
    if outcome.is_null() && joined.is_none() {
        return;
    }
    while let Some(tid) = joined.and_then(|ch| world(|w| w.first_waiting(ch.id()))) {
        let waiter = object(tid);
        world(|w| w.dequeue(tid));
        if waiter.scheduler().is_some() {
            leave_value(s, waiter, if outcome.is_null() { outcome } else { new_ref(outcome) });
            adopt_link(waiter);
        } else {
            s.drop_later(waiter.obj());
        }
    }
    let old = t.sequel.replace(outcome);
    if !old.is_null() {
        s.drop_later(old);
    }
    t.set_flags(|f| (f.keeps_result, f.has_outcome) = (false, true));
}

/// A tasklet that ended is bound anew: its outcome is taken out, to be dropped. Those who wait for
/// the end of one that has not begun go on waiting.
pub fn take_outcome(t: TaskletRef) -> Obj {
    if !t.flags.get().has_outcome {
        return null_mut();
    }
    t.set_flags(|f| f.has_outcome = false);
    t.sequel.replace(null_mut())
}
