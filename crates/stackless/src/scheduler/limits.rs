//! `with stackless.timeout()`: a limit over a tasklet while it is in a block.
//!
//! When the time is over, TimeoutExit is raised in the tasklet: at once if it waits. If it is
//! runnable, its pending call has succeeded and returns its result (a value that was received
//! must not be lost); the exception is raised at its next switching call. The bomb for it is made
//! when the block is entered, so that nothing can fail when the time is over.

use crate::model::bomb;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::{Due, Moment, Sched};
use crate::model::world::world;
use crate::python::gil::Gil;
use crate::python::memory;
use crate::python::objects::*;
use crate::scheduler::ring::leave_value;
use crate::scheduler::{entry, ring, waits};
use pyo3_ffi::*;
use slab::Slab;
use stackless_reactor::{TimerId, now};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

struct Limit {
    /// Owned.
    t: TaskletRef,
    /// TimeoutExit: owned.
    bomb: Obj,
    /// None once it was reached.
    timer: Option<TimerId>,
    /// The next outer limit over the same tasklet: its number + 1, or 0.
    outer: u32,
}

static LIMITS: Gil<UnsafeCell<Slab<Limit>>> = Gil::new(UnsafeCell::new(Slab::new()));

/// The only access to the limits. `f` must not run Python code and not call this function again.
fn limits<R>(f: impl FnOnce(&mut Slab<Limit>) -> R) -> R {
    // SAFETY: the GIL, and the rule above.
    f(unsafe { &mut *LIMITS.get() })
}

/// Nanoseconds after which a limit tries again that found another exception on its way.
const AGAIN: u64 = 1_000_000;

/// The limits over a tasklet, innermost first.
fn limits_over(t: TaskletRef) -> impl Iterator<Item = usize> {
    let step = |at: u32| (at != 0).then(|| at as usize - 1);
    std::iter::successors(step(t.limits.get()), move |&number| {
        step(limits(|all| all.get(number).map_or(0, |limit| limit.outer)))
    })
}

/// The number of limits over a tasklet that were not reached yet.
pub fn armed_of(t: TaskletRef) -> u32 {
    limits_over(t).filter(|&number| limits(|all| all[number].timer.is_some())).count() as u32
}

/// When the first limit over a tasklet will be reached.
pub fn first_of(t: TaskletRef) -> Option<u64> {
    limits_over(t).filter_map(|number| limits(|all| all[number].timer.map(TimerId::at))).min()
}

/// Begins a limit over the running tasklet; `owner` is the exception's argument. Returns the limit's number.
pub fn start(owner: Obj, time: u64) -> Res<usize> {
    let s = entry::current()?;
    memory::enough()?;
    let (used, room) = limits(|all| (all.len(), all.capacity()));
    if used == room {
        memory::room_for::<(Limit, usize)>(2 * room + 8)?;
    }
    let kind = new_ref(TIMEOUT_EXIT.load(Relaxed));
    let bomb = bomb::new([kind, new_ref(owner), null_mut()])?;
    let t = s.current();
    new_ref(t.obj());
    let number = limits(|all| all.insert(Limit { t, bomb, timer: None, outer: t.limits.get() }));
    let timer = s.waits.timers.borrow_mut().start(now().saturating_add(time), Due::Limit(number));
    limits(|all| all[number].timer = Some(timer));
    t.limits.set(number as u32 + 1);
    t.extra.set(true);
    waits::count_armed(s, t, 1);
    Ok(number)
}

/// Ends a limit, whose block has been left, and removes its exception if that was not raised yet.
/// Unknown numbers are ignored.
pub fn stop(number: usize) {
    let Some(Limit { t, bomb, timer, outer }) = limits(|all| all.try_remove(number)) else { return };
    unchain(t, number, outer);
    disarm(t, timer);
    if std::ptr::eq(t.tempval.get(), bomb) {
        drop_ref(t.tempval.replace(bomb::take_first(bomb)));
    }
    drop_ref(bomb);
    drop_ref(t.obj());
}

fn unchain(t: TaskletRef, number: usize, outer: u32) {
    let me = number as u32 + 1;
    if t.limits.get() == me {
        return t.limits.set(outer);
    }
    let inner = limits_over(t).find(|&inner| limits(|all| all[inner].outer == me));
    if let Some(inner) = inner {
        limits(|all| all[inner].outer = outer);
    }
}

fn disarm(t: TaskletRef, timer: Option<TimerId>) {
    if let (Some(timer), Some(s)) = (timer, t.scheduler()) {
        s.waits.timers.borrow_mut().stop(timer);
        waits::count_armed(s, t, -1);
    }
}

/// Ends all limits over a tasklet that has ended, or whose thread has.
pub fn end_all(t: TaskletRef) {
    while t.limits.get() != 0 {
        stop(t.limits.get() as usize - 1);
    }
}

/// The time of a limit is over. If several limits over the same tasklet are over, the innermost counts.
pub fn reached(s: &'static Sched, number: usize, now: u64, moment: Moment) {
    let t = limits(|all| all[number].t);
    let due = |&number: &usize| limits(|all| all[number].timer.is_some_and(|timer| timer.at() <= now));
    let innermost = limits_over(t).find(due).unwrap_or(number);
    let raised = raise_in(s, t, limits(|all| all[innermost].bomb), moment);
    if raised {
        let timer = limits(|all| all[innermost].timer.take());
        disarm(t, timer);
    }
    if innermost != number || !raised {
        let timer = s.waits.timers.borrow_mut().start(now + AGAIN, Due::Limit(number));
        limits(|all| all[number].timer = Some(timer));
    }
}

/// Leaves the exception where the tasklet will find it. Returns false if another exception is on its way already.
fn raise_in(s: &'static Sched, t: TaskletRef, exception: Obj, moment: Moment) -> bool {
    let value = t.tempval.get();
    if !world(|w| w.in_ring(t.id())) {
        if t.alive() {
            ring::wake(s, t, new_ref(exception));
        }
        return true;
    }
    if some(value).is_some_and(bomb::is_bomb) {
        return false;
    }
    if t.is_current() && moment == Moment::Running {
        leave_value(s, t, new_ref(exception));
    } else {
        bomb::put_first(exception, t.tempval.replace(new_ref(exception)));
    }
    true
}

pub static TIMEOUT_EXIT: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
