//! What Stackless knows of CPython's inside, and nothing of scheduling.
//!
//! `shim.c` is compiled against the headers of the interpreter that the extension is built for;
//! this is its Rust face. A [`State`] is one tasklet's share of a thread state while it does not
//! run. The picture is at the top of the shim.

pub mod crash;
mod frame_tuples;
mod frames;
mod park;

pub use frame_tuples::{
    TaskletFrames, awaitable_tuple, generator_tuple, handled, iterates, new_awaitable, new_generator,
    restore_generator, set_caller, tasklet_frames,
};
pub use frames::{CodePosition, code_names, function, line_of, positions, variable_name, visit_variables};
pub use park::{
    CallLayout, Does, Evaluator, Pending, Refusal, RefusalKind, Unparked, can_park, drop_parked, evaluator,
    park, parked_room, parked_size, parked_values, resume, wake,
};

use pyo3_ffi::{PyObject, PyThreadState, destructor, visitproc};
use std::ffi::{CStr, c_char, c_int, c_long, c_ulong, c_void};

const STATE_SIZE: usize = 256; // SL_STATE_SIZE of the shim, which checks it

/// One tasklet's share of a thread state. Its layout is the shim's secret, and differs from one
/// minor version to the next. A started tasklet's data stack follows it in memory.
#[repr(C, align(16))]
pub struct State {
    opaque: [u8; STATE_SIZE],
}

impl State {
    /// All zero: a place to initialise.
    pub const ZERO: Self = Self { opaque: [0; STATE_SIZE] };
}

unsafe extern "C" {
    fn sl_swap(from: *mut State, to: *mut State);
    fn sl_load(state: *mut State);
    fn sl_init_main(ts: *mut PyThreadState, state: *mut State);
    fn sl_init(ts: *mut PyThreadState, state: *mut State, end: *mut u8, stack: usize, context: *mut PyObject);
    fn sl_is_traced(state: *mut State) -> c_int;
    fn sl_unload(state: *mut State, owned: *mut *mut PyObject);
    fn sl_finish(ts: *mut PyThreadState, state: *mut State);
    fn sl_abandon(state: *mut State);
    fn sl_outlive(ts: *mut PyThreadState, state: *mut State);
    fn sl_current_context(ts: *mut PyThreadState) -> *mut PyObject;
    fn sl_peek_context(ts: *mut PyThreadState) -> *mut PyObject;
    fn sl_state_context(state: *mut State) -> *mut PyObject;
    fn sl_context_entered(context: *mut PyObject) -> c_int;
    fn sl_set_context(ts: *mut PyThreadState, state: *mut State, context: *mut PyObject);
    fn sl_depth(ts: *mut PyThreadState, state: *mut State) -> c_int;
    fn sl_nesting(ts: *mut PyThreadState, state: *mut State, before: *mut PyObject) -> c_int;
    fn sl_thread_dict(ts: *mut PyThreadState) -> *mut PyObject;
    fn sl_frame_object(ts: *mut PyThreadState, state: *mut State) -> *mut PyObject;
    fn sl_traverse(state: *mut State, top: c_int, visit: visitproc, arg: *mut c_void) -> c_int;
    fn sl_trace_object(ts: *mut PyThreadState, state: *mut State, profile: c_int) -> *mut PyObject;
    fn sl_set_trace(
        ts: *mut PyThreadState,
        state: *mut State,
        setter: *mut PyObject,
        function: *mut PyObject,
    ) -> c_int;
    fn sl_traced_lately() -> c_int;
    fn sl_check(ts: *mut PyThreadState) -> *const c_char;
    fn sl_watch_interpreters();
    fn sl_thread_state() -> *mut PyThreadState;
    fn sl_thread_ident(ts: *mut PyThreadState) -> c_ulong;
    fn sl_trashcan(o: *mut PyObject, slot: destructor, body: destructor);
    fn sl_begin_thread(word: *mut c_void, ts: *mut PyThreadState, running: *mut State);
    fn sl_end_thread(ts: *mut PyThreadState);
    fn sl_has_ended(ts: *mut PyThreadState) -> c_int;
    fn sl_forbid(change: c_int);
    fn sl_is_foreign() -> c_int;
    fn sl_word() -> *mut c_void;
    fn sl_enter() -> *mut c_void;
    fn sl_start_ticks(callbacks: OnTicks) -> c_int;
    fn sl_show_ticks(ts: *mut PyThreadState, on: c_int);
    fn sl_next_thread(ts: *mut PyThreadState) -> *mut PyThreadState;

    // Exported by CPython, declared in its pythread.h.
    fn PyThread_allocate_lock() -> *mut c_void;
    fn PyThread_acquire_lock_timed(lock: *mut c_void, microseconds: i64, interruptible: c_int) -> c_int;
    fn PyThread_release_lock(lock: *mut c_void);
    fn PyThread_free_lock(lock: *mut c_void);
    #[link_name = "PyThread_get_thread_ident"]
    fn thread_ident() -> c_ulong;
}

