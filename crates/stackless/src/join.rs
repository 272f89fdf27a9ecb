//! `tasklet.join()`: waiting for the end of a tasklet, and what its function returned.
//!
//! Who joins receives from a channel of the tasklet's own, which nobody else sees. At the end all of
//! them get the outcome. A tasklet's `sequel` is this channel until it ends, then the outcome, if
//! anybody asked for it before the end: a value, or a bomb.

use crate::args;
use crate::bomb;
use crate::channel::{self, C, Channel};
use crate::kernel::{adopt_link, leave_value, object, world};
use crate::module;
use crate::py::*;
use crate::sleep;
use crate::tasklet::T;
use crate::tasklet_type::this;
use crate::thread::{self, Sched};
use crate::throw;
use crate::types;
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ptr::null_mut;

unsafe extern "C" fn join(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    let (t, given) = unsafe { (this(o), args::named("join", ["timeout"], args, count, names)) };
    let call = Pending::call(join as _, args, module::arguments(count, names));
    give(given.and_then(|[timeout]| do_join(t, timeout, call)))
}

fn do_join(t: T, timeout: Obj, call: Pending) -> Res<Obj> {
    let time = sleep::time(timeout, "timeout")?;
    throw::raise_pending(thread::enter()?.s.current())?;
    if t.is_main() {
        return Err(runtime_error("cannot join a main tasklet: it ends with its thread"));
    }
    if t.is_current() && !t.flags.get().ended {
        return Err(runtime_error("cannot join the current tasklet"));
    }
    if !t.alive() {
        return outcome(t);
    }
    let ch = match channel_of(t) {
        Some(ch) => ch,
        None => {
            // SAFETY: a type; the reference goes into the cell.
            let made = check(unsafe { PyObject_CallNoArgs(module::CHANNEL.get().cast()) })?;
            if !t.alive() || channel_of(t).is_some() {
                drop_ref(made); // making it ran Python code
                return do_join(t, timeout, call);
            }
            drop_ref(t.sequel.replace(made));
            // SAFETY: a channel was just made.
            unsafe { Channel::from(made) }
        }
    };
    t.set_flags(|f| f.keeps_result = true);
    channel::receive(ch, time, call)
}

/// Where those wait who join, if there ever were any and it has not ended since.
fn channel_of(t: T) -> Option<C> {
    let o = t.sequel.get();
    // SAFETY: before the end, the sequel is a channel.
    (!o.is_null() && !t.flags.get().has_outcome).then(|| unsafe { Channel::from(o) })
}

fn outcome(t: T) -> Res<Obj> {
    let kept = t.sequel.get();
    if kept.is_null() || !t.flags.get().has_outcome {
        return Ok(none());
    }
    bomb::unpack(new_ref(kept))
}

/// Does anybody wait for its end?
pub fn is_joined(t: T) -> bool {
    channel_of(t).is_some_and(|ch| world(|w| w.balance(ch.cid())) < 0)
}

/// The running tasklet's function has returned this, which is taken over. (`kwargs` is free by then.)
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
pub fn failed(t: T, exception: [Obj; 3]) -> Result<(), [Obj; 3]> {
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
pub fn ended(s: &'static Sched, t: T) {
    let outcome = t.kwargs.replace(null_mut());
    let joined = channel_of(t);
    if outcome.is_null() && joined.is_none() {
        return;
    }
    while let Some(tid) = joined.and_then(|ch| world(|w| w.first_waiting(ch.cid()))) {
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
pub fn take_outcome(t: T) -> Obj {
    if !t.flags.get().has_outcome {
        return null_mut();
    }
    t.set_flags(|f| f.has_outcome = false);
    t.sequel.replace(null_mut())
}

unsafe extern "C" fn keep_result(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a tasklet.
    unsafe { this(o) }.set_flags(|f| f.keeps_result = true);
    none()
}

pub fn methods() -> Vec<PyMethodDef> {
    vec![
        types::method_keywords(
            "join",
            "join($self, /, timeout=None)\n--\n\nWait until this tasklet has ended; return what its function returned.\n\n\
             An exception that its function did not catch is raised here, in all who wait in join(), and\n\
             nowhere else. A killed tasklet gives None, and so does one that had ended before the first\n\
             join(), unless run_tasklet() started it. If its exception went elsewhere since nobody\n\
             waited, that is a RuntimeError. timeout: seconds, None for no limit; TimeoutError is raised\n\
             when they are over. Works from any thread. Raises RuntimeError for the current tasklet, for\n\
             main ones, and where nobody is left who could end it (deadlock).",
            join,
        ),
        types::method_noargs("_keep_result", "Its result is kept for join().", keep_result),
    ]
}
