//! How a tasklet ends, and where its uncaught exception goes.

use crate::bomb;
use crate::hooks::ON_ERROR;
use crate::kernel::{adopt_link, link, object, world};
use crate::module;
use crate::py::*;
use crate::tasklet::T;
use crate::thread::{self, Sched};
use pyo3_ffi::*;
use stackless_core::Idle;
use stackless_cpython as cpython;

/// Wakes a tasklet with a bomb (or null), wherever it waits; it is the running one of its ring from
/// now on. The bomb is taken over.
pub fn deliver(t: T, bomb: Obj) {
    if t.blocked() {
        world(|w| w.dequeue(t.tid()));
        adopt_link(t);
    } else if !t.linked() {
        link(t);
    }
    let old = t.tempval.replace(bomb);
    world(|w| w.run_now(t.tid()));
    if let (false, Some(s)) = (old.is_null(), t.scheduler()) {
        s.drop_later(old);
    }
}

/// The running tasklet's function has returned, or raised. Takes the tasklet out of everything and
/// says who goes on. Its own stack stays in use until then.
pub fn end(s: &'static Sched, returned: bool) -> T {
    let me = s.current();
    let mut target = if returned { None } else { uncaught(s, me) };
    // SAFETY: the running tasklet's own state. This may run Python code, hence before anything else.
    unsafe { cpython::finish(s.ts, me.seat().state()) };
    clear(&me.tempval);

    let alone = world(|w| w.right_neighbour(me.tid()) == me.tid());
    let idle = (alone && target.is_none()).then(|| world(|w| w.when_idle(me.tid())));
    match idle {
        Some(Idle::Resume(watcher)) => link(object(watcher)),
        Some(Idle::Stuck(watcher)) if !s.others_can_act() => {
            target = Some((object(watcher), stuck_bomb(object(watcher))));
        }
        _ => {}
    }
    // The target may be a tasklet of the ring: it does not leave it together with us.
    world(|w| w.unlink(me.tid()));
    if let Some((t, bomb)) = target {
        deliver(t, bomb);
    }
    if s.runs_next().is_none() && s.sleep().is_err() {
        let watcher = object(world(|w| w.watcher(s.hid())));
        deliver(watcher, bomb::of_raised());
    }
    s.drop_later(me.obj());
    s.runs_next().expect("somebody goes on")
}

/// For a watcher that waits in a channel, when the last tasklet that could serve it has ended.
fn stuck_bomb(watcher: T) -> Obj {
    let receiving =
        world(|w| w.waits(watcher.tid())).is_some_and(|(_, waits)| waits != stackless_core::Waits::ToSend);
    let text = if receiving {
        "the main tasklet is receiving without a sender available."
    } else {
        "the main tasklet is sending without a receiver available."
    };
    let _raised = runtime_error(text);
    bomb::of_raised()
}

/// An exception leaves the tasklet's function. Who is to get it?
fn uncaught(s: &'static Sched, me: T) -> Option<(T, Obj)> {
    // SAFETY: the exception types exist.
    let system_exit = unsafe { PyExc_SystemExit };
    let exception = take_exception();
    if is_subclass(exception[0], module::tasklet_exit()) {
        exception.into_iter().for_each(drop_ref);
        return None;
    }
    if is_subclass(exception[0], system_exit) {
        if is_main_thread() {
            exit_process(s, me, exception);
        } else {
            exception.into_iter().for_each(drop_ref);
        }
        return None;
    }
    let exception = match handle(exception) {
        Ok(()) => return None,
        Err(exception) => exception,
    };
    let watcher = object(world(|w| w.watcher(s.hid())));
    set_exception(exception);
    Some((watcher, bomb::of_raised()))
}

fn is_main_thread() -> bool {
    unsafe extern "C" {
        // Exported by CPython, declared in its intrcheck.h.
        fn _PyOS_IsMainThread() -> i32;
    }
    // SAFETY: callable from anywhere.
    unsafe { _PyOS_IsMainThread() != 0 }
}

/// Offers the exception to the error handler. What the handler raises goes on instead.
fn handle(exception: [Obj; 3]) -> Result<(), [Obj; 3]> {
    match ON_ERROR.offer(exception) {
        Err(exception) => Err(exception),
        Ok(Ok(())) => Ok(()),
        Ok(Err(Raised)) => Err(take_exception()),
    }
}

/// SystemExit in a tasklet of the process's main thread: the others are killed, and then main gets
/// it, so that the interpreter never exits on a tasklet's stack.
fn exit_process(s: &'static Sched, me: T, exception: [Obj; 3]) {
    let main = s.main();
    let others = world(|w| w.tasklets_of(s.hid()));
    for t in others {
        let t = object(t);
        let waits_or_runs = t.started() || t.linked();
        if !waits_or_runs || std::ptr::eq(t, me) || std::ptr::eq(t, main) {
            continue;
        }
        match thread::exit_bomb() {
            Ok(bomb) => crate::throw::leave_for_later(t, bomb),
            Err(Raised) => write_unraisable(t.obj()),
        }
    }
    set_exception(exception);
    let bomb = bomb::of_raised();
    if world(|w| w.in_ring(main.tid())) {
        // To the end of the ring, behind those that die.
        world(|w| {
            w.unlink(main.tid());
            w.link(main.tid())
        });
        let old = main.tempval.replace(bomb);
        s.drop_later(old);
    } else {
        crate::throw::leave_for_later(main, bomb);
    }
}
