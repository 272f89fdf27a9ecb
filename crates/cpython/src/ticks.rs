//! Ticks, by which a limited `run()` notices a tasklet that never yields: the face of `ticks.c`.

use pyo3_ffi::PyThreadState;
use std::ffi::c_int;

unsafe extern "C" {
    fn sl_start_ticks(callbacks: OnTicks) -> c_int;
    fn sl_show_ticks(ts: *mut PyThreadState, on: c_int);
}

/// The result of a tick.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The tasklet continues.
    Nothing,
    /// Interrupt the running tasklet.
    Now,
    /// Interrupt it when the C code that has called back into Python has returned.
    Later,
}

/// What is called at ticks (`ticks.c` says what those are).
#[repr(C)]
pub struct OnTicks {
    /// Counts `count` ticks of the calling thread.
    pub tick: unsafe extern "C" fn(count: c_int) -> Answer,
    /// Interrupts the running tasklet, if that is due, which switches to another one. If an exception was thrown
    /// into it meanwhile: -1 and the exception is set if it can be raised here, else 1.
    pub interrupt: unsafe extern "C" fn(can_raise: c_int) -> c_int,
    /// True if nothing forbids a due interrupt of the running tasklet any more, or none is due.
    pub settled: unsafe extern "C" fn() -> c_int,
    /// True if `interrupt` has returned 1 to the running tasklet.
    pub must_raise: unsafe extern "C" fn() -> c_int,
    /// Sets that exception.
    pub throw_in: unsafe extern "C" fn(),
}

/// Starts ticks in the Python code of every thread; on 3.11 only in threads that call [`show_ticks`].
/// False with an exception.
///
/// # Safety
/// The GIL is held, and no exception is set.
#[must_use]
pub unsafe fn start_ticks(callbacks: OnTicks) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_start_ticks(callbacks) == 0 }
}

/// Switches the ticks of the calling thread on or off on 3.11. Later versions always have them, once started.
///
/// # Safety
/// `ts` is the calling thread's, which has begun.
pub unsafe fn show_ticks(ts: *mut PyThreadState, on: bool) {
    // SAFETY: the caller's.
    unsafe { sl_show_ticks(ts, on.into()) }
}
