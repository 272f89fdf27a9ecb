//! Tasklets inside `run()`, and what happens when nobody is left to run.

use crate::World;
use crate::ring::{Hid, Tid};

/// What becomes of a thread whose ring is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// This tasklet sits in `run()`, or was switched away from: it goes on.
    Resume(Tid),
    /// The one that should go on waits in a channel itself. The thread sleeps if somebody else can
    /// still act, else this is a deadlock.
    Stuck(Tid),
}

impl<P: Copy, C: Copy> World<P, C> {
    /// The innermost tasklet inside `run()`, else main: exceptions go there, and it goes on when the
    /// ring is empty.
    pub fn watcher(&self, h: Hid) -> Tid {
        let thread = &self.threads[h.0];
        Tid(thread.watchdogs.last().copied().unwrap_or(thread.main))
    }

    /// Who goes on when `leaving`, the only one in its ring, leaves it for good or for a queue.
    pub fn when_idle(&self, leaving: Tid) -> Idle {
        let h = self.thread_of(leaving).expect("a running tasklet has a thread");
        let watcher = self.watcher(h);
        if watcher == leaving || self.is_linked(watcher) {
            Idle::Stuck(watcher)
        } else {
            Idle::Resume(watcher)
        }
    }

    /// The running tasklet enters `run()`: it leaves the ring and is the innermost watchdog.
    pub fn enter_run(&mut self, running: Tid) {
        let thread = self.nodes[running.0].thread;
        self.unlink(running);
        self.threads[thread].watchdogs.push(running.0);
    }

    /// `returning` comes back from `run()`. The watchdogs above it are popped as well; they are
    /// returned innermost first, and it is the caller's part to make them runnable. False when it
    /// was not a watchdog any more: somebody below it has returned before.
    pub fn leave_run(&mut self, returning: Tid) -> (bool, Vec<Tid>) {
        let Some(h) = self.thread_of(returning) else { return (false, Vec::new()) };
        let watchdogs = &mut self.threads[h.0].watchdogs;
        let Some(at) = watchdogs.iter().rposition(|&w| w == returning.0) else { return (false, Vec::new()) };
        let inner = watchdogs.drain(at..).skip(1).map(Tid).collect::<Vec<_>>();
        (true, inner.into_iter().rev().collect())
    }
}
