//! Tasklets inside `run()`, what happens when nobody is left to run, and what ends a `run()` early.
//!
//! ```text
//!   run(1000)          ring                        watchdogs (outermost first)   timer
//!   main ──────────>   [a, b, c]                   [main]                        main, 1000 ticks
//!   a calls run()      [b, c]                      [main, a]                     main
//!   the time is up     [main, c], b is paused      [main, a]                     main
//!   main goes on       [main, c, a]                []                            -
//! ```
//!
//! Only the outermost limit counts. A tick is whatever the caller says it is.

use crate::World;
use crate::ring::{Hid, Tid};

/// What becomes of a thread whose ring is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// This tasklet sits in `run()`, or was switched away from: it goes on.
    Resume(Tid),
    /// The one that should go on sits in a `run()` that waits for other threads. The thread sleeps
    /// if somebody else can still act, else it goes on.
    Wait(Tid),
    /// The one that should go on waits in a channel itself. The thread sleeps if somebody else can
    /// still act, else this is a deadlock.
    Stuck(Tid),
}

/// A tasklet inside `run()`.
#[derive(Clone, Copy)]
pub(crate) struct Watchdog {
    tasklet: u32,
    /// Does an empty ring mean waiting for other threads?
    waits: bool,
}

/// What ends a `run()` before its ring is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// So many ticks ...
    pub ticks: u64,
    /// ... since the `run()` began, not since the last switch.
    pub total: bool,
    /// So many switches from one tasklet to another.
    pub turns: u64,
    /// Nobody is stopped: the `run()` goes on at the next switch.
    pub soft: bool,
}

impl Limit {
    /// No limit at all: a place to begin from.
    pub const NONE: Self = Self { ticks: u64::MAX, total: false, turns: u64::MAX, soft: false };
}

pub(crate) struct Timer {
    owner: u32,
    limit: Limit,
    ticks_left: u64,
    turns_left: u64,
    expired: bool,
}

/// How one tasklet gives way to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Its turn is over.
    Over,
    /// A transfer hands over to its partner, which a limit does not split.
    HandOver,
}

impl<P: Copy, C: Copy> World<P, C> {
    /// The innermost tasklet inside `run()`, else main: exceptions go there, and it goes on when the
    /// ring is empty.
    pub fn watcher(&self, h: Hid) -> Tid {
        let thread = &self.threads[h.0];
        Tid(thread.watchdogs.last().map_or(thread.main, |w| w.tasklet))
    }

    /// The tasklets inside `run()`, outermost first.
    pub fn watchdogs(&self, h: Hid) -> Vec<Tid> {
        self.threads[h.0].watchdogs.iter().map(|w| Tid(w.tasklet)).collect()
    }

    /// Is it inside `run()`?
    pub fn is_watchdog(&self, t: Tid) -> bool {
        let dogs = self.thread_of(t).map(|h| &self.threads[h.0].watchdogs);
        dogs.is_some_and(|all| all.iter().any(|w| w.tasklet == t.0))
    }

    /// Who goes on when `leaving`, the only one in its ring, leaves it for good or for a queue.
    pub fn when_idle(&self, leaving: Tid) -> Idle {
        let h = self.thread_of(leaving).expect("a running tasklet has a thread");
        let watcher = self.watcher(h);
        if watcher == leaving || self.is_linked(watcher) {
            Idle::Stuck(watcher)
        } else if self.threads[h.0].watchdogs.last().is_some_and(|w| w.waits) {
            Idle::Wait(watcher)
        } else {
            Idle::Resume(watcher)
        }
    }

    /// The running tasklet enters `run()`: it leaves the ring and is the innermost watchdog. With
    /// `waits`, an empty ring means waiting for other threads. The answer: is its limit the one that
    /// counts?
    pub fn enter_run(&mut self, running: Tid, waits: bool, limit: Option<Limit>) -> bool {
        let thread = self.nodes[running.0].thread;
        self.unlink(running);
        let thread = &mut self.threads[thread];
        thread.watchdogs.push(Watchdog { tasklet: running.0, waits });
        let (Some(limit), None) = (limit, &thread.timer) else { return false };
        thread.timer = Some(Timer {
            owner: running.0,
            limit,
            ticks_left: limit.ticks,
            turns_left: limit.turns.saturating_add(1), // the first switch begins a turn
            expired: false,
        });
        true
    }

