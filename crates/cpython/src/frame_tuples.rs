//! Generators and tasklets as tuples, and back: the face of `tasklet_frames.c`, `generators.c` and `asyncgen_awaitables.c`.

use crate::State;
use pyo3_ffi::{PyMem_Free, PyObject};
use std::ffi::c_int;
use std::ptr::NonNull;

#[repr(C)]
struct RawFrames {
    opaque: [u8; 0],
}

unsafe extern "C" {
    fn sl_generator_tuple(o: *mut PyObject, waiting: *mut PyObject) -> *mut PyObject;
    fn sl_new_generator(kind: *mut PyObject, slots: c_int) -> *mut PyObject;
    fn sl_restore_generator(o: *mut PyObject, tuple: *mut PyObject) -> c_int;
    fn sl_awaitable_tuple(o: *mut PyObject) -> *mut PyObject;
    fn sl_new_awaitable(
        kind: *mut PyObject,
        generator: *mut PyObject,
        state: c_int,
        values: *mut PyObject,
    ) -> *mut PyObject;
    fn sl_list_frames(s: *mut State) -> *mut PyObject;
    fn sl_pack_frames(s: *mut State) -> *mut PyObject;
    fn sl_unpack_frames(frames: *mut PyObject, link: *mut PyObject) -> *mut PyObject;
    fn sl_read_frames(list: *mut PyObject) -> *mut RawFrames;
    fn sl_frames_size(frames: *const RawFrames) -> usize;
    fn sl_build_frames(
        frames: *const RawFrames,
        s: *mut State,
        context: *mut PyObject,
        exception: *mut PyObject,
    );
    fn sl_iterates(s: *mut State) -> c_int;
    fn sl_handled(s: *mut State) -> *mut PyObject;
}

/// A generator, coroutine or asynchronous generator as a tuple; null with an exception. `waiting` is the
/// tuple of its frame if that waits as a part of a parked tasklet, else null.
///
/// # Safety
/// Living objects.
pub unsafe fn generator_tuple(o: *mut PyObject, waiting: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_generator_tuple(o, waiting) }
}

/// A generator of this type that looks exhausted, with room for `slots` values; null with an exception.
///
/// # Safety
/// A living object.
pub unsafe fn new_generator(kind: *mut PyObject, slots: c_int) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_new_generator(kind, slots) }
}

/// Fills a generator that [`new_generator`] has made, from its tuple. False with an exception.
///
/// # Safety
/// Living objects.
#[must_use]
pub unsafe fn restore_generator(o: *mut PyObject, tuple: *mut PyObject) -> bool {
    // SAFETY: the caller's.
    unsafe { sl_restore_generator(o, tuple) == 0 }
}

/// An awaitable of an asynchronous generator as a tuple (generator, state, values); null with an exception.
///
/// # Safety
/// A living object.
pub unsafe fn awaitable_tuple(o: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_awaitable_tuple(o) }
}

/// An awaitable of this type, made from the items of its tuple; null with an exception.
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
    unsafe { sl_new_awaitable(kind, generator, state, values) }
}

/// The frames of a parked tasklet: a list of tuples (generator or None, tuple of the frame), outermost first; null
/// with an exception.
///
/// # Safety
/// The state is that of a parked tasklet.
pub unsafe fn tasklet_frames(s: *mut State) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_list_frames(s) }
}

/// The frames of a parked tasklet as blobs hold them: see `sl_pack_frames`; null with an exception.
///
/// # Safety
/// The state is that of a parked tasklet.
pub unsafe fn packed_frames(s: *mut State) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_pack_frames(s) }
}

/// A list for [`TaskletFrames::read`], from such a tuple; null with an exception. An item that is no packed frame is
/// replaced with the result of `link(item)`.
///
/// # Safety
/// Living objects. Python code may run.
pub unsafe fn unpacked_frames(frames: *mut PyObject, link: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's.
    unsafe { sl_unpack_frames(frames, link) }
}

/// True if a tasklet waits for the next value of a `for`.
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
pub struct TaskletFrames(NonNull<RawFrames>);

impl TaskletFrames {
    /// Reads a list of tuples (generator or None, tuple of the frame, exception or None); None with an exception.
    ///
    /// # Safety
    /// A living object, which lives and is not changed as long as the result.
    pub unsafe fn read(list: *mut PyObject) -> Option<Self> {
        // SAFETY: the caller's.
        NonNull::new(unsafe { sl_read_frames(list) }).map(Self)
    }

    /// The number of bytes that the state needs.
    pub fn size(&self) -> usize {
        // SAFETY: made by sl_read_frames.
        unsafe { sl_frames_size(self.0.as_ptr()) }
    }

    /// Makes the state of a parked tasklet. Takes over the reference to the context.
    ///
    /// # Safety
    /// There are [`Self::size`] bytes of memory; `context` is owned, `exception` is null or lives.
    pub unsafe fn build(self, s: *mut State, context: *mut PyObject, exception: *mut PyObject) {
        // SAFETY: the caller's.
        unsafe { sl_build_frames(self.0.as_ptr(), s, context, exception) }
    }
}

impl Drop for TaskletFrames {
    fn drop(&mut self) {
        // SAFETY: made by sl_read_frames; the GIL is held.
        unsafe { PyMem_Free(self.0.as_ptr().cast()) }
    }
}
