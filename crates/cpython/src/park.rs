//! Parking: suspended tasklets without a C stack. The face of `can_park.c`, `park.c`, which has the picture, and
//! `resume.c`.

use crate::State;
use pyo3_ffi::{Py_ssize_t, PyObject, PyThreadState};
use std::ffi::{c_char, c_int, c_void};

/// The call of a primitive in which a tasklet waits, and where its arguments are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pending {
    args: *const *mut PyObject,
    count: c_int,
    gives_none: c_int,
    function: *const c_void,
}

impl Pending {
    /// The tasklet does not wait in a primitive that was called from Python.
    pub const NONE: Self =
        Self { args: std::ptr::null(), count: 0, gives_none: 0, function: std::ptr::null() };

    /// The tasklet waits in this METH_FASTCALL function with these arguments, those by keyword included.
    #[inline(always)]
    pub fn call(function: *const c_void, args: *const *mut PyObject, count: Py_ssize_t) -> Self {
        Self { args, count: count as c_int, gives_none: 0, function }
    }

    /// The same for a function that returns None, whatever value its tasklet is woken with.
    #[inline(always)]
    pub fn effect(function: *const c_void, args: *const *mut PyObject, count: Py_ssize_t) -> Self {
        Self { gives_none: 1, ..Self::call(function, args, count) }
    }

    /// The tasklet waits for the next value of an iteration; `function` is the `tp_iternext` that was called.
    #[inline(always)]
    pub fn iteration(function: *const c_void) -> Self {
        Self { args: &raw const sl_iterating as *const _, count: 0, gives_none: 0, function }
    }

    /// A limit of `run()` has interrupted the tasklet between two instructions.
    #[inline(always)]
    pub fn interrupted() -> Self {
        Self { args: &raw const sl_interrupted as *const _, ..Self::NONE }
    }

    /// True for [`Self::effect`].
    pub fn gives_none(&self) -> bool {
        self.gives_none != 0
    }
}

/// The pending call of a tasklet that can be parked, as it lies on the stack of the innermost frame.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CallLayout {
    /// The number of values in the innermost frame, variables included.
    pub values: c_int,
    operands: c_int,
    length: c_int,
}

/// Why a tasklet cannot be parked.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// The code object concerned, borrowed; null if there is none.
    pub code: *mut PyObject,
    /// The offset of its instruction, in bytes.
    pub at: c_int,
    /// What that instruction does.
    pub what: Does,
    /// What it called; null if that is not known. See [`living`].
    pub callee: *mut PyObject,
    /// The code of the Python function that C code has called for it, borrowed, or null.
    pub called: *mut PyObject,
}

/// What an instruction does.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Does {
    Other,
    Call,
    /// With `*` or `**`.
    CallStarred,
    Attribute,
    Item,
    Operator,
    /// `iter()` or `next()` of a loop.
    Loop,
    /// The beginning of a `with` block.
    Enter,
    /// The end of one, with an exception in flight.
    Exit,
}

/// The kinds of reasons why a tasklet cannot be parked.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalKind {
    /// It can be parked.
    None,
    /// C code runs in it.
    InC,
    /// The code does not wait in a call of a primitive.
    NotACall,
    /// The code called C code that called back into Python.
    CBetween,
    /// The code is that of a destructor.
    Clearing,
    /// It waits in a trace or profile function.
    Tracing,
    /// A limit of `run()` has interrupted it.
    Interrupted,
}

unsafe extern "C" {
    static sl_iterating: c_char;
    static sl_interrupted: c_char;
    fn sl_can_park(
        state: *mut State,
        call: *const Pending,
        layout: *mut CallLayout,
        why: *mut Refusal,
    ) -> c_int;
    fn sl_is_living(pointer: *mut PyObject) -> c_int;
    fn sl_parked_values(state: *mut State) -> c_int;
    fn sl_parked_size(state: *mut State) -> usize;
    fn sl_parked_room(state: *mut State) -> usize;
    fn sl_park(state: *mut State, layout: *const CallLayout, to: *mut State, size: usize);
    fn sl_wake(ts: *mut PyThreadState, s: *mut State, end: *mut u8, stack: usize, from: *mut State) -> c_int;
    fn sl_resume(
        ts: *mut PyThreadState,
        s: *mut State,
        value: *mut PyObject,
        evaluating: *mut u8,
    ) -> *mut PyObject;
    fn sl_drop_parked(ts: *mut PyThreadState, s: *mut State);
    fn sl_evaluator(ts: *mut PyThreadState) -> Evaluator;
}

/// What evaluates frames.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evaluator {
    /// CPython's own function, which can continue a frame.
    Interpreter,
    /// Perhaps CPython's just-in-time compiler: a call may be pending in compiled code.
    Compiler,
    /// A function set by another library (PEP 523).
    Other,
}