/// Whose fields a question is about.
#[derive(Clone, Copy)]
pub enum Of {
    /// The running tasklet: they are in the thread state itself.
    Running,
    /// A suspended one.
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

/// From now on the calling thread has a word of the caller's own, which is not odd, and runs the
/// tasklet with this state.
///
/// # Safety
/// `ts` is the calling thread's; `running` stays where it is until it is swapped out.
pub unsafe fn begin_thread(word: *mut c_void, ts: *mut PyThreadState, running: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_begin_thread(word, ts, running) }
}

/// The calling thread has no word any more, and [`has_ended`] from now on.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn end_thread(ts: *mut PyThreadState) {
    // SAFETY: the caller's.
    unsafe { sl_end_thread(ts) }
}

/// Has [`end_thread`] been called for this very thread state?
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn has_ended(ts: *mut PyThreadState) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_has_ended(ts) != 0 }
}

/// Switches in this thread are wrong until the change is undone.
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
/// because the running code is on a data stack that is not the running tasklet's. Somebody else
/// switches C stacks in this thread then ([`is_foreign`]), and a switch of ours would corrupt both.
#[inline(always)]
pub fn enter() -> (*mut c_void, bool) {
    // SAFETY: callable from anywhere.
    let word = unsafe { sl_enter() };
    (word.map_addr(|a| a & !1), word.addr() & 1 != 0)
}

/// Is the running code on a data stack that is not the running tasklet's?
///
/// # Safety
/// The thread has begun.
pub unsafe fn is_foreign() -> bool {
    // SAFETY: the caller's.
    unsafe { sl_is_foreign() != 0 }
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

/// Is the running interpreter the one that this was built for? The error says why not.
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

/// From now on other interpreters may run in tasklets: they learn of the limits of a tasklet's stack.
///
/// # Safety
/// The GIL of the main interpreter is held, and no exception is set. Call it once.
pub unsafe fn watch_interpreters() {
    // SAFETY: the caller's.
    unsafe { sl_watch_interpreters() }
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

/// Writes the running tasklet's share of the thread state down in `from`, and loads `to`'s.
///
/// # Safety
/// The thread has begun; no exception is set; both states are initialised; the caller switches to
/// the C stack that belongs to `to` before any Python code runs.
#[inline(always)]
pub unsafe fn swap(from: *mut State, to: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_swap(from, to) }
}

/// Loads a state without saving the one that is loaded: its tasklet has ended.
///
/// # Safety
/// As [`swap`].
pub unsafe fn load(state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_load(state) }
}

/// Prepares the state of the tasklet that is already running: a thread's main one.
///
/// # Safety
/// `ts` is the calling thread's, `state` is writable.
pub unsafe fn init_main(ts: *mut PyThreadState, state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_init_main(ts, state) }
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

/// Was a suspended tasklet given a trace or profile function?
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
    // SAFETY: the caller's; a place for each.
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

/// Drops what a suspended state owns itself, not what its frames own. It is never loaded again.
///
/// # Safety
/// The GIL is held.
pub unsafe fn abandon(state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_abandon(state) }
}

/// A suspended state outlives its thread: nothing in it points into the thread state any more. It is never
/// loaded again.
///
/// # Safety
/// The GIL is held, and `ts` is the thread state that `state` was prepared for, not freed yet.
pub unsafe fn outlive(ts: *mut PyThreadState, state: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_outlive(ts, state) }
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

