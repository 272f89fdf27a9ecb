//! `schedule()` and `schedule_remove()`: other tasklets of the ring run, and the caller stays in it or leaves it. And
//! calls that need not wait, in a loop of a tasklet that is a thread.

use crate::engine::departure::{depart, plan_departure};
use crate::engine::switch::{PREFETCH_FROM, prefetch_next, switch_and_resume};
use crate::engine::{run_limits, throw};
use crate::model::settings::exited;
use crate::model::thread::{Moment, Sched};
use crate::model::world::world;
use crate::parking::stacks::prepare;
use crate::python::args::{self, arguments};
use crate::python::objects::*;
use crate::scheduler::entry::Entered;
use crate::scheduler::ring::{leave_value, unlink_running};
use crate::scheduler::{entry, hooks, scopes, timers};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ptr::null_mut;

pub unsafe extern "C" fn schedule(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let Ok(value) = (unsafe { return_value("schedule", args, count, names) }) else { return null_mut() };
    give(do_schedule(value, Pending::call(schedule as _, args, arguments(count, names))))
}

/// `schedule(value)`; null means the calling tasklet.
#[inline(always)]
pub fn do_schedule(value: Obj, call: Pending) -> Res<Obj> {
    let entered = entry::enter()?;
    let s = entered.s;
    let me = s.current();
    throw::raise_pending(me)?;
    scopes::refuse(me)?;
    let value = if value.is_null() { me.obj() } else { value };
    let next = world(|w| w.right_neighbour_payload(me.id()));
    if std::ptr::eq(next, me) {
        me.seat().pending.set(call);
        return alone(entered, value);
    }
    entered.may_switch()?;
    prepare(s, next)?;
    me.seat().pending.set(call);
    keep(s, value);
    let many = world(|w| {
        w.run_now_in(s.id(), next.id());
        w.run_count(s.id()) >= PREFETCH_FROM
    });
    if many {
        prefetch_next(next);
    }
    // SAFETY: nothing is owned in this frame.
    unsafe { switch_and_resume(s, next) }
}

/// `schedule()` where the caller is alone in the ring: no switch, unless a soft limit ends here.
#[inline(never)]
fn alone(entered: Entered, value: Obj) -> Res<Obj> {
    if !hooks::watched() || !entered.can_switch() {
        return Ok(new_ref(value));
    }
    let s = entered.s;
    if s.waits.are_armed() {
        timers::wake_due(s, Moment::Running);
        throw::raise_pending(s.current())?;
        let next = world(|w| w.right_neighbour_payload(s.current().id()));
        if !std::ptr::eq(next, s.current()) {
            prepare(s, next)?;
            keep(s, value);
            world(|w| w.run_now_in(s.id(), next.id()));
            // SAFETY: nothing is owned in this frame.
            return unsafe { switch_and_resume(s, next) };
        }
    }
    let Some(next) = run_limits::yields_alone(s) else { return Ok(new_ref(value)) };
    keep(s, value);
    // SAFETY: nothing is owned in this frame.
    unsafe { switch_and_resume(s, next) }
}

/// Sets what the running tasklet's pending call will return.
#[inline(always)]
fn keep(s: &'static Sched, value: Obj) {
    leave_value(s, s.current(), if is_none(value) { null_mut() } else { new_ref(value) });
}

/// One call in this number of calls that do not wait lets the other tasklets run.
const MOST_CALLS: u32 = 16;

/// For calls with which a loop asks whether another thread has done something, and for calls that may find again and
/// again that they need not wait: a native thread is interrupted in such a loop, so a tasklet that is a thread lets the
/// others run at one in [`MOST_CALLS`]. Others never do. What follows finds out again what it knew before.
#[inline]
pub fn give_way() -> Res<()> {
    match entry::enter_begun() {
        Some(entered) if entered.s.current().flags.get().gives_way => give_way_at_times(entered),
        _ => Ok(()),
    }
}

#[cold]
fn give_way_at_times(entered: Entered) -> Res<()> {
    let calls = &entered.s.calls;
    calls.set((calls.get() + 1).min(MOST_CALLS));
    if calls.get() < MOST_CALLS || !entered.can_switch() || exited() {
        return Ok(());
    }
    calls.set(0);
    do_schedule(null_mut(), Pending::NONE).map(drop_ref)
}

/// The optional argument `retval`: borrowed, null if it was not given.
///
/// # Safety
/// The arguments are those of a METH_FASTCALL | METH_KEYWORDS call.
#[inline(always)]
unsafe fn return_value(name: &str, args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<Obj> {
    if count == 0 && names.is_null() {
        return Ok(null_mut());
    }
    // SAFETY: the caller's.
    unsafe { args::named(name, ["retval"], args, count, names) }.map(|[value]| value)
}

pub unsafe extern "C" fn schedule_remove(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let Ok(value) = (unsafe { return_value("schedule_remove", args, count, names) }) else {
        return null_mut();
    };
    give(do_schedule_remove(value, Pending::call(schedule_remove as _, args, arguments(count, names))))
}

fn do_schedule_remove(value: Obj, call: Pending) -> Res<Obj> {
    let entered = entry::enter()?;
    let s = entered.s;
    let me = s.current();
    throw::raise_pending(me)?;
    let value = if value.is_null() { me.obj() } else { value };
    if me.is_main() && world(|w| w.right_neighbour(me.id()) == me.id() && w.watcher(s.id()) == me.id()) {
        return Ok(new_ref(value)); // no tasklet could resume it: nothing happens
    }
    let next = plan_departure(entered, None)?;
    me.seat().pending.set(call);
    keep(s, value);
    unlink_running(s);
    // SAFETY: nothing is owned in this frame.
    unsafe { depart(s, next) }
}
