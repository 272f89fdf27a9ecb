//! The fields that this module's socket type adds, and what is asked of the standard type.

use crate::python::objects::*;
use crate::python::{args, types};
use pyo3_ffi::*;
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// What this module's sockets have after `socket.socket`'s own fields. All zeros at first.
pub struct Field {
    /// File descriptor + 1; 0 while closed.
    pub descriptor: Cell<c_int>,
    pub stream: Cell<bool>,
    /// Nanoseconds + 1; 0 for no limit.
    pub timeout: Cell<u64>,
}

impl Field {
    pub fn descriptor(&self) -> Option<c_int> {
        let number = self.descriptor.get();
        (number > 0).then(|| number - 1)
    }
}

/// The offset of the field in an object.
pub static OFFSET: AtomicUsize = AtomicUsize::new(0);

pub fn field<'a>(socket: Obj) -> &'a Field {
    // SAFETY: called with objects of this module's type, which end with the field.
    unsafe { &*socket.byte_add(OFFSET.load(Relaxed)).cast::<Field>() }
}

/// True for this module's type. Other sockets have the standard one.
pub fn is_ours(socket: Obj) -> bool {
    let ours = TYPE.get();
    // SAFETY: a living object, and a type.
    !ours.is_null() && unsafe { PyObject_TypeCheck(socket, ours) } != 0
}

/// The descriptor of any socket; None if it is closed.
pub fn descriptor_of(socket: Obj) -> Res<Option<c_int>> {
    if is_ours(socket) { Ok(field(socket).descriptor()) } else { descriptor(socket) }
}

pub static TYPE: types::TypeCell = types::TypeCell::new();

/// A standard function or method: null before the first patch, then kept for ever.
pub struct Original(AtomicPtr<PyObject>);

impl Original {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    pub fn get(&self) -> Obj {
        self.0.load(Relaxed)
    }

    /// Stores a reference, which is taken over.
    pub fn set(&self, o: Obj) {
        drop_ref_if_any(self.0.swap(o, Relaxed));
    }
}

pub fn drop_ref_if_any(o: Obj) {
    if !o.is_null() {
        drop_ref(o);
    }
}

pub static SOCKET: Original = Original::new();
pub static FILENO: Original = Original::new();
pub static GETTIMEOUT: Original = Original::new();

pub fn is_socket(o: Obj) -> bool {
    let kind = SOCKET.get();
    // SAFETY: a living object, and a type.
    !kind.is_null() && unsafe { PyObject_TypeCheck(o, kind.cast()) } != 0
}

/// The descriptor of a standard socket, None if it is closed.
pub fn descriptor(socket: Obj) -> Res<Option<c_int>> {
    let number = ask(&FILENO, socket)?;
    // SAFETY: a living object.
    let descriptor = unsafe { PyLong_AsLong(number) };
    drop_ref(number);
    if descriptor == -1 && raised() {
        return Err(Raised);
    }
    Ok(Some(descriptor as c_int).filter(|descriptor| *descriptor >= 0))
}

/// The timeout of a standard socket in nanoseconds, None for no limit.
pub fn timeout(socket: Obj) -> Res<Option<u64>> {
    let seconds = ask(&GETTIMEOUT, socket)?;
    let timeout = args::time(seconds, "timeout");
    drop_ref(seconds);
    timeout
}

fn ask(method: &Original, socket: Obj) -> Res<Obj> {
    // SAFETY: a method of the type that this is an object of.
    check(unsafe { PyObject_CallOneArg(method.get(), socket) })
}
