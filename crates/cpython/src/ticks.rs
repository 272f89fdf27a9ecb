//! Ticks, by which a limited `run()` notices a tasklet that never yields: the face of `ticks.c`.

use pyo3_ffi::PyThreadState;
use std::ffi::c_int;

unsafe extern "C" {
    fn sl_start_ticks(callbacks: OnTicks) -> c_int;
    fn sl_show_ticks(ts: *mut PyThreadState, on: c_int);
}

/// The answers to a tick.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing is to be done.
    Nothing,
    /// Interrupt the running tasklet.
    Now,
    /// The same when the C code that has called back into Python has returned.
    Later,
}

/// What is called at ticks (`ticks.c` says what those are), as it has them.
#[repr(C)]
pub struct OnTicks {
    /// So many ticks in any thread.
    pub tick: unsafe extern "C" fn(count: c_int) -> Answer,
    /// Interrupts the running tasklet, if that is due: it may switch. If an exception was thrown into it
    /// meanwhile: -1 and the exception set if it can be raised here, else 1.
    pub interrupt: unsafe extern "C" fn(can_raise: c_int) -> c_int,
    /// Does nothing forbid a due interrupt of the running tasklet any more, or is none due?
    pub settled: unsafe extern "C" fn() -> c_int,
    /// Did `interrupt` answer 1 to the running tasklet?
    pub must_raise: unsafe extern "C" fn() -> c_int,
    /// Sets that exception.
    pub throw_in: unsafe extern "C" fn(),
}

/// From now on every thread's Python code makes ticks; on 3.11 only in threads that [`show_ticks`].
/// False with an exception.
///
/// # Safety
/// The GIL is held, and no exception is set.
pub unsafe fn start_ticks(callbacks: OnTicks) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_start_ticks(callbacks) == 0 }
}

/// Does the calling thread need ticks? (Other versions than 3.11 make them always, once started.)
///
/// # Safety
/// `ts` is the calling thread's, which has begun.
pub unsafe fn show_ticks(ts: *mut PyThreadState, on: bool) {
    // SAFETY: the caller's.
    unsafe { sl_show_ticks(ts, on.into()) }
}
