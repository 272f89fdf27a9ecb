//! The rules of `run()`: which tasklets are inside it, what happens when no tasklet can run any more,
//! and what ends a `run()` early.
//!
//! ```text
//!   run(1000)          ring                        watchdogs (outermost first)   timer
//!   main ──────────>   [a, b, c]                   [main]                        main, 1000 ticks
//!   a calls run()      [b, c]                      [main, a]                     main
//!   the time is up     [main, c], b is paused      [main, a]                     main
//!   main continues     [main, c, a]                []                            -
//! ```
//!
//! Only the outermost limit counts. The caller defines what a tick is.

use crate::records::{RunLimit, RunTimer, TaskletId, ThreadId, Watchdog, World};

/// What a thread whose ring is empty does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// This tasklet is inside `run()`, or was switched away from: it continues.
    Resume(TaskletId),
    /// This tasklet should continue, but is inside a `run()` that waits for other threads. The thread
    /// sleeps if another thread can still act, else the tasklet continues.
    Wait(TaskletId),
    /// This tasklet should continue, but waits in a channel itself. The thread sleeps if another thread
    /// can still act, else this is a deadlock.
    Stuck(TaskletId),
}

/// Why one tasklet stops and another runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Its turn is over.
    Over,
    /// A transfer hands over to its partner. A limit does not separate the two.
    HandOver,
}

impl<P: Copy, C: Copy, H: Copy> World<P, C, H> {
    /// The innermost tasklet inside `run()`, else main: it gets the exceptions that other tasklets do not
    /// catch, and continues when the ring is empty.
    pub fn watcher(&self, h: ThreadId) -> TaskletId {
        let thread = &self.threads[h.0];
        TaskletId(thread.watchdogs.last().map_or(thread.main, |w| w.tasklet))
    }

    /// The tasklets inside `run()`, outermost first.
    pub fn watchdogs(&self, h: ThreadId) -> Vec<TaskletId> {
        self.threads[h.0].watchdogs.iter().map(|w| TaskletId(w.tasklet)).collect()
    }

    /// True if it is inside `run()`.
    pub fn is_watchdog(&self, t: TaskletId) -> bool {
        let watchdogs = self.thread_of(t).map(|h| &self.threads[h.0].watchdogs);
        watchdogs.is_some_and(|all| all.iter().any(|w| w.tasklet == t.0))
    }

