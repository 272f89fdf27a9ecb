//! A tasklet's share of the thread state, and the switch from one to another. The face of `switch.c`, `traverse.c` and
//! `interpreters.c`.

use pyo3_ffi::{PyObject, PyThreadState, visitproc};
use std::ffi::{CStr, c_char, c_int, c_void};

const STATE_SIZE: usize = 256; // SL_STATE_SIZE in exports.h

/// One tasklet's share of a thread state. Only the C files know its layout, which differs from one
/// minor version to the next. A started tasklet's data stack follows it in memory.
#[repr(C, align(16))]
pub struct State {
    opaque: [u8; STATE_SIZE],
}

impl State {
    /// All zero: memory to initialise.
    pub const ZERO: Self = Self { opaque: [0; STATE_SIZE] };
}

unsafe extern "C" {
    fn sl_swap(from: *mut State, to: *mut State);
    fn sl_load(state: *mut State);
    fn sl_init(ts: *mut PyThreadState, state: *mut State, end: *mut u8, stack: usize, context: *mut PyObject);
    fn sl_is_traced(state: *mut State) -> c_int;
    fn sl_unload(state: *mut State, owned: *mut *mut PyObject);
    fn sl_finish(ts: *mut PyThreadState, state: *mut State);
    fn sl_abandon(state: *mut State);
    fn sl_outlive(ts: *mut PyThreadState, state: *mut State);
    fn sl_check(ts: *mut PyThreadState) -> *const c_char;
    fn sl_traverse(state: *mut State, top: c_int, visit: visitproc, arg: *mut c_void) -> c_int;
    fn sl_watch_interpreters();
}

/// The tasklet whose fields are meant.
#[derive(Clone, Copy)]
pub enum Of {
    /// The running tasklet: they are in the thread state itself.
    Running,
    /// A suspended tasklet: they are in its state.
    Suspended(*mut State),
}

impl Of {
    pub(crate) fn pointer(self) -> *mut State {
        match self {
            Of::Running => std::ptr::null_mut(),
            Of::Suspended(state) => state,
        }
    }
}

/// Checks that the running interpreter is the one that this was built for. The error says why it is not.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn check_interpreter(ts: *mut PyThreadState) -> Result<(), &'static CStr> {
    // SAFETY: the caller's; the text is a constant.
    unsafe {
        let problem = sl_check(ts);
        if problem.is_null() { Ok(()) } else { Err(CStr::from_ptr(problem)) }
    }
}

/// Makes sure that other interpreters that run in tasklets use the limits of the tasklet's stack.
///
/// # Safety
/// The GIL of the main interpreter is held, and no exception is set. Call it once.
pub unsafe fn watch_interpreters() {
    // SAFETY: the caller's.
    unsafe { sl_watch_interpreters() }
}

/// Saves the running tasklet's share of the thread state in `from`, and loads that in `to`.
///
/// # Safety
/// The thread has begun; no exception is set; both states are initialised; the caller switches to
/// the C stack that belongs to `to` before any Python code runs.
#[inline(always)]
pub unsafe fn swap(from: *mut State, to: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_swap(from, to) }
}

/// Loads a state without saving the current one, whose tasklet has ended.
///
/// # Safety
/// As [`swap`].
pub unsafe fn load(state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_load(state) }
}

/// Prepares the state of a tasklet that has not begun. Its data stack lies between the state and
/// `end`. `stack` is the size of its C stack in bytes. The reference to `context` is taken over.
///
/// # Safety
/// `ts` is the calling thread's; everything from `state` to `end` is writable and stays so while the
/// tasklet lives; `context` is an owned reference or null.
pub unsafe fn init(
    ts: *mut PyThreadState,
    state: *mut State,
    end: *mut u8,
    stack: usize,
    context: *mut PyObject,
) {
    // SAFETY: the caller's.
    unsafe { sl_init(ts, state, end, stack, context) }
}

/// True if a suspended tasklet has a trace or profile function.
///
/// # Safety
/// `state` is a suspended tasklet's.
pub unsafe fn is_traced(state: *mut State) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_is_traced(state) != 0 }
}

/// Undoes [`init`] for a tasklet that has not begun, and returns what the state owned, or null: the context,
/// a trace function and a profile function.
///
/// # Safety
/// `state` was initialised, and never loaded.
pub unsafe fn unload(state: *mut State) -> [*mut PyObject; 3] {
    let mut owned = [std::ptr::null_mut(); 3];
    // SAFETY: the caller's; there is room for three.
    unsafe { sl_unload(state, owned.as_mut_ptr()) };
    owned
}

/// Drops what the thread state holds for the running tasklet, which has ended: trace functions, the
/// handled exception, the context. May run Python code.
///
/// # Safety
/// `state` is the running tasklet's, and `ts` the calling thread's.
pub unsafe fn finish(ts: *mut PyThreadState, state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_finish(ts, state) }
}

/// Drops what a suspended state itself owns, not what its frames own. The state is never loaded again.
///
/// # Safety
/// The GIL is held.
pub unsafe fn abandon(state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_abandon(state) }
}

/// Removes what points into the thread state from a suspended state that outlives its thread. The state is never
/// loaded again.
///
/// # Safety
/// The GIL is held, and `ts` is the thread state that `state` was prepared for, not freed yet.
pub unsafe fn outlive(ts: *mut PyThreadState, state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_outlive(ts, state) }
}

/// For `tp_traverse`: visits what a suspended tasklet holds. `top` is how many values its innermost frame
/// has; -1 if that is not known, then only variables are visited.
///
/// # Safety
/// `state` is that of a suspended tasklet, and a garbage collection is under way.
pub unsafe fn traverse(state: *mut State, top: c_int, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the caller's.
    unsafe { sl_traverse(state, top, visit, arg) }
}
