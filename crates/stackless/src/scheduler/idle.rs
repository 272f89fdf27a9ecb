//! What a thread does when its ring is empty: continue the watcher, sleep, or report a deadlock.

use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::threads;
use crate::model::world::{find, object, world};
use crate::python::gil::Gil;
use crate::scheduler::{hooks, scopes, waits};
use pyo3_ffi::*;
use stackless_core::Idle;
use stackless_cpython as cpython;
use stackless_reactor::virtual_now;
use std::cell::RefCell;

/// The states of threads that only look at tasklets, or answer questions about them: they never wake one.
static SERVANTS: Gil<RefCell<Vec<*mut PyThreadState>>> = Gil::new(RefCell::new(Vec::new()));

fn is_servant(ts: *mut PyThreadState) -> bool {
    SERVANTS.borrow().contains(&ts)
}

/// Makes the calling thread one of these, or not.
pub fn set_servant(on: bool) {
    let ts = cpython::thread_state();
    let mut all = SERVANTS.borrow_mut();
    all.retain(|&known| !std::ptr::eq(known, ts));
    if on {
        all.push(ts);
    }
}

/// In the child of a fork these threads do not exist.
pub fn after_fork() {
    SERVANTS.borrow_mut().clear();
}

impl Sched {
    /// True if another Python thread could still make a tasklet of this one runnable. A thread that was woken and
    /// has not got the GIL yet could. In a steered program with a virtual clock none does: it is to take the same
    /// course each time.
    pub fn others_can_act(&self) -> bool {
        if self.is_alone() {
            return false;
        }
        // SAFETY: the GIL is held.
        unsafe { cpython::thread_states() }
            .any(|ts| !std::ptr::eq(ts, self.ts) && !is_servant(ts) && find(ts).is_none_or(Sched::can_act))
    }

    /// True if there is a reason for `run(threadblock=True)` to wait: another thread that could act, or one
    /// that is stuck in a channel, and will find out that this is a deadlock.
    pub fn others_may_come(&self) -> bool {
        if self.is_alone() {
            return false;
        }
        let stuck = |s: &Sched| !s.can_act() && world(|w| w.waiting(s.id())).is_none();
        self.others_can_act() || threads().into_iter().any(|s| !std::ptr::eq(s, self) && stuck(s))
    }

    fn is_alone(&self) -> bool {
        hooks::steered() && self.is_here() && virtual_now().is_some()
    }

    fn can_act(&self) -> bool {
        !self.asleep.get() || self.in_handler.get() || self.runs_next().is_some() || self.waits.are_armed()
    }
}

/// True if the running tasklet is a main one that is alone: its thread has no other tasklet that is runnable or waits.
pub fn is_alone(s: &'static Sched) -> bool {
    std::ptr::eq(s.current(), s.main())
        && !s.waits.are_armed()
        && world(|w| w.run_count(s.id()) <= 1 && !w.any_blocked(s.id()))
}

/// What a thread does whose ring is empty.
pub enum IdleAction {
    Resume(TaskletRef),
    Sleep,
    /// This tasklet should continue, but waits for a partner that cannot come.
    Deadlock(TaskletRef),
}

/// What the thread does when `leaving`, the only tasklet in its ring, leaves it.
pub fn idle_action(s: &'static Sched, leaving: TaskletRef) -> IdleAction {
    let armed = s.waits.are_armed();
    match world(|w| w.when_idle(leaving.id())) {
        Idle::Resume(watcher) if keeps_waiting(s, object(watcher)) => IdleAction::Sleep,
        Idle::Resume(watcher) => IdleAction::Resume(object(watcher)),
        Idle::Wait(_) if armed || s.others_may_come() => IdleAction::Sleep,
        Idle::Stuck(_) if armed || s.others_can_act() => IdleAction::Sleep,
        Idle::Wait(watcher) => IdleAction::Resume(object(watcher)),
        Idle::Stuck(watcher) => IdleAction::Deadlock(object(watcher)),
    }
}

/// True if `watcher`, which should continue when the ring is empty, waits for something armed instead: a
/// sleeping main tasklet does, and a `run()` while a tasklet that is no daemon waits.
pub fn keeps_waiting(s: &'static Sched, watcher: TaskletRef) -> bool {
    if waits::is_armed(watcher) {
        return true;
    }
    let returns = watcher.flags.get().impatient && world(|w| w.is_watchdog(watcher.id()));
    !returns && are_in_foreground(s, watcher)
}

/// True if a tasklet that is no daemon waits. Limits over tasklets in `run()`, and over `watcher`, which
/// is in `run()` or about to call it, do not count.
pub fn are_in_foreground(s: &'static Sched, watcher: TaskletRef) -> bool {
    let foreground = s.waits.foreground.get();
    if foreground == 0 {
        return false;
    }
    let mut inside = world(|w| w.watchdogs(s.id()));
    if !inside.contains(&watcher.id()) {
        inside.push(watcher.id());
    }
    let own = |t: TaskletRef| if t.flags.get().daemon { 0 } else { scopes::armed_of(t) };
    foreground > inside.into_iter().map(|t| own(object(t))).sum()
}

/// The tasklet whose `run()` returns in a thread that sleeps, since there is no tasklet left that it waits for.
pub fn ends_sleep(s: &'static Sched) -> Option<TaskletRef> {
    let (watcher, for_threads) = world(|w| (w.watcher(s.id()), w.waiting(s.id()).is_some()));
    let in_run = world(|w| w.is_watchdog(watcher));
    let watcher = object(watcher);
    let is_inside = !watcher.linked() && (in_run || !std::ptr::eq(watcher, s.current()));
    (is_inside && !for_threads && !keeps_waiting(s, watcher)).then_some(watcher)
}
