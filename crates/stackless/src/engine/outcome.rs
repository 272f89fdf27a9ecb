//! The outcome of a tasklet, for `tasklet.join()`: what its function returned or raised.
//!
//! `join()` receives from a channel of the tasklet's own, which the program does not see. At the end all tasklets
//! that wait there get the outcome. A tasklet's `sequel` is this channel until the end, then the outcome (a value or
//! a bomb) if it was asked for before the end.

use crate::model::channel;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::model::{bomb, classes, thread};
use crate::python::objects::*;
use crate::scheduler::ring::adopt_link;
use crate::scheduler::{alts, scopes};
use pyo3_ffi::*;
use stackless_core::Direction;
use std::ptr::null_mut;

pub fn outcome(t: TaskletRef) -> Res<Obj> {
    let kept = t.sequel.get();
    if kept.is_null() || !t.flags.get().has_outcome {
        return Ok(none());
    }
    bomb::unpack(new_ref(kept))
}

/// True if a tasklet waits for its end.
pub fn is_joined(t: TaskletRef) -> bool {
    channel::of_end(t).is_some_and(|ch| world(|w| w.balance(ch.id())) < 0)
}

/// The running tasklet's function has returned `result`, which is taken over and kept if it is wanted: in `kwargs`,
/// which is free by then.
#[inline(always)]
pub fn returned(result: Obj) {
    let t = thread::of_running_tasklet().current();
    if t.flags.get().keeps_result {
        drop_ref(t.kwargs.replace(result));
    } else {
        drop_ref(result);
    }
}

/// The running tasklet ends with an uncaught exception. Tasklets that join it get the exception; without
/// them, it is given back, and goes to the error handler or to the watcher.
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

/// The running tasklet ends with an uncaught exception. If it is a member of a task group, the group gets it: its end,
/// if this is the `Cancelled` of a scope around it or around the group; else an error, which `join()` raises as well.
/// Other exceptions, and TaskletExit, are given back; and errors if the block of the group is over, so that none is lost.
pub fn failed_in_group(t: TaskletRef, exception: [Obj; 3]) -> Result<(), [Obj; 3]> {
    let [kind, value, traceback] = exception;
    let group = scopes::group_of(t).filter(|_| !is_subclass(kind, classes::tasklet_exit()));
    let Some(group) = group else { return Err(exception) };
    if scopes::is_own_end(group, t, kind, value) {
        exception.into_iter().for_each(drop_ref);
        return Ok(());
    }
    if !scopes::takes_errors(group) {
        return Err(exception);
    }
    if !traceback.is_null() {
        // SAFETY: an exception and its traceback.
        unsafe { PyException_SetTraceback(value, traceback) };
    }
    let error = new_ref(value);
    let Raised = set_exception(exception);
    drop_ref(t.kwargs.replace(bomb::of_raised()));
    scopes::fail(group, error);
    scopes::cancel(group);
    Ok(())
}

/// A tasklet has ended, or its thread has: tasklets that wait for its end continue.
pub fn ended(s: &'static Sched, t: TaskletRef) {
    let outcome = t.kwargs.replace(null_mut());
    let joined = channel::of_end(t);
    if outcome.is_null() && joined.is_none() {
        return;
    }
    while let Some(tid) = joined.and_then(|ch| world(|w| w.first_waiting(ch.id()))) {
        let value = if outcome.is_null() { outcome } else { new_ref(outcome) };
        let (waiter, old) = alts::claim(s, tid, Direction::Send, value);
        if !old.is_null() {
            s.drop_later(old);
        }
        if waiter.scheduler().is_some() {
            adopt_link(waiter);
        } else {
            s.drop_later(waiter.obj());
        }
    }
    channel::forget_end(t);
    let old = t.sequel.replace(outcome);
    if !old.is_null() {
        s.drop_later(old);
    }
    t.set_flags(|f| (f.keeps_result, f.has_outcome) = (false, true));
}

/// Takes out the outcome of a tasklet that has ended and is bound again, to be dropped. Tasklets that wait for
/// the end of one that has not begun still wait.
pub fn take_outcome(t: TaskletRef) -> Obj {
    if !t.flags.get().has_outcome {
        return null_mut();
    }
    t.set_flags(|f| f.has_outcome = false);
    t.sequel.replace(null_mut())
}
