//! The calls that tasklets execute: the face of `frames.c`.

use crate::{Of, State};
use pyo3_ffi::{
    CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, Py_ssize_t, PyCallable_Check, PyFunction_Check,
    PyFunctionObject, PyObject, PyThreadState, visitproc,
};
use std::ffi::{c_int, c_long, c_void};

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
    /// No call: a value to overwrite.
    pub const NONE: Self = Self { code: std::ptr::null_mut(), at: 0 };
}

unsafe extern "C" {
    fn sl_depth(ts: *mut PyThreadState, state: *mut State) -> c_int;
    fn sl_nesting(ts: *mut PyThreadState, state: *mut State, before: *mut PyObject) -> c_int;
    fn sl_frame_object(ts: *mut PyThreadState, state: *mut State) -> *mut PyObject;
    fn sl_positions(
        ts: *mut PyThreadState,
        state: *mut State,
        places: *mut CodePosition,
        maximum: c_int,
    ) -> c_int;
    fn sl_variable_name(ts: *mut PyThreadState, state: *mut State, object: *mut PyObject) -> *mut PyObject;
    fn sl_visit_variables(
        ts: *mut PyThreadState,
        state: *mut State,
        maximum: c_int,
        visit: visitproc,
        arg: *mut c_void,
    );
    static sl_code_flags_offset: Py_ssize_t;
    fn sl_function(callable: *mut PyObject, name: *mut *mut PyObject, code: *mut *mut PyObject);
    fn sl_code_names(code: *mut PyObject, name: *mut *mut PyObject, file: *mut *mut PyObject);
    fn sl_set_caller(o: *mut PyObject, back: *mut PyObject) -> c_int;
    fn sl_line(code: *mut PyObject, at: c_int) -> c_int;
}

/// The number of Python calls in progress.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn depth(ts: *mut PyThreadState, of: Of) -> c_long {
    // SAFETY: the caller's.
    unsafe { sl_depth(ts, of.pointer()).into() }
}

/// The number of entries into the interpreter through C, without the tasklet's own. Frames with the globals `before`
/// (borrowed or null) at the bottom do not count.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn nesting(ts: *mut PyThreadState, of: Of, before: *mut PyObject) -> c_long {
    // SAFETY: the caller's.
    unsafe { sl_nesting(ts, of.pointer(), before).into() }
}

/// The innermost Python frame: a new reference, or null if there is none.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn frame_object(ts: *mut PyThreadState, of: Of) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_frame_object(ts, of.pointer()) }
}

/// The calls of a tasklet, innermost first, as many as fit into `room`. Returns the part of it that was
/// filled. Runs no Python code.
///
/// # Safety
/// `ts` is the state of the tasklet's thread. The code objects live as long as the frames do.
#[inline]
pub unsafe fn positions(ts: *mut PyThreadState, of: Of, room: &mut [CodePosition]) -> &mut [CodePosition] {
    // SAFETY: the caller's; the length is that of the slice.
    let count = unsafe { sl_positions(ts, of.pointer(), room.as_mut_ptr(), room.len() as c_int) };
    &mut room[..count as usize]
}

/// The line of an offset in a code object; the function's first line for an instruction without a line.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn line_of(code: *mut PyObject, at: c_int) -> u32 {
    // SAFETY: the caller's.
    unsafe { sl_line(code, at) }.max(0) as u32
}

/// The name of a variable of a tasklet's code that holds this object: a borrowed str, or null.
/// Runs no Python code.
///
/// # Safety
/// `ts` is the state of the tasklet's thread.
pub unsafe fn variable_name(ts: *mut PyThreadState, of: Of, object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_variable_name(ts, of.pointer(), object) }
}

/// Visits what the variables of a tasklet's innermost `maximum` calls hold: locals, those of enclosing
/// functions, and the globals that the code names. Stops when `visit` does not return 0. Runs no Python code.
///
/// # Safety
/// `ts` is the state of the tasklet's thread; `visit` may be called with a borrowed object and `arg`.
pub unsafe fn visit_variables(
    ts: *mut PyThreadState,
    of: Of,
    maximum: c_int,
    visit: visitproc,
    arg: *mut c_void,
) {
    // SAFETY: the caller's.
    unsafe { sl_visit_variables(ts, of.pointer(), maximum, visit, arg) }
}

/// What a call of an object does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallDoes {
    Nothing,
    Run,
    MakeGenerator,
    MakeCoroutine,
}

/// Finds out what a call of this object does, of Python functions by the flags of their code.
///
/// # Safety
/// A living object.
#[inline(always)]
pub unsafe fn call_does(callable: *mut PyObject) -> CallDoes {
    // SAFETY: the caller's; a function has a code object.
    let flags = unsafe {
        if PyFunction_Check(callable) == 0 {
            return if PyCallable_Check(callable) != 0 { CallDoes::Run } else { CallDoes::Nothing };
        }
        let code = (*callable.cast::<PyFunctionObject>()).func_code;
        code.byte_offset(sl_code_flags_offset).cast::<c_int>().read()
    };
    if flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR) == 0 {
        CallDoes::Run
    } else if flags & CO_GENERATOR != 0 {
        CallDoes::MakeGenerator
    } else {
        CallDoes::MakeCoroutine
    }
}

/// The qualified name of a Python function, or of a method's, and its code: borrowed, null for other
/// objects.
///
/// # Safety
/// `callable` is a living object.
pub unsafe fn function(callable: *mut PyObject) -> (*mut PyObject, *mut PyObject) {
    let (mut name, mut code) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller's; two variables for two pointers.
    unsafe { sl_function(callable, &mut name, &mut code) };
    (name, code)
}

/// The qualified name of a code object, and its file name: borrowed.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn code_names(code: *mut PyObject) -> (*mut PyObject, *mut PyObject) {
    let (mut name, mut file) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller's; two variables for two pointers.
    unsafe { sl_code_names(code, &mut name, &mut file) };
    (name, file)
}

/// Sets the caller of a frame object that is not being executed. False with an exception.
///
/// # Safety
/// Living objects.
#[must_use]
pub unsafe fn set_caller(o: *mut PyObject, back: *mut PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_set_caller(o, back) == 0 }
}
