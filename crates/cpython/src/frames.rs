//! Where tasklets are: the face of `frames.c`.

use crate::{Of, State};
use pyo3_ffi::{PyObject, PyThreadState, visitproc};
use std::ffi::{c_int, c_void};

/// A call in progress.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CodePosition {
    /// The code object, borrowed from the frame.
    pub code: *mut PyObject,
    /// The offset of the instruction in the code, in bytes.
    pub at: c_int,
}

impl CodePosition {
    /// No call at all: a place to overwrite.
    pub const NONE: Self = Self { code: std::ptr::null_mut(), at: 0 };
}

unsafe extern "C" {
    fn sl_places(ts: *mut PyThreadState, state: *mut State, places: *mut CodePosition, most: c_int) -> c_int;
    fn sl_variable_name(ts: *mut PyThreadState, state: *mut State, object: *mut PyObject) -> *mut PyObject;
    fn sl_visit_variables(
        ts: *mut PyThreadState,
        state: *mut State,
        most: c_int,
        visit: visitproc,
        arg: *mut c_void,
    );
    fn sl_function(callable: *mut PyObject, name: *mut *mut PyObject, code: *mut *mut PyObject);
    fn sl_code_names(code: *mut PyObject, name: *mut *mut PyObject, file: *mut *mut PyObject);
    fn sl_line(code: *mut PyObject, at: c_int) -> c_int;
}

/// The calls of a tasklet, innermost first, as many as fit: the part of `room` that was filled. Runs
/// no Python code.
///
/// # Safety
/// `ts` is the state of the tasklet's thread. The code objects live as long as the frames do.
#[inline]
pub unsafe fn positions(ts: *mut PyThreadState, of: Of, room: &mut [CodePosition]) -> &mut [CodePosition] {
    // SAFETY: the caller's; the room is as large as is said.
    let count = unsafe { sl_places(ts, of.pointer(), room.as_mut_ptr(), room.len() as c_int) };
    &mut room[..count as usize]
}

/// The line of an offset in a code object; the function's first for an instruction without one.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn line_of(code: *mut PyObject, at: c_int) -> u32 {
    // SAFETY: the caller's.
    unsafe { sl_line(code, at) }.max(0) as u32
}

/// The name of a variable of a tasklet's code that holds this very object: a borrowed str, or null.
/// Runs no Python code.
///
/// # Safety
/// `ts` is the state of the tasklet's thread.
pub unsafe fn variable_name(ts: *mut PyThreadState, of: Of, object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_variable_name(ts, of.pointer(), object) }
}

/// Visits what the variables of a tasklet's innermost calls hold, `most` of them: locals, those of
/// enclosing functions, and the globals that the code names. Stops when `visit` does not answer 0.
/// Runs no Python code.
///
/// # Safety
/// `ts` is the state of the tasklet's thread; `visit` may be called with a borrowed object and `arg`.
pub unsafe fn visit_variables(
    ts: *mut PyThreadState,
    of: Of,
    most: c_int,
    visit: visitproc,
    arg: *mut c_void,
) {
    // SAFETY: the caller's.
    unsafe { sl_visit_variables(ts, of.pointer(), most, visit, arg) }
}

/// The qualified name of a Python function, or of a method's, and its code: borrowed, null for other
/// objects.
///
/// # Safety
/// `callable` is a living object.
pub unsafe fn function(callable: *mut PyObject) -> (*mut PyObject, *mut PyObject) {
    let (mut name, mut code) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller's; two places for two pointers.
    unsafe { sl_function(callable, &mut name, &mut code) };
    (name, code)
}

/// The qualified name of a code object, and its file name: borrowed.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn code_names(code: *mut PyObject) -> (*mut PyObject, *mut PyObject) {
    let (mut name, mut file) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller's; two places for two pointers.
    unsafe { sl_code_names(code, &mut name, &mut file) };
    (name, file)
}