    /// What the thread does when `leaving`, the only tasklet in its ring, ends or begins to wait.
    pub fn when_idle(&self, leaving: TaskletId) -> Idle {
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
    /// `waits`, an empty ring means waiting for other threads. The result is true if its limit is the one
    /// that counts.
    pub fn enter_run(&mut self, running: TaskletId, waits: bool, limit: Option<RunLimit>) -> bool {
        let thread = self.tasklets[running.0].thread;
        self.unlink(running);
        let thread = &mut self.threads[thread];
        thread.watchdogs.push(Watchdog { tasklet: running.0, waits });
        let (Some(limit), None) = (limit, &thread.timer) else { return false };
        thread.timer = Some(RunTimer {
            owner: running.0,
            limit,
            ticks_left: limit.ticks,
            turns_left: limit.turns.saturating_add(1), // the first switch begins a turn
            expired: false,
        });
        true
    }

    /// `running`, which is in the ring, becomes the innermost watchdog, and never returns.
    pub fn watch(&mut self, running: TaskletId) {
        let thread = self.tasklets[running.0].thread;
        self.threads[thread].watchdogs.push(Watchdog { tasklet: running.0, waits: false });
    }

    /// `returning` returns from `run()`. The watchdogs above it are popped as well; they are returned
    /// innermost first, and the caller makes them runnable. False if it was not a watchdog any more
    /// because one below it has returned before.
    #[must_use]
    pub fn leave_run(&mut self, returning: TaskletId) -> (bool, Vec<TaskletId>) {
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
        (true, popped.iter().skip(1).rev().map(|w| TaskletId(w.tasklet)).collect())
    }

    /// True if the limit in force waits for a switch.
    pub fn limit_is_soft(&self, h: ThreadId) -> bool {
        self.threads[h.0].timer.as_ref().is_some_and(|timer| timer.limit.soft)
    }

    /// The tasklet that continues when the time is up.
    pub fn timer(&self, h: ThreadId) -> Option<TaskletId> {
        self.threads[h.0].timer.as_ref().map(|timer| TaskletId(timer.owner))
    }

    /// The tasklet that a sleeping thread wakes because the time is up.
    pub fn expired(&self, h: ThreadId) -> Option<TaskletId> {
        let timer = self.threads[h.0].timer.as_ref().filter(|timer| timer.expired)?;
        Some(TaskletId(timer.owner)).filter(|&owner| !self.is_linked(owner))
    }

    /// The innermost tasklet inside `run()`, if that `run()` waits for other threads when its ring is empty.
    pub fn waiting(&self, h: ThreadId) -> Option<TaskletId> {
        let innermost = self.threads[h.0].watchdogs.last().filter(|w| w.waits)?;
        Some(TaskletId(innermost.tasklet)).filter(|&t| !self.is_linked(t))
    }

    /// Counts ticks of the running tasklet.
    pub fn tick(&mut self, h: ThreadId, ticks: u64) {
        if let Some(timer) = &mut self.threads[h.0].timer {
            timer.ticks_left = timer.ticks_left.saturating_sub(ticks);
            timer.expired |= timer.ticks_left == 0;
        }
    }

    /// True if the running tasklet is to be interrupted.
    pub fn due(&self, h: ThreadId) -> bool {
        self.threads[h.0].timer.as_ref().is_some_and(|timer| timer.expired && !timer.limit.soft)
    }

    /// Ends the time, whatever number of ticks is left.
    pub fn expire(&mut self, h: ThreadId) {
        if let Some(timer) = &mut self.threads[h.0].timer {
            timer.expired = true;
        }
    }

    /// The ring's head has just become another tasklet, which is about to run; `pending` says that an
    /// interrupt of it was postponed before. If the time is up, the result is the tasklet that runs
    /// instead: the caller of `run()`, which is directly before the new head in the ring then.
    #[must_use]
    pub fn turn(&mut self, h: ThreadId, turn: Turn, pending: bool) -> Option<TaskletId> {
        let head = self.threads[h.0].head;
        let timer = self.threads[h.0].timer.as_mut()?;
        if timer.owner == head {
            return None;
        }
        timer.turns_left = timer.turns_left.saturating_sub(1);
        let over = timer.turns_left == 0;
        if over || (timer.expired && timer.limit.soft && turn == Turn::Over) {
            let owner = TaskletId(timer.owner);
            return self.can_resume(owner).then(|| self.resume_timed(owner));
        }
        let moves_on = timer.expired && timer.limit.soft;
        if !timer.limit.total && !moves_on {
            timer.ticks_left = timer.limit.ticks;
            timer.expired = pending;
        }
        None
    }

    /// Interrupts the running tasklet: it is paused, and the caller of `run()` runs, followed by the
    /// interrupted one's right neighbour.
    #[must_use]
    pub fn interrupt(&mut self, running: TaskletId) -> Option<TaskletId> {
        let h = self.thread_of(running)?;
        let owner = self.timer(h).filter(|&owner| owner != running && self.can_resume(owner))?;
        self.unlink(running);
        Some(self.resume_timed(owner))
    }

    /// False while it waits in a channel: its `run()` is returning then.
    fn can_resume(&self, owner: TaskletId) -> bool {
        !self.is_linked(owner) || self.in_ring(owner)
    }

    fn resume_timed(&mut self, owner: TaskletId) -> TaskletId {
        if !self.in_ring(owner) {
            self.link(owner);
        }
        self.run_now(owner);
        owner
    }
}
