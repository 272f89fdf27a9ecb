//! Interrupting the running tasklet in the middle of its Python code, when a limit of `run()` is reached.

use crate::engine::nesting::nesting;
use crate::engine::run_limits::{LIMITED, check_deadline, interrupt_pending};
use crate::engine::switch::switch;
use crate::model::tasklet::TaskletRef;
use crate::model::world::{object, world};
use crate::model::{bomb, thread};
use crate::python::objects::*;
use crate::scheduler::entry::{self, Entered};
use crate::scheduler::ring::{leave_value, make_runnable};
use stackless_core::Turn;
use stackless_cpython::{Answer, Pending};
use std::ffi::c_int;
use std::ptr::null_mut;

/// The calling thread, if a limit is in force in it.
fn limited() -> Option<Entered> {
    if LIMITED.get() == 0 {
        return None;
    }
    entry::enter_begun().filter(|entered| entered.s.run_limit.on.get())
}

pub unsafe extern "C" fn tick(count: c_int) -> Answer {
    let Some(entered) = limited() else { return Answer::Nothing };
    let s = entered.s;
    if entered.refused() && s.trap.get() == 0 {
        return Answer::Nothing; // a callback or a foreign stack: the time is not the tasklet's own
    }
    check_deadline(s);
    world(|w| w.tick(s.id(), count as u64));
    if !world(|w| w.due(s.id())) {
        return Answer::Nothing;
    }
    let me = s.current();
    let now = may_interrupt(entered);
    let nested = !now && !interrupt_pending(s, me) && nesting(me) > 0;
    me.set_flags(|f| f.interrupt_pending = if now { 0 } else { s.run_limit.number.get() });
    match (now, nested) {
        (true, _) => Answer::Now,
        (_, true) => Answer::Later,
        _ => Answer::Nothing,
    }
}

pub unsafe extern "C" fn interrupt(can_raise: c_int) -> c_int {
    let Some(entered) = limited() else { return 0 };
    if !try_interrupt(entered) {
        return 0;
    }
    let me = thread::of_running_tasklet().current();
    if can_raise != 0 || !me.has_bomb() {
        return if drop_or_raise(me).is_ok() { 0 } else { -1 };
    }
    me.set_flags(|f| f.must_raise = true);
    1
}

pub unsafe extern "C" fn settled() -> c_int {
    limited().is_none_or(|entered| !world(|w| w.due(entered.s.id())) || may_interrupt(entered)).into()
}

pub unsafe extern "C" fn must_raise() -> c_int {
    entry::enter_begun().is_some_and(|entered| entered.s.current().flags.get().must_raise).into()
}

pub unsafe extern "C" fn throw_in() {
    let me = thread::of_running_tasklet().current();
    me.set_flags(|f| f.must_raise = false);
    if drop_or_raise(me).is_ok() {
        let Raised = runtime_error("an exception was thrown into the tasklet, and taken away again");
    }
}

/// Drops what an interrupted tasklet finds when it continues, or raises it.
fn drop_or_raise(me: TaskletRef) -> Res<()> {
    bomb::unpack(me.tempval.replace(null_mut())).map(drop_ref)
}

fn may_interrupt(entered: Entered) -> bool {
    let s = entered.s;
    let me = s.current();
    let flags = me.flags.get();
    !flags.atomic
        && !entered.refused()
        && !s.in_channel_callback.get()
        && world(|w| w.in_ring(me.id()))
        && (flags.ignore_nesting || s.run_limit.ignore_nesting.get() || nesting(me) == 0)
}

/// Interrupts the running tasklet if its time is up and nothing forbids it. What it finds when
/// it continues is still its tempval.
fn try_interrupt(entered: Entered) -> bool {
    let s = entered.s;
    let me = s.current();
    if !world(|w| w.due(s.id())) || !may_interrupt(entered) {
        return false;
    }
    me.set_flags(|f| f.interrupt_pending = 0);
    let Some(owner) = world(|w| w.timer(s.id())).map(object) else { return false };
    if owner.has_bomb() {
        // It wakes with an exception instead, and cannot take the interrupted tasklet.
        make_runnable(owner);
        world(|w| w.run_now(owner.id()));
    } else {
        let linked = owner.linked();
        if world(|w| w.interrupt(me.id())).is_none() {
            return false;
        }
        if !linked {
            new_ref(owner.obj()); // for the ring
        }
        leave_value(s, owner, me.obj()); // the ring's reference to the interrupted one
    }
    me.seat().pending.set(Pending::interrupted());
    // SAFETY: nothing is owned in this frame.
    unsafe { switch(s, owner, Turn::Over) };
    s.drop_deferred();
    true
}

/// Called when what forbade an interrupt of the running tasklet may be over: a pending interrupt happens now.
pub fn retry() -> Res<()> {
    let Some(entered) = limited() else { return Ok(()) };
    if interrupt_pending(entered.s, entered.s.current()) && try_interrupt(entered) {
        return drop_or_raise(thread::of_running_tasklet().current());
    }
    Ok(())
}
