//! The classes of tasklets and channels, and TaskletExit, for code below `types/`. Set when the module is made.

use crate::model::channel::{Channel, ChannelRef};
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::python::objects::*;
use crate::python::types::TypeCell;
use pyo3_ffi::*;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

pub static TASKLET: TypeCell = TypeCell::new();
pub static CHANNEL: TypeCell = TypeCell::new();
pub static TASKLET_EXIT: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

pub fn tasklet_type() -> *mut PyTypeObject {
    TASKLET.get()
}

/// The exception class: borrowed.
pub fn tasklet_exit() -> Obj {
    TASKLET_EXIT.load(Relaxed)
}

/// The tasklet that an object is, None for other objects.
pub fn as_tasklet(o: Obj) -> Option<TaskletRef> {
    // SAFETY: a living object and a type; a tasklet if that is its type.
    unsafe { (PyObject_TypeCheck(o, tasklet_type()) != 0).then(|| Tasklet::from(o)) }
}

/// The channel that an object is, None for other objects.
pub fn as_channel(o: Obj) -> Option<ChannelRef> {
    // SAFETY: a living object and a type; a channel if that is its type.
    unsafe { (PyObject_TypeCheck(o, CHANNEL.get()) != 0).then(|| Channel::from(o)) }
}
