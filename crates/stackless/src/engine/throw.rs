//! Exceptions from one tasklet into another: kill, throw, raise_exception.

use crate::engine::outcome;
use crate::engine::switch::switch_and_resume;
use crate::model::tasklet::TaskletRef;
use crate::model::world::world;
use crate::model::{bomb, classes};
use crate::parking::stacks::prepare;
use crate::python::objects::*;
use crate::scheduler::entry::Entered;
use crate::scheduler::hooks;
use crate::scheduler::ring::{leave_value, make_runnable};
use crate::scheduler::{entry, scopes, waits};
use stackless_cpython::Pending;
use std::ptr::null_mut;

/// Makes a tasklet runnable with a bomb that is raised when its turn comes. The bomb is taken over.
pub fn leave_for_later(t: TaskletRef, bomb: Obj) {
    make_runnable(t);
    drop_ref(t.tempval.replace(bomb));
}

/// As [`leave_for_later`], with TaskletExit. Without memory for it, the error is printed.
pub fn kill_later(t: TaskletRef) {
    match exit_bomb() {
        Ok(bomb) => {
            if let Some(recorder) = hooks::recorder() {
                recorder.thrown(t, recorder.describe_bomb(bomb));
            }
            leave_for_later(t, bomb);
        }
        Err(Raised) => write_unraisable(t.obj()),
    }
}

pub fn exit_bomb() -> Res<Obj> {
    bomb::of_class(classes::tasklet_exit(), &[])
}

/// Raises an exception that was left for the running tasklet: at its next switching call, before
/// that call overwrites its tempval.
#[inline(always)]
pub fn raise_pending(me: TaskletRef) -> Res<()> {
    let value = me.tempval.get();
    if value.is_null() || !bomb::is_bomb(value) {
        return Ok(());
    }
    if world(|w| !w.in_ring(me.id())) {
        return Ok(()); // it waits, and the exception is what it sends
    }
    let value = bomb::unpack(me.tempval.replace(null_mut()))?;
    me.seat().call_back(|| drop_ref(value));
    Ok(())
}

/// Throws into any tasklet. The bomb is taken over.
pub fn throw(t: TaskletRef, bomb: Obj, pending: bool, call: Pending) -> Res<()> {
    let text = hooks::recorder().map_or(0, |recorder| recorder.describe_bomb(bomb));
    if t.scheduler().is_none() {
        return throw_to_orphan(t, bomb);
    }
    let entered = match entry::enter_anywhere() {
        Ok(entered) => entered,
        Err(raised) => {
            drop_ref(bomb);
            return Err(raised);
        }
    };
    // A thread's first use of tasklets may run the schedule callback, during which the tasklet's thread may end.
    let Some(owner) = t.scheduler() else {
        return throw_to_orphan(t, bomb);
    };
    let s = entered.s;
    if std::ptr::eq(s.current(), t) && std::ptr::eq(s, owner) {
        return Err(bomb::raise_bomb(bomb));
    }
    if !t.alive() {
        return throw_to_dead(bomb);
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.thrown(t, text);
    }
    if !std::ptr::eq(s, owner) {
        throw_to_other_thread(t, bomb, pending);
        return Ok(());
    }
    if pending {
        leave_for_later(t, bomb);
        return Ok(());
    }
    throw_now(entered, t, bomb, call)
}

fn throw_now(entered: Entered, t: TaskletRef, bomb: Obj, call: Pending) -> Res<()> {
    let s = entered.s;
    if entered.at_rest().is_err() {
        drop_ref(bomb);
        return Err(Raised);
    }
    if !t.started() && bomb::is_of(bomb, classes::tasklet_exit()) {
        drop_ref(bomb);
        return end_unstarted(entered, t, call);
    }
    if entered.may_switch().is_err() || prepare(s, t).is_err() {
        drop_ref(bomb);
        return Err(Raised);
    }
    make_runnable(t);
    leave_value(s, t, bomb);
    world(|w| w.run_now(t.id()));
    s.current().seat().pending.set(call);
    // SAFETY: nothing is owned here.
    unsafe { switch_and_resume(s, t) }.map(drop_ref)
}

