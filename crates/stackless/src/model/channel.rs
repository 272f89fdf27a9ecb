//! The channel object: its fields. What is in its queue is in the [`World`](crate::model::world::World).
//!
//! The values of a buffer are here, and their number is in the world, which has the rules. Both are changed together,
//! by [`crate::engine::buffer`].

use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::python::memory;
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::ChannelId;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::ptr::null_mut;

/// A channel, as the interpreter sees it.
#[repr(C)]
pub struct Channel {
    head: UnsafeCell<PyObject>,
    /// For `tp_weaklistoffset`; managed by the interpreter.
    weakrefs: Cell<Obj>,
    pub id: Cell<ChannelId>,
    /// The tasklet whose `join()` waits here, or null: borrowed. See [`of_end`].
    awaited: Cell<*const Tasklet>,
    /// The values in the buffer, the oldest first; null without a buffer. Null for None, as in a tempval.
    buffer: Cell<*mut Buffer>,
}

/// The channel in which `join()` waits for the end of a tasklet, if there was a `join()`, and it has not ended since.
pub fn of_end(t: TaskletRef) -> Option<ChannelRef> {
    let o = t.sequel.get();
    // SAFETY: before the end, the sequel is a channel.
    (!o.is_null() && !t.flags.get().has_outcome).then(|| unsafe { Channel::from(o) })
}

/// A tasklet gets a channel, which is taken over, in which `join()` waits for its end.
pub fn set_end(t: TaskletRef, made: Obj) {
    // SAFETY: a channel.
    unsafe { Channel::from(made) }.awaited.set(t);
    drop_ref(t.sequel.replace(made));
}

/// A tasklet ends, or is destroyed: its channel does not lead to it any more.
pub fn forget_end(t: TaskletRef) {
    if let Some(ch) = of_end(t) {
        ch.awaited.set(std::ptr::null());
    }
}

pub type Buffer = RefCell<VecDeque<Obj>>;

pub type ChannelRef = &'static Channel;

impl Channel {
    pub const WEAKREF_OFFSET: usize = std::mem::offset_of!(Channel, weakrefs);

    /// The channel behind an object that is one.
    ///
    /// # Safety
    /// `o` is an instance of the channel type, initialised by its `tp_new`.
    #[inline(always)]
    pub unsafe fn from(o: Obj) -> ChannelRef {
        // SAFETY: the caller's.
        unsafe { &*o.cast::<Channel>() }
    }

    pub fn obj(&self) -> Obj {
        self.head.get()
    }

    #[inline(always)]
    pub fn id(&self) -> ChannelId {
        self.id.get()
    }

    /// The tasklet for whose end the tasklets in the queue wait; None for a channel of the program.
    pub fn awaited(&self) -> Option<TaskletRef> {
        // SAFETY: `forget_end` clears it before the tasklet goes.
        unsafe { self.awaited.get().as_ref() }
    }

    pub fn buffer(&self) -> Option<&Buffer> {
        // SAFETY: owned by the channel, and freed with it.
        unsafe { self.buffer.get().as_ref() }
    }

    /// Makes the buffer, empty, if there is none yet.
    pub fn make_buffer(&self) -> Res<&Buffer> {
        if self.buffer().is_none() {
            memory::enough()?;
            self.buffer.set(Box::into_raw(Box::default()));
        }
        Ok(self.buffer().expect("made just now"))
    }

    /// The values in the buffer, the oldest first, null for None: borrowed.
    pub fn each_value(&self, f: impl FnMut(Obj)) {
        if let Some(buffer) = self.buffer() {
            buffer.borrow().iter().copied().for_each(f);
        }
    }

    /// Replaces all values in the buffer by None, and drops them, which may run Python code.
    pub fn clear_values(&self) {
        let take = |at: usize| Some(std::mem::replace(self.buffer()?.borrow_mut().get_mut(at)?, null_mut()));
        let mut at = 0;
        while let Some(value) = take(at) {
            drop_ref(value);
            at += 1;
        }
    }

    /// Frees the buffer of a channel that is being destroyed, which is forgotten by the world, and drops the values.
    pub fn free_buffer(&self) {
        let buffer = self.buffer.replace(null_mut());
        if !buffer.is_null() {
            // SAFETY: made by `make_buffer`, and taken away.
            unsafe { Box::from_raw(buffer) }.take().into_iter().for_each(drop_ref);
        }
    }
}
