//! The classes that the engine names: filled in when the module is made.

use crate::python::objects::*;
use crate::python::types::TypeCell;
use pyo3_ffi::*;
use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Relaxed;

pub static TASKLET: TypeCell = TypeCell::new();

pub static CHANNEL: TypeCell = TypeCell::new();

pub static TASKLET_EXIT: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

pub fn tasklet_type() -> *mut PyTypeObject {
    TASKLET.get()
}

/// The exception class, borrowed.
pub fn tasklet_exit() -> Obj {
    TASKLET_EXIT.load(Relaxed)
}