/// Is somebody inside `context.run()`? Null counts as no.
///
/// # Safety
/// `context` is a `contextvars.Context` or null.
pub unsafe fn context_entered(context: *mut PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_context_entered(context) != 0 }
}

/// Python calls in progress.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn depth(ts: *mut PyThreadState, of: Of) -> c_long {
    // SAFETY: the caller's.
    unsafe { sl_depth(ts, of.pointer()).into() }
}

/// Entries into the interpreter through C, above the tasklet's own. Frames with the globals `before`
/// (borrowed or null) at the bottom do not count.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn nesting(ts: *mut PyThreadState, of: Of, before: *mut PyObject) -> c_long {
    // SAFETY: the caller's.
    unsafe { sl_nesting(ts, of.pointer(), before).into() }
}

/// The dict of a thread: borrowed, null with an exception.
///
/// # Safety
/// `ts` is a living thread state, and the GIL is held.
pub unsafe fn thread_dict(ts: *mut PyThreadState) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_thread_dict(ts) }
}

/// The innermost Python frame: a new reference, or null if there is none.
///
/// # Safety
/// `ts` is the calling thread's.
pub unsafe fn frame_object(ts: *mut PyThreadState, of: Of) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_frame_object(ts, of.pointer()) }
}

/// For `tp_traverse`: visits what a suspended tasklet holds. `top` is how many values its innermost frame
/// has; -1 if nobody knows, then only variables are visited.
///
/// # Safety
/// `state` is that of a suspended tasklet, and a garbage collection is under way.
pub unsafe fn traverse(state: *mut State, top: c_int, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the caller's.
    unsafe { sl_traverse(state, top, visit, arg) }
}

/// Has a tasklet of the calling thread with a trace or profile function stopped or ended since the last call?
#[inline(always)]
pub fn traced_lately() -> bool {
    // SAFETY: callable from anywhere.
    unsafe { sl_traced_lately() != 0 }
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
pub unsafe fn set_trace(
    ts: *mut PyThreadState,
    of: Of,
    setter: *mut PyObject,
    function: *mut PyObject,
) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_set_trace(ts, of.pointer(), setter, function) == 0 }
}

/// Runs `body`, the rest of the destructor `slot`, now, or has the interpreter call `slot` again
/// later where destructors are nested too deeply.
///
/// # Safety
/// `o` is being destroyed, and the garbage collector does not track it any more.
pub unsafe fn trashcan(o: *mut PyObject, slot: destructor, body: destructor) {
    // SAFETY: the caller's.
    unsafe { sl_trashcan(o, slot, body) }
}

/// How a wait on an [`Alarm`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    ByAlarm,
    ByTimeout,
    /// A signal arrived; its Python handler has not run yet.
    BySignal,
}

/// A binary semaphore on which a thread sleeps until another one rings. CPython's own lock, whose
/// wait ends when a signal arrives.
pub struct Alarm(*mut c_void);

impl Alarm {
    /// A quiet alarm; none without memory.
    pub fn new() -> Option<Self> {
        // SAFETY: no precondition; a new lock is free, and taking it cannot block.
        unsafe {
            let lock = PyThread_allocate_lock();
            if lock.is_null() {
                return None;
            }
            PyThread_acquire_lock_timed(lock, -1, 0);
            Some(Self(lock))
        }
    }

    /// Wakes the sleeper, or the next one to come. The caller sees to it that nobody rings twice
    /// before somebody woke.
    pub fn ring(&self) {
        // SAFETY: the lock exists, and is held: by nobody in particular, which its kind permits.
        unsafe { PyThread_release_lock(self.0) }
    }

    /// Sleeps until somebody rings, a signal arrives, or the time is over. Call it without the GIL.
    pub fn wait(&self, microseconds: i64) -> Woken {
        // SAFETY: the lock exists.
        match unsafe { PyThread_acquire_lock_timed(self.0, microseconds, 1) } {
            1 => Woken::ByAlarm,
            2 => Woken::BySignal,
            _ => Woken::ByTimeout,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: nobody waits any more; the lock is released before it is freed, as it must be.
        unsafe {
            PyThread_release_lock(self.0);
            PyThread_free_lock(self.0);
        }
    }
}
