//! Looking at the clock: timers and descriptors that have become due make their tasklets runnable.
//!
//! A tasklet that slept, or whose wait is over, does not wait for a turn of all others: it comes directly behind the next
//! one. But at most every second turn is given away like that, so that the tasklets of the ring go on however many timers
//! are due; the rest of these is appended to the ring. None overtakes one that was due before it. Where a virtual clock is
//! used there is no hurry, and all are appended.
//!
//! ```text
//!   ring    next  b  c  d  ...  z          200 tasklets, 2 ms each: 400 ms to the end of the ring
//!   due           ^ t                      t continues after one turn
//! ```

use crate::model::tasklet::TaskletRef;
use crate::model::thread::{Due, Moment, Sched};
use crate::model::wait::WaitKind;
use crate::model::world::world;
use crate::python::objects::*;
use crate::scheduler::ring::wake;
use crate::scheduler::waits::timed_out;
use crate::scheduler::{hooks, limits, readiness, scopes};
use stackless_core::TaskletId;
use stackless_reactor::{coarse, now, virtual_now};
use std::ptr::null_mut;

/// Makes the tasklets runnable whose time has come: at the end of the ring.
pub fn wake_due(s: &'static Sched, moment: Moment) {
    wake_behind(s, moment, None);
}

/// As [`wake_due`], but some of those that waited continue directly behind this tasklet of the ring.
fn wake_behind(s: &'static Sched, moment: Moment, next: Option<TaskletRef>) {
    readiness::wake_ready(s);
    if s.waits.timers.borrow().next().is_none() {
        return;
    }
    let now = now();
    loop {
        let Some(due) = s.waits.timers.borrow_mut().pop(now) else { return };
        match due {
            Due::Wait(t) => {
                // SAFETY: a timer is stopped before its wait goes.
                let kind = unsafe { (*t.wait.get()).kind };
                let result = match kind {
                    WaitKind::Time | WaitKind::DescriptorOrTime(..) => null_mut(),
                    WaitKind::Turn(over) => new_ref(over),
                    _ => new_ref(timed_out()),
                };
                wake(s, t, result);
                let place = next.and_then(|next| place_ahead(s, next.id(), t.id()));
                if let Some(before) = place {
                    world(|w| w.move_behind(t.id(), before));
                    if let Some(recorder) = hooks::recorder() {
                        recorder.moved(t);
                    }
                }
                s.waits.last_woken.set(Some((t.id(), place.is_some())));
            }
            Due::Limit(number) => limits::reached(s, number, now, moment),
            Due::Scope(scope) => scopes::expire(scope),
        }
    }
}

/// The maximum number of tasklets that go ahead at once.
const AHEAD: u32 = 32;

/// The tasklet of the ring directly behind which `t`, which was woken, may continue, if it may go ahead: `next`, or the one
/// that was woken before it and went ahead, too. Two turns are taken off: that of `t` itself will count as one.
fn place_ahead(s: &Sched, next: TaskletId, t: TaskletId) -> Option<TaskletId> {
    let ahead = &s.waits.ahead;
    if ahead.get() < 2 || virtual_now().is_some() {
        return None;
    }
    // A tasklet that has ended may have left its number to one of another thread.
    let here = |t| world(|w| w.in_ring(t) && w.thread_of(t) == Some(s.id()));
    let before = match s.waits.last_woken.get().filter(|&(last, _)| last != t && here(last)) {
        None => next,
        Some((last, true)) => last,
        Some((_, false)) => return None,
    };
    if before == t || !here(before) || !here(t) {
        return None;
    }
    ahead.set(ahead.get() - 2);
    Some(before)
}

/// The maximum number of switches between two looks at the exact clock.
const SWITCHES: u32 = 64;

/// Called before a switch to `next`, which heads the ring, while something is armed somewhere: looks at the clock, but not
/// each time.
pub fn before_switch(s: &'static Sched, next: TaskletRef) {
    let waits = &s.waits;
    if waits.armed.get() == 0 {
        return;
    }
    waits.ahead.set((waits.ahead.get() + 1).min(2 * AHEAD));
    if waits.last_woken.get().is_some_and(|(last, _)| last == next.id()) {
        waits.last_woken.set(None);
    }
    let switches = waits.switches.get() + 1;
    waits.switches.set(switches);
    let tick = coarse();
    if switches < SWITCHES && tick == waits.looked.get() {
        return;
    }
    waits.switches.set(0);
    waits.looked.set(tick);
    wake_behind(s, Moment::Leaving, Some(next));
}
