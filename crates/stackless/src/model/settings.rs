//! Settings of the process that several layers read. The functions that change them are in `api/` and
//! `observe/leaks.rs`.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

pub static REPORTS: AtomicBool = AtomicBool::new(true);

pub fn reported() -> bool {
    REPORTS.load(Relaxed)
}

/// True if soft switching is on: tasklets that start while it is off count as having C state for ever.
pub static SOFT: AtomicBool = AtomicBool::new(true);

#[inline(always)]
pub fn soft_switching() -> bool {
    SOFT.load(Relaxed)
}

/// True if the right neighbours of `t` run before `t.run()` returns.
pub static NESTED: AtomicBool = AtomicBool::new(true);

/// The pickle flags of new threads.
pub static DEFAULT: AtomicI64 = AtomicI64::new(0);

pub fn default() -> i64 {
    DEFAULT.load(Relaxed)
}

/// True once the interpreter exits: nothing runs in tasklets any more.
pub static EXITED: AtomicBool = AtomicBool::new(false);

pub fn exited() -> bool {
    EXITED.load(Relaxed)
}
