//! The sleep of a thread in which no tasklet can run: it waits on a lock, or in the poller if it has one.

use crate::engine::{deadlock, run_limits};
use crate::model::thread::{Moment, Sched};
use crate::model::world::{each_tasklet_of, world};
use crate::parking::room;
use crate::python::objects::*;
use crate::scheduler::hooks;
use crate::scheduler::ring::link;
use crate::scheduler::{idle, readiness, timers, waits};
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, Woken};
use stackless_reactor::{set_virtual, virtual_now};
use std::time::Instant;

/// The maximum sleep before the thread checks again whether another thread can still wake it.
const LOOK_MICROSECONDS: i64 = 100_000;

impl Sched {
    /// Sleeps, without the GIL, until this thread's ring is not empty. The error is a deadlock (no other thread
    /// can wake this one), or what a signal handler raised.
    pub fn sleep(&'static self) -> Res<()> {
        self.asleep.set(true);
        self.rung.set(true); // while the GIL is held here, nothing has to ring
        cpython::forbid(1); // for signal handlers
        if let Some(recorder) = hooks::recorder() {
            recorder.slept(self);
        }
        let result = self.sleep_on();
        if let Some(recorder) = hooks::recorder() {
            recorder.woke(self);
        }
        cpython::forbid(-1);
        self.asleep.set(false);
        self.rung.set(false);
        result
    }

    /// Moves the virtual clock to the first timer, unless something else makes a tasklet runnable without that. Returns
    /// true if the thread need not sleep.
    fn skip_time(&'static self) -> bool {
        let mut works = waits::waits_for_job(self.main());
        each_tasklet_of(self, |t| works |= waits::waits_for_job(t));
        if works {
            return false; // its end takes real time
        }
        if let Some(readiness) = self.readiness.get() {
            if readiness.sleep(0).is_err() {
                readiness::drop_poller(self);
            } else {
                readiness.continue_ready();
            }
            if self.runs_next().is_some() {
                return true;
            }
        }
        let next = self.waits.timers.borrow().next();
        if let Some(at) = next {
            set_virtual(virtual_now().map(|now| now.max(at)));
        }
        next.is_some()
    }

    fn sleep_on(&'static self) -> Res<()> {
        let mut looks = room::LOOKS;
        while self.runs_next().is_none() {
            timers::wake_due(self, Moment::Leaving);
            if self.runs_next().is_some() {
                break;
            }
            if let Some(t) = run_limits::ends_sleep(self).or_else(|| idle::ends_sleep(self)) {
                link(t);
                break;
            }
            let hopeless = !self.waits.are_armed() && !self.others_can_act();
            if hopeless && world(|w| w.waiting(self.id())).is_none() {
                return Err(deadlock::deadlock(self, None));
            }
            if looks > 0 && room::park_idle(self, &mut looks) {
                continue; // that took time
            }
            if virtual_now().is_some() && self.skip_time() {
                continue;
            }
            let limit = self.run_limit.deadline().map(|at| at.saturating_duration_since(Instant::now()));
            let limit = limit.map_or(u128::MAX, |left| left.as_micros());
            let timer = self.waits.time_left().map_or(u128::MAX, |left| (left / 1000).into());
            let longest = limit.min(timer).saturating_add(1).min(LOOK_MICROSECONDS as u128) as i64;
            let polls = self.readiness.get().is_some();
            self.rung.set(false);
            // SAFETY: the GIL is held before and after, and nothing of Python is touched between.
            let woken = unsafe {
                let ts = PyEval_SaveThread();
                let woken = match self.readiness.get() {
                    Some(readiness) => readiness.sleep(longest).map(|()| Woken::ByAlarm),
                    None => Ok(self.alarm.wait(longest)),
                };
                PyEval_RestoreThread(ts);
                woken
            };
            let rung = self.rung.replace(true);
            match woken {
                Ok(Woken::ByAlarm) => {}
                Ok(_) if rung && !polls => {
                    self.alarm.wait(-1); // it rang after the wait had ended: clear it for the next time
                }
                Ok(_) => {}
                Err(_) => readiness::drop_poller(self), // the tasklets that wait for descriptors get the error
            }
            if let Some(readiness) = self.readiness.get() {
                readiness.continue_ready();
            }
            self.in_handler.set(true);
            // SAFETY: the GIL is held.
            let handled = unsafe { PyErr_CheckSignals() };
            self.in_handler.set(false);
            if handled < 0 {
                return Err(Raised);
            }
        }
        Ok(())
    }
}