    /// `returning` comes back from `run()`. The watchdogs above it are popped as well; they are
    /// returned innermost first, and it is the caller's part to make them runnable. False when it
    /// was not a watchdog any more: somebody below it has returned before.
    pub fn leave_run(&mut self, returning: Tid) -> (bool, Vec<Tid>) {
        let Some(h) = self.thread_of(returning) else { return (false, Vec::new()) };
        let thread = &mut self.threads[h.0];
        let Some(at) = thread.watchdogs.iter().rposition(|w| w.tasklet == returning.0) else {
            return (false, Vec::new());
        };
        let popped: Vec<_> = thread.watchdogs.drain(at..).collect();
        let owner = thread.timer.as_ref().map(|timer| timer.owner);
        if popped.iter().any(|w| Some(w.tasklet) == owner)
            && !thread.watchdogs.iter().any(|w| Some(w.tasklet) == owner)
        {
            thread.timer = None;
        }
        (true, popped.iter().skip(1).rev().map(|w| Tid(w.tasklet)).collect())
    }

    /// Does the limit in force wait for a switch?
    pub fn limit_is_soft(&self, h: Hid) -> bool {
        self.threads[h.0].timer.as_ref().is_some_and(|timer| timer.limit.soft)
    }

    /// Whom the end of the time wakes.
    pub fn timer(&self, h: Hid) -> Option<Tid> {
        self.threads[h.0].timer.as_ref().map(|timer| Tid(timer.owner))
    }

    /// Whom a sleeping thread wakes because the time is up.
    pub fn expired(&self, h: Hid) -> Option<Tid> {
        let timer = self.threads[h.0].timer.as_ref().filter(|timer| timer.expired)?;
        Some(Tid(timer.owner)).filter(|&owner| !self.is_linked(owner))
    }

    /// The innermost tasklet inside `run()`, if an empty ring means waiting for other threads to it.
    pub fn waiting(&self, h: Hid) -> Option<Tid> {
        let innermost = self.threads[h.0].watchdogs.last().filter(|w| w.waits)?;
        Some(Tid(innermost.tasklet)).filter(|&t| !self.is_linked(t))
    }

    /// Ticks of the running tasklet.
    pub fn tick(&mut self, h: Hid, ticks: u64) {
        if let Some(timer) = &mut self.threads[h.0].timer {
            timer.ticks_left = timer.ticks_left.saturating_sub(ticks);
            timer.expired |= timer.ticks_left == 0;
        }
    }

    /// Is the running tasklet to be interrupted?
    pub fn due(&self, h: Hid) -> bool {
        self.threads[h.0].timer.as_ref().is_some_and(|timer| timer.expired && !timer.limit.soft)
    }

    /// The time is up, whatever the ticks say.
    pub fn expire(&mut self, h: Hid) {
        if let Some(timer) = &mut self.threads[h.0].timer {
            timer.expired = true;
        }
    }

    /// The ring's head has just become another tasklet, which is about to run; `pending` says that an
    /// interrupt of it was put off before. The answer is who runs instead, if the time is up: the
    /// caller of `run()`, who stands directly before it then.
    pub fn turn(&mut self, h: Hid, turn: Turn, pending: bool) -> Option<Tid> {
        let head = self.threads[h.0].head;
        let timer = self.threads[h.0].timer.as_mut()?;
        if timer.owner == head {
            return None;
        }
        timer.turns_left = timer.turns_left.saturating_sub(1);
        let over = timer.turns_left == 0;
        if over || (timer.expired && timer.limit.soft && turn == Turn::Over) {
            let owner = Tid(timer.owner);
            return self.can_resume(owner).then(|| self.resume_timed(owner));
        }
        let moves_on = timer.expired && timer.limit.soft;
        if !timer.limit.total && !moves_on {
            timer.ticks_left = timer.limit.ticks;
            timer.expired = pending;
        }
        None
    }

    /// Interrupts the running tasklet: it is paused, and the caller of `run()` runs, with the
    /// interrupted one's right neighbour next in line.
    pub fn interrupt(&mut self, running: Tid) -> Option<Tid> {
        let h = self.thread_of(running)?;
        let owner = self.timer(h).filter(|&owner| owner != running && self.can_resume(owner))?;
        self.unlink(running);
        Some(self.resume_timed(owner))
    }

    /// Not while it waits in a channel: its `run()` is returning.
    fn can_resume(&self, owner: Tid) -> bool {
        !self.is_linked(owner) || self.in_ring(owner)
    }

    fn resume_timed(&mut self, owner: Tid) -> Tid {
        if !self.in_ring(owner) {
            self.link(owner);
        }
        self.run_now(owner);
        owner
    }
}