/// What evaluates the frames of new calls.
///
/// # Safety
/// A thread state, and the GIL is held.
pub unsafe fn evaluator(ts: *mut PyThreadState) -> Evaluator {
    // SAFETY: the caller's.
    unsafe { sl_evaluator(ts) }
}

/// Finds out whether a suspended tasklet can be parked. It has a stack, and its function is a Python function.
///
/// # Safety
/// The state is that of such a tasklet, and it waits in `call`.
pub unsafe fn can_park(state: *mut State, call: &Pending) -> Result<CallLayout, Refusal> {
    let null = std::ptr::null_mut();
    let mut why =
        Refusal { kind: RefusalKind::None, code: null, at: 0, what: Does::Other, callee: null, called: null };
    let mut layout = CallLayout { values: 0, operands: 0, length: 0 };
    // SAFETY: the caller's.
    if unsafe { sl_can_park(state, call, &mut layout, &mut why) } != 0 { Ok(layout) } else { Err(why) }
}

/// What a refusal gives as the callee, if it is an object still. Looks at all objects: for messages.
///
/// # Safety
/// No Python code has run since [`can_park`] returned the refusal.
pub unsafe fn living(callee: *mut PyObject) -> Option<*mut PyObject> {
    // SAFETY: the pointer is compared only.
    (unsafe { sl_is_living(callee) } != 0).then_some(callee)
}

/// The number of values in the innermost frame of a parked tasklet, variables included.
///
/// # Safety
/// The state is that of a parked tasklet.
pub unsafe fn parked_values(state: *mut State) -> c_int {
    // SAFETY: the caller's.
    unsafe { sl_parked_values(state) }
}

/// The number of bytes that [`park`] needs.
///
/// # Safety
/// As for [`can_park`].
pub unsafe fn parked_size(state: *mut State) -> usize {
    // SAFETY: the caller's.
    unsafe { sl_parked_size(state) }
}

/// The number of bytes that the memory of a parked state has.
///
/// # Safety
/// The state is that of a parked tasklet, or what one was woken from.
pub unsafe fn parked_room(state: *mut State) -> usize {
    // SAFETY: the caller's.
    unsafe { sl_parked_room(state) }
}

/// Parks a tasklet: moves its state to `to`. `layout` is what [`can_park`] has found, None for a tasklet that
/// was woken and has not continued yet.
///
/// # Safety
/// No code has run in the tasklet since [`can_park`]; `to` has room for `size` bytes, which are [`parked_size`], or it is
/// what the tasklet was woken from, and has that room. The old state and the C stack are not used any more.
pub unsafe fn park(state: *mut State, layout: Option<&CallLayout>, to: *mut State, size: usize) {
    // SAFETY: the caller's.
    unsafe { sl_park(state, layout.map_or(std::ptr::null(), std::ptr::from_ref), to, size) }
}

/// Whether the parked state of a tasklet that was woken is still used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unparked {
    /// Yes, frames are left in it: keep it until [`resume`] returns, or the tasklet is parked again.
    Kept,
    /// No.
    Moved,
    /// The tasklet was not woken: there was no memory, and nothing has changed.
    NoMemory,
}

/// Gives a parked tasklet a stack.
///
/// # Safety
/// `s`, `end` and `stack` are as for [`crate::init`]; `from` is a parked tasklet's.
#[must_use]
pub unsafe fn wake(
    ts: *mut PyThreadState,
    s: *mut State,
    end: *mut u8,
    stack: usize,
    from: *mut State,
) -> Unparked {
    // SAFETY: the caller's.
    match unsafe { sl_wake(ts, s, end, stack, from) } {
        0 => Unparked::Moved,
        1 => Unparked::Kept,
        _ => Unparked::NoMemory,
    }
}

/// Continues the running tasklet, which was woken: its pending call returns `value`, which is taken
/// over, or raises the exception that is set if that is null. Returns what its function returns. While
/// `*evaluating` is not 0 the tasklet can be parked again, and then this function never returns.
///
/// # Safety
/// `s` is the running tasklet's, which [`wake`] has filled, on the stack that goes with it.
pub unsafe fn resume(
    ts: *mut PyThreadState,
    s: *mut State,
    value: *mut PyObject,
    evaluating: *mut u8,
) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_resume(ts, s, value, evaluating) }
}

/// Ends a parked tasklet without running its code. May run destructors of what it held.
///
/// # Safety
/// The state is a parked tasklet's, to which nothing refers any more; `ts` is the calling thread's.
pub unsafe fn drop_parked(ts: *mut PyThreadState, s: *mut State) {
    // SAFETY: the caller's.
    unsafe { sl_drop_parked(ts, s) }
}
