//! The limits of `run()`: begin, end, and the check before a switch.

use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::parking::park::unseat;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::scheduler::hooks;
use stackless_core::{RunLimit, Turn};
use stackless_cpython as cpython;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The number of threads in which a limit is in force.
pub static LIMITED: Gil<Cell<u32>> = Gil::new(Cell::new(0));

/// The options of a `run()`.
#[derive(Default)]
pub struct Run {
    /// True if an empty ring means waiting for other threads.
    pub waits: bool,
    pub limit: Option<RunLimit>,
    pub time: Option<Duration>,
    pub ignore_nesting: bool,
    /// True if it does not wait for tasklets that sleep, or wait for something else than a partner.
    pub impatient: bool,
}

impl Run {
    pub fn needs_ticks(&self) -> bool {
        self.limit.is_some_and(|limit| limit.ticks < u64::MAX || (self.time.is_some() && !limit.soft))
    }
}

pub fn begin_limit(s: &'static Sched, run: &Run) {
    s.run_limit.on.set(true);
    s.run_limit.number.set(s.run_limit.number.get().wrapping_add(1).max(1));
    s.run_limit.deadline.set(run.time.and_then(|time| Instant::now().checked_add(time)));
    s.run_limit.ignore_nesting.set(run.ignore_nesting);
    LIMITED.set(LIMITED.get() + 1);
    hooks::set_flags(hooks::LIMIT, true);
    if run.needs_ticks() {
        // SAFETY: the thread's own state.
        unsafe { cpython::show_ticks(s.ts, true) };
    }
}

pub fn end_limit(s: &'static Sched) {
    if !s.run_limit.on.replace(false) {
        return;
    }
    s.run_limit.deadline.set(None);
    LIMITED.set(LIMITED.get() - 1);
    hooks::set_flags(hooks::LIMIT, LIMITED.get() > 0);
    if std::ptr::eq(s.ts, cpython::thread_state()) {
        // SAFETY: the thread's own state.
        unsafe { cpython::show_ticks(s.ts, false) };
    }
}

/// Tells the world if the time is up.
pub fn check_deadline(s: &'static Sched) {
    if s.run_limit.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
        world(|w| w.expire(s.id()));
    }
}

/// Called before a switch to `next`, which heads the ring. Returns the tasklet that runs instead.
pub fn before_switch(s: &'static Sched, next: TaskletRef, turn: Turn) -> TaskletRef {
    if !s.run_limit.on.get() {
        return next;
    }
    check_deadline(s);
    let owner = world(|w| w.timer(s.id())).map(object);
    let linked = owner.is_some_and(|t| t.linked());
    match world(|w| w.turn(s.id(), turn, interrupt_pending(s, next))).map(object) {
        None => next,
        Some(owner) => {
            if !linked {
                new_ref(owner.obj()); // for the ring
            }
            unseat(s, next);
            owner
        }
    }
}

/// The running tasklet yields, alone in the ring: a turn is over, which may end a soft limit. Then
/// the answer is the tasklet that continues.
#[cold]
pub fn yields_alone(s: &'static Sched) -> Option<TaskletRef> {
    if !s.run_limit.on.get() || !world(|w| w.limit_is_soft(s.id())) {
        return None;
    }
    let me = s.current();
    let next = before_switch(s, me, Turn::Over);
    (!std::ptr::eq(next, me)).then_some(next)
}

/// The tasklet that ends the sleep of its thread: the one whose time is up, or the one that waits
/// for other threads when there are none left.
pub fn ends_sleep(s: &'static Sched) -> Option<TaskletRef> {
    check_deadline(s);
    let (due, waits) = world(|w| (w.expired(s.id()), w.waiting(s.id())));
    due.or_else(|| waits.filter(|_| !s.others_may_come())).map(object)
}

/// True if an interrupt of the tasklet was put off under the limit in force.
pub fn interrupt_pending(s: &'static Sched, t: TaskletRef) -> bool {
    t.flags.get().interrupt_pending == s.run_limit.number.get()
}