/// Takes a tasklet that never began out of the queue of a channel: a restored one may wait there.
fn leave_queue(t: TaskletRef) {
    if t.blocked() {
        world(|w| w.dequeue(t.id()));
        if let Some(recorder) = hooks::recorder() {
            recorder.unlinked(t);
        }
        drop_ref(t.obj()); // the queue's; the caller has one as well
    }
}

/// Ends a tasklet that never began, without a stack. As after any end, its right neighbour is next.
fn end_unstarted(entered: Entered, t: TaskletRef, call: Pending) -> Res<()> {
    let s = entered.s;
    leave_queue(t);
    if !t.linked() {
        if let Some(recorder) = hooks::recorder() {
            recorder.gone(t);
        }
        let owned = t.take_all();
        scopes::end_all(t);
        outcome::ended(s, t);
        owned.into_iter().for_each(drop_ref);
        return Ok(());
    }
    let me = s.current();
    let next = world(|w| w.right_neighbour_payload(t.id()));
    let switches = !std::ptr::eq(next, me);
    if switches {
        entered.may_switch()?;
        prepare(s, next)?;
    }
    world(|w| w.unlink(t.id()));
    for owned in t.take_all().into_iter().filter(|o| !o.is_null()) {
        s.drop_later(owned);
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.unlinked(t);
    }
    scopes::end_all(t);
    outcome::ended(s, t);
    s.drop_later(t.obj()); // the ring's
    if !switches {
        s.drop_deferred();
        return Ok(());
    }
    world(|w| w.run_now(next.id()));
    me.seat().pending.set(call);
    // SAFETY: nothing is owned here.
    unsafe { switch_and_resume(s, next) }.map(drop_ref)
}

/// Ends a tasklet that never began, without a switch: it is taken out of its ring.
pub fn end_unstarted_later(t: TaskletRef) {
    leave_queue(t);
    let linked = t.linked();
    if linked {
        world(|w| w.unlink(t.id()));
        if let Some(recorder) = hooks::recorder() {
            recorder.unlinked(t);
        }
    }
    let owned = t.take_all();
    scopes::end_all(t);
    if let Some(s) = t.scheduler() {
        outcome::ended(s, t);
    }
    owned.into_iter().for_each(drop_ref);
    if linked {
        drop_ref(t.obj());
    }
}

/// Throws into a tasklet of another thread: it is next in that thread's ring; nothing switches here.
fn throw_to_other_thread(t: TaskletRef, bomb: Obj, pending: bool) {
    if pending || world(|w| w.in_ring(t.id())) {
        return leave_for_later(t, bomb);
    }
    let queued = t.blocked();
    if queued {
        world(|w| w.dequeue(t.id()));
    } else {
        new_ref(t.obj());
    }
    let old = t.tempval.replace(bomb);
    waits::ends(t);
    if world(|w| w.link_next(t.id())) {
        t.scheduler().expect("checked by the caller").wake();
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.linked(t);
    }
    drop_ref(old);
}

fn throw_to_dead(bomb: Obj) -> Res<()> {
    let exit = bomb::is_of(bomb, classes::tasklet_exit());
    drop_ref(bomb);
    if exit { Ok(()) } else { Err(runtime_error("You cannot throw to a dead tasklet")) }
}

fn throw_to_orphan(t: TaskletRef, bomb: Obj) -> Res<()> {
    let exit = bomb::is_of(bomb, classes::tasklet_exit());
    drop_ref(bomb);
    if exit && !t.started() { Ok(()) } else { Err(runtime_error("tasklet has no thread")) }
}

/// `t.kill(pending)`.
pub fn kill(t: TaskletRef, pending: bool, call: Pending) -> Res<()> {
    if t.scheduler().is_none() {
        // Its frames cannot run any more: it has ended. Only a queue may still hold it.
        if t.blocked() {
            world(|w| w.dequeue(t.id()));
            if let Some(recorder) = hooks::recorder() {
                recorder.unlinked(t);
            }
            drop_ref(t.obj());
        }
        return Ok(());
    }
    if !t.alive() {
        return Ok(());
    }
    throw(t, exit_bomb()?, pending, call)
}
