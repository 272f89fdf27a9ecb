//! Writes the calls of tasklets after a fatal signal: the face of `crash.c`.

use crate::{Of, State};
use pyo3_ffi::PyThreadState;
use std::ffi::{c_char, c_int, c_uint, c_ulonglong};

unsafe extern "C" {
    fn sl_crash_install(descriptor: c_int, list: extern "C" fn()) -> c_int;
    fn sl_crash_write(text: *const c_char, length: usize);
    fn sl_crash_number(number: c_ulonglong, base: c_uint);
    fn sl_crash_calls(ts: *mut PyThreadState, state: *mut State);
}

/// Has `list` called after a fatal signal in a thread that holds the GIL. It must not allocate or lock; its
/// output, by the other functions here, goes to the descriptor. False and errno if that is not possible.
#[must_use]
pub fn install(descriptor: c_int, list: extern "C" fn()) -> bool {
    // SAFETY: a function lives as long as the process.
    unsafe { sl_crash_install(descriptor, list) == 0 }
}

/// Writes a text. To be called after a fatal signal only.
pub fn write(text: &str) {
    // SAFETY: the length is that of the text.
    unsafe { sl_crash_write(text.as_ptr().cast(), text.len()) }
}

/// Writes a number to this base, which is at most 16.
pub fn write_number(number: u64, base: u32) {
    // SAFETY: no precondition.
    unsafe { sl_crash_number(number, base) }
}

/// Writes the calls of a tasklet, innermost first.
///
/// # Safety
/// `ts` is the state of the tasklet's thread.
pub unsafe fn write_calls(ts: *mut PyThreadState, of: Of) {
    // SAFETY: the caller's.
    unsafe { sl_crash_calls(ts, of.pointer()) }
}
