//! How the running tasklet leaves the ring: plan which tasklet continues, then commit.

use crate::engine::deadlock::{Request, deadlock};
use crate::engine::switch::{prepared, resumed, switch};
use crate::model::bomb;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::parking::stacks::prepare;
use crate::python::objects::*;
use crate::scheduler::entry::Entered;
use crate::scheduler::idle::IdleAction;
use crate::scheduler::ring::link;
use crate::scheduler::{idle, ring, scopes};
use stackless_core::Turn;

/// What happens when the running tasklet leaves the ring.
#[derive(Clone, Copy)]
pub enum Departure {
    /// This tasklet continues. (It may not be in the ring yet: the caller of `run()`, which continues at the end.)
    Switch(TaskletRef),
    /// No tasklet of this thread can run; another thread may change that.
    Sleep,
}

/// Plans the departure of the running tasklet from the ring, to a queue or to no list. The error is
/// a deadlock, whose note explains why this `request` cannot be granted, or the Cancelled of a cancelled tasklet.
#[inline(always)]
pub fn plan_departure(entered: Entered, request: Request) -> Res<Departure> {
    let s = entered.s;
    let me = s.current();
    scopes::refuse(me)?;
    let neighbour = world(|w| w.right_neighbour_payload(me.id()));
    if !std::ptr::eq(neighbour, me) {
        entered.may_switch()?;
        prepare(s, neighbour)?;
        return Ok(Departure::Switch(neighbour));
    }
    let next = when_alone(s, me, request)?;
    entered.may_switch()?;
    Ok(next)
}

#[cold]
fn when_alone(s: &'static Sched, me: TaskletRef, request: Request) -> Res<Departure> {
    match idle::idle_action(s, me) {
        IdleAction::Resume(watcher) => Ok(Departure::Switch(watcher)),
        IdleAction::Sleep => Ok(Departure::Sleep),
        // Making the error may collect garbage, which runs code of the program.
        IdleAction::Deadlock(_) => Err(me.seat().call_back(|| deadlock(s, request))),
    }
}

/// Carries out a planned departure, after the running tasklet has left the ring, and returns what
/// its pending call returns.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn depart(s: &'static Sched, next: Departure) -> Res<Obj> {
    // SAFETY: the caller's.
    unsafe { leave(s, next) };
    resumed(s)
}

/// As [`depart`], without calling [`resumed`].
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn leave(s: &'static Sched, next: Departure) {
    match next {
        Departure::Switch(t) => {
            if world(|w| !w.in_ring(t.id())) {
                link(t);
            }
            // SAFETY: the caller's.
            unsafe { switch(s, t, Turn::Over) }
        }
        // SAFETY: the caller's.
        Departure::Sleep => unsafe { leave_to_sleep(s) },
    }
}

/// The running tasklet waits, and no tasklet of this thread can run: the thread sleeps on its stack.
///
/// # Safety
/// As [`switch`].
#[cold]
unsafe fn leave_to_sleep(s: &'static Sched) {
    let me = s.current();
    // It may be in no list, and a signal handler may drop the last reference.
    new_ref(me.obj());
    if s.sleep().is_err() {
        // No other thread can act (a deadlock), or a signal handler raised: the watcher gets the exception; this
        // tasklet does if it is the watcher itself.
        let watcher = object(world(|w| w.watcher(s.id())));
        let bomb = bomb::of_raised();
        ring::deliver(s, watcher, bomb);
    }
    let next = s.runs_next().expect("the sleep has an end");
    s.drop_later(me.obj());
    // A fresh tasklet may have been put into the empty ring by another thread.
    let next = prepared(s, next);
    if !std::ptr::eq(next, me) {
        // SAFETY: the caller's.
        unsafe { switch(s, next, Turn::Over) }
    }
}
