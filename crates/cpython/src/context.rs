//! The contexts (`contextvars`) of tasklets: the face of `context.c`.

use crate::{Of, State};
use pyo3_ffi::{PyObject, PyThreadState};
use std::ffi::c_int;

unsafe extern "C" {
    fn sl_current_context(ts: *mut PyThreadState) -> *mut PyObject;
    fn sl_peek_context(ts: *mut PyThreadState) -> *mut PyObject;
    fn sl_state_context(state: *mut State) -> *mut PyObject;
    fn sl_context_entered(context: *mut PyObject) -> c_int;
    fn sl_set_context(ts: *mut PyThreadState, state: *mut State, context: *mut PyObject);
}

/// The running tasklet's context, made if there is none: a new reference, null with an exception.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn current_context(ts: *mut PyThreadState) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_current_context(ts) }
}

/// A tasklet's context: a borrowed reference or null.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn context(ts: *mut PyThreadState, of: Of) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe {
        match of {
            Of::Running => sl_peek_context(ts),
            Of::Suspended(state) => sl_state_context(state),
        }
    }
}

/// Replaces a tasklet's context; the reference is taken over.
///
/// # Safety
/// `ts` is the calling thread's; `context` is an owned reference to a `contextvars.Context`.
pub unsafe fn set_context(ts: *mut PyThreadState, of: Of, context: *mut PyObject) {
    // SAFETY: the caller's.
    unsafe { sl_set_context(ts, of.pointer(), context) }
}

/// True if code runs inside `context.run()`. False for null.
///
/// # Safety
/// `context` is a `contextvars.Context` or null.
pub unsafe fn context_entered(context: *mut PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_context_entered(context) != 0 }
}
