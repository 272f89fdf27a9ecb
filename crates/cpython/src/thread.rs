//! The calling thread: its word, whether a switch is possible here, and questions about threads. The face of
//! `thread.c`.

use crate::State;
use pyo3_ffi::{PyObject, PyThreadState, destructor};
use std::ffi::{c_int, c_ulong, c_void};

unsafe extern "C" {
    fn sl_begin_thread(word: *mut c_void, ts: *mut PyThreadState, running: *mut State);
    fn sl_init_main(ts: *mut PyThreadState, state: *mut State);
    fn sl_end_thread(ts: *mut PyThreadState);
    fn sl_has_ended(ts: *mut PyThreadState) -> c_int;
    fn sl_is_finalizing() -> c_int;
    fn sl_forbid(change: c_int);
    fn sl_is_foreign() -> c_int;
    fn sl_word() -> *mut c_void;
    fn sl_enter() -> *mut c_void;
    fn sl_thread_dict(ts: *mut PyThreadState) -> *mut PyObject;
    fn sl_thread_state() -> *mut PyThreadState;
    fn sl_thread_ident(ts: *mut PyThreadState) -> c_ulong;
    fn sl_next_thread(ts: *mut PyThreadState) -> *mut PyThreadState;
    fn sl_trashcan(o: *mut PyObject, slot: destructor, body: destructor);
}

unsafe extern "C" {
    // Exported by CPython, declared in its pythread.h.
    #[link_name = "PyThread_get_thread_ident"]
    fn thread_ident() -> c_ulong;
}

/// Stores a word for the calling thread, which the caller chooses and which is not odd, and the state of the
/// tasklet that it runs.
///
/// # Safety
/// `ts` is the calling thread's; `running` stays where it is until it is swapped out.
pub unsafe fn begin_thread(word: *mut c_void, ts: *mut PyThreadState, running: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_begin_thread(word, ts, running) }
}

/// Prepares the state of a thread's main tasklet, which is running already.
///
/// # Safety
/// `ts` is the calling thread's, `state` is writable.
pub unsafe fn init_main(ts: *mut PyThreadState, state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_init_main(ts, state) }
}

/// Removes the calling thread's word. From now on [`has_ended`] is true for this thread state.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn end_thread(ts: *mut PyThreadState) {
    // SAFETY: the caller's.
    unsafe { sl_end_thread(ts) }
}

/// True once the interpreter does not let other threads run any more, which follows after the functions of `atexit`.
pub fn is_finalizing() -> bool {
    // SAFETY: reads a flag.
    unsafe { sl_is_finalizing() != 0 }
}

/// True if [`end_thread`] was called for this thread state.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn has_ended(ts: *mut PyThreadState) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_has_ended(ts) != 0 }
}

/// Adds `change` to the number of reasons for which the calling thread must not switch tasklets.
pub fn forbid(change: c_int) {
    // SAFETY: callable from anywhere.
    unsafe { sl_forbid(change) }
}

/// The calling thread's word, null before [`begin_thread`].
#[inline(always)]
pub fn word() -> *mut c_void {
    // SAFETY: callable from anywhere.
    unsafe { sl_word() }
}

/// The calling thread's word, and whether a switch would be wrong here: because it was forbidden, or
/// because the running code is on a data stack that is not the running tasklet's. In the second case another
/// library switches C stacks in this thread ([`is_foreign`]), and a switch of ours would corrupt both.
#[inline(always)]
pub fn enter() -> (*mut c_void, bool) {
    // SAFETY: callable from anywhere.
    let word = unsafe { sl_enter() };
    (word.map_addr(|a| a & !1), word.addr() & 1 != 0)
}

/// True if the running code is on a data stack that is not the running tasklet's.
///
/// # Safety
/// The thread has begun.
pub unsafe fn is_foreign() -> bool {
    // SAFETY: the caller's.
    unsafe { sl_is_foreign() != 0 }
}

/// The calling thread's state, null where there is none.
#[inline]
pub fn thread_state() -> *mut PyThreadState {
    // SAFETY: callable from anywhere.
    unsafe { sl_thread_state() }
}

/// The calling thread's identity, as `threading.get_ident()` gives it.
pub fn ident() -> c_ulong {
    // SAFETY: callable from anywhere.
    unsafe { thread_ident() }
}

/// The identity of the thread that a state was made for.
///
/// # Safety
/// `ts` is a living thread state.
pub unsafe fn ident_of(ts: *mut PyThreadState) -> c_ulong {
    // SAFETY: the caller's.
    unsafe { sl_thread_ident(ts) }
}

/// Every thread state of this interpreter.
///
/// # Safety
/// The GIL is held, and stays held while the iterator is used.
pub unsafe fn thread_states() -> impl Iterator<Item = *mut PyThreadState> {
    let mut at = std::ptr::null_mut();
    std::iter::from_fn(move || {
        // SAFETY: the GIL keeps the list as it is.
        at = unsafe { sl_next_thread(at) };
        (!at.is_null()).then_some(at)
    })
}

/// The dict of a thread: borrowed, null with an exception.
///
/// # Safety
/// `ts` is a living thread state, and the GIL is held.
pub unsafe fn thread_dict(ts: *mut PyThreadState) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_thread_dict(ts) }
}

/// Runs `body`, the rest of the destructor `slot`, now, or has the interpreter call `slot` again
/// later if destructors are nested too deeply.
///
/// # Safety
/// `o` is being destroyed, and the garbage collector does not track it any more.
pub unsafe fn trashcan(o: *mut PyObject, slot: destructor, body: destructor) {
    // SAFETY: the caller's.
    unsafe { sl_trashcan(o, slot, body) }
}
