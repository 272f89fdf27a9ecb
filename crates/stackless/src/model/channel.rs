//! The channel object: its fields. What is in its queue is in the [`World`](crate::model::world::World).

use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::ChannelId;
use std::cell::{Cell, UnsafeCell};

/// A channel, as the interpreter sees it.
#[repr(C)]
pub struct Channel {
    head: UnsafeCell<PyObject>,
    /// For `tp_weaklistoffset`; managed by the interpreter.
    weakrefs: Cell<Obj>,
    pub id: Cell<ChannelId>,
}

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
}
