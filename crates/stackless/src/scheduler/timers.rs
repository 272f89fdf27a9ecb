//! Looking at the clock: timers and descriptors that have become due make their tasklets runnable.

use crate::model::thread::{Due, Moment, Sched};
use crate::model::wait::WaitKind;
use crate::python::objects::*;
use crate::scheduler::ring::wake;
use crate::scheduler::waits::timed_out;
use crate::scheduler::{limits, readiness, scopes};
use stackless_reactor::{coarse, now};
use std::ptr::null_mut;

/// Makes the tasklets runnable whose time has come: at the end of the ring.
pub fn wake_due(s: &'static Sched, moment: Moment) {
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
            }
            Due::Limit(number) => limits::reached(s, number, now, moment),
            Due::Scope(scope) => scopes::expire(scope),
        }
    }
}

/// The maximum number of switches between two looks at the exact clock.
const SWITCHES: u32 = 64;

/// Called before a switch while something is armed somewhere: looks at the clock, but not each time.
pub fn before_switch(s: &'static Sched) {
    let waits = &s.waits;
    if waits.armed.get() == 0 {
        return;
    }
    let switches = waits.switches.get() + 1;
    waits.switches.set(switches);
    let tick = coarse();
    if switches < SWITCHES && tick == waits.looked.get() {
        return;
    }
    waits.switches.set(0);
    waits.looked.set(tick);
    wake_due(s, Moment::Leaving);
}
