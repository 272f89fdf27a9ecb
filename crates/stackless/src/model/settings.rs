//! Settings of the process that several layers read. The functions that change them are in `api/`.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64};

pub static REPORTS: AtomicBool = AtomicBool::new(true);

pub fn reported() -> bool {
    REPORTS.load(Relaxed)
}

/// A process-wide setting: tasklets that start while it is off count as having C state for good.
pub static SOFT: AtomicBool = AtomicBool::new(true);

#[inline(always)]
pub fn soft_switching() -> bool {
    SOFT.load(Relaxed)
}

/// Do `t.run()`'s right neighbours run before the caller goes on?
pub static NESTED: AtomicBool = AtomicBool::new(true);

/// What new threads begin with.
pub static DEFAULT: AtomicI64 = AtomicI64::new(0);

pub fn default() -> i64 {
    DEFAULT.load(Relaxed)
}

/// The interpreter is going away: nothing runs in tasklets any more.
pub static EXITED: AtomicBool = AtomicBool::new(false);

pub fn exited() -> bool {
    EXITED.load(Relaxed)
}
