//! Trace and profile functions of tasklets: the face of `tracing.c`.

use crate::{Of, State};
use pyo3_ffi::{PyObject, PyThreadState};
use std::ffi::c_int;

unsafe extern "C" {
    fn sl_trace_object(ts: *mut PyThreadState, state: *mut State, profile: c_int) -> *mut PyObject;
    fn sl_set_trace(
        ts: *mut PyThreadState,
        state: *mut State,
        setter: *mut PyObject,
        function: *mut PyObject,
    ) -> c_int;
    fn sl_traced_lately() -> c_int;
}

/// The trace function, or the profile function: a borrowed reference or null.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn trace_object(ts: *mut PyThreadState, of: Of, profile: bool) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_trace_object(ts, of.pointer(), profile.into()) }
}

/// Calls `setter(function)`, `sys.settrace` or `sys.setprofile`, on behalf of a tasklet. False with
/// an exception.
///
/// # Safety
/// `ts` is the calling thread's; nothing switches tasklets during the call.
#[must_use]
pub unsafe fn set_trace(
    ts: *mut PyThreadState,
    of: Of,
    setter: *mut PyObject,
    function: *mut PyObject,
) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_set_trace(ts, of.pointer(), setter, function) == 0 }
}

/// True if a tasklet of the calling thread with a trace or profile function has stopped or ended since the last call.
#[inline(always)]
pub fn traced_lately() -> bool {
    // SAFETY: callable from anywhere.
    unsafe { sl_traced_lately() != 0 }
}
