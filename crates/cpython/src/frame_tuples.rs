//! Frames as data: the Rust face of `chain.c`, `generators.c` and `steps.c`.

use crate::State;
use pyo3_ffi::{PyMem_Free, PyObject};
use std::ffi::c_int;
use std::ptr::NonNull;

#[repr(C)]
struct RawChain {
    opaque: [u8; 0],
}

unsafe extern "C" {
    fn sl_generator_picture(o: *mut PyObject, waiting: *mut PyObject) -> *mut PyObject;
    fn sl_new_generator(kind: *mut PyObject, slots: c_int) -> *mut PyObject;
    fn sl_restore_generator(o: *mut PyObject, picture: *mut PyObject) -> c_int;
    fn sl_step_picture(o: *mut PyObject) -> *mut PyObject;
    fn sl_new_step(
        kind: *mut PyObject,
        generator: *mut PyObject,
        state: c_int,
        values: *mut PyObject,
    ) -> *mut PyObject;
    fn sl_chain_pictures(s: *mut State) -> *mut PyObject;
    fn sl_read_chain(list: *mut PyObject) -> *mut RawChain;
    fn sl_chain_size(chain: *const RawChain) -> usize;
    fn sl_build_chain(
        chain: *const RawChain,
        s: *mut State,
        context: *mut PyObject,
        exception: *mut PyObject,
    );
    fn sl_iterates(s: *mut State) -> c_int;
    fn sl_handled(s: *mut State) -> *mut PyObject;
    fn sl_set_caller(o: *mut PyObject, back: *mut PyObject) -> c_int;
}

/// A frame object that is not being executed gets a caller; false with an exception.
///
/// # Safety
/// Living objects.
#[must_use]
pub unsafe fn set_caller(o: *mut PyObject, back: *mut PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_set_caller(o, back) == 0 }
}

/// A generator, coroutine or asynchronous generator as a tuple; null with an exception. `waiting` is the
/// picture of its frame, if that is in the chain of a parked tasklet, else null.
///
/// # Safety
/// Living objects.
pub unsafe fn generator_tuple(o: *mut PyObject, waiting: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_generator_picture(o, waiting) }
}

/// A generator of this type that looks exhausted, with so many slots; null with an exception.
///
/// # Safety
/// A living object.
pub unsafe fn new_generator(kind: *mut PyObject, slots: c_int) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_new_generator(kind, slots) }
}

/// Fills one; false with an exception.
///
/// # Safety
/// Living objects.
#[must_use]
pub unsafe fn restore_generator(o: *mut PyObject, picture: *mut PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_restore_generator(o, picture) == 0 }
}

/// An awaitable of an asynchronous generator as a tuple (generator, state, values); null with an exception.
///
/// # Safety
/// A living object.
pub unsafe fn awaitable_tuple(o: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_step_picture(o) }
}

/// One of this type; null with an exception.
///
/// # Safety
/// Living objects.
pub unsafe fn new_awaitable(
    kind: *mut PyObject,
    generator: *mut PyObject,
    state: c_int,
    values: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_new_step(kind, generator, state, values) }
}

/// The frames of a parked tasklet: a list of tuples (generator or None, picture), outermost first; null
/// with an exception.
///
/// # Safety
/// The state is that of a parked tasklet.
pub unsafe fn tasklet_frames(s: *mut State) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_chain_pictures(s) }
}

/// Does a tasklet wait for the next value of a `for`?
///
/// # Safety
/// The state is that of a parked tasklet.
pub unsafe fn iterates(s: *mut State) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_iterates(s) != 0 }
}

/// The exception that a suspended tasklet is handling outside of its generators: borrowed, or null.
///
/// # Safety
/// The state is that of a suspended tasklet.
pub unsafe fn handled(s: *mut State) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_handled(s) }
}

/// The frames of a tasklet that is to be made: checked, and borrowed from the list.
pub struct TaskletFrames(NonNull<RawChain>);

impl TaskletFrames {
    /// Reads a list of tuples (generator or None, picture, exception or None); None with an exception.
    ///
    /// # Safety
    /// A living object, which lives and is not changed as long as the chain.
    pub unsafe fn read(list: *mut PyObject) -> Option<Self> {
        // SAFETY: the caller's.
        NonNull::new(unsafe { sl_read_chain(list) }).map(Self)
    }

    /// The bytes that the state takes.
    pub fn size(&self) -> usize {
        // SAFETY: a chain.
        unsafe { sl_chain_size(self.0.as_ptr()) }
    }

    /// Makes the state of a parked tasklet. Takes over the reference to the context.
    ///
    /// # Safety
    /// There is as much memory; `context` is owned, `exception` is null or lives.
    pub unsafe fn build(self, s: *mut State, context: *mut PyObject, exception: *mut PyObject) {
        // SAFETY: the caller's.
        unsafe { sl_build_chain(self.0.as_ptr(), s, context, exception) }
    }
}

impl Drop for TaskletFrames {
    fn drop(&mut self) {
        // SAFETY: a chain; the GIL is held.
        unsafe { PyMem_Free(self.0.as_ptr().cast()) }
    }
}
