//! The fields that this module's socket type adds, and what is asked of the standard type.
//!
//! The descriptor and the timeout of a standard socket are read where CPython's `socketmodule.h` has them, which takes a
//! fraction of the time of the methods `fileno` and `gettimeout`:
//!
//! ```text
//!   | object head | descriptor, family, type, protocol | error handler | timeout |    four ints, a pointer, an int64
//! ```
//!
//! That header is not installed with CPython. So [`look`] asks a new socket first whether its fields have what its methods
//! say; where they differ, the methods are called as ever.

use crate::python::objects::*;
use crate::python::{args, types};
use pyo3_ffi::*;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// What this module's sockets have after `socket.socket`'s own fields. All zeros at first.
pub struct Field {
    /// File descriptor + 1; 0 while closed.
    pub descriptor: Cell<c_int>,
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

/// The beginning of a standard socket.
#[repr(C)]
struct Standard {
    head: PyObject,
    descriptor: c_int,
    family: c_int,
    kind: c_int,
    protocol: c_int,
    error_handler: *const c_void,
    /// Nanoseconds; negative for no limit.
    timeout: i64,
}

/// True if standard sockets were found to begin like that.
static KNOWN: AtomicBool = AtomicBool::new(false);

/// `_knows_socket_fields()`
pub unsafe extern "C" fn knows_fields(_: Obj, _: Obj) -> Obj {
    bool_obj(KNOWN.load(Relaxed))
}

fn fields(socket: Obj) -> Option<&'static Standard> {
    // SAFETY: a socket of the standard type, which was looked at.
    KNOWN.load(Relaxed).then(|| unsafe { &*socket.cast::<Standard>() })
}

/// Finds out whether sockets of the standard type begin as [`Standard`] says.
pub fn look(base: *mut PyTypeObject) {
    // SAFETY: a living type; owned references are dropped; fields are read within the object's size.
    unsafe {
        if (*base).tp_basicsize < size_of::<Standard>() as Py_ssize_t {
            return;
        }
        let socket = PyObject_CallNoArgs(base.cast());
        if !socket.is_null() {
            let same = [1.5, -1.0].into_iter().all(|seconds| has_fields(socket, seconds).unwrap_or(false));
            KNOWN.store(same, Relaxed);
            PyErr_Clear();
            drop_ref_if_any(PyObject_CallMethod(socket, c"close".as_ptr(), std::ptr::null()));
            drop_ref(socket);
        }
        PyErr_Clear();
    }
}

/// Gives a socket a timeout, none if it is negative. True if its fields have what its methods say.
///
/// # Safety
/// A socket that has these fields, or others of the same size.
unsafe fn has_fields(socket: Obj, seconds: f64) -> Res<bool> {
    // SAFETY: the caller's; owned references are dropped.
    unsafe {
        let (name, format) = (c"settimeout".as_ptr(), c"d".as_ptr());
        drop_ref(check(if seconds < 0.0 {
            PyObject_CallMethod(socket, name, c"O".as_ptr(), none_borrowed())
        } else {
            PyObject_CallMethod(socket, name, format, seconds)
        })?);
        let said = (asked_descriptor(socket)?, asked_timeout(socket)?);
        let found = &*socket.cast::<Standard>();
        let is_internet = (found.family, found.kind) == (libc::AF_INET, libc::SOCK_STREAM);
        Ok(is_internet && said == (some_descriptor(found.descriptor), u64::try_from(found.timeout).ok()))
    }
}

fn some_descriptor(descriptor: c_int) -> Option<c_int> {
    Some(descriptor).filter(|descriptor| *descriptor >= 0)
}

/// The descriptor of a standard socket, None if it is closed.
#[inline(always)]
pub fn descriptor(socket: Obj) -> Res<Option<c_int>> {
    match fields(socket) {
        Some(fields) => Ok(some_descriptor(fields.descriptor)),
        None => asked_descriptor(socket),
    }
}

fn asked_descriptor(socket: Obj) -> Res<Option<c_int>> {
    let number = ask(&FILENO, socket)?;
    // SAFETY: a living object.
    let descriptor = unsafe { PyLong_AsLong(number) };
    drop_ref(number);
    if descriptor == -1 && raised() {
        return Err(Raised);
    }
    Ok(some_descriptor(descriptor as c_int))
}

/// The timeout of a standard socket in nanoseconds, None for no limit.
#[inline(always)]
pub fn timeout(socket: Obj) -> Res<Option<u64>> {
    match fields(socket) {
        Some(fields) => Ok(u64::try_from(fields.timeout).ok()),
        None => asked_timeout(socket),
    }
}

fn asked_timeout(socket: Obj) -> Res<Option<u64>> {
    let seconds = ask(&GETTIMEOUT, socket)?;
    let timeout = args::time(seconds, "timeout");
    drop_ref(seconds);
    timeout
}

fn ask(method: &Original, socket: Obj) -> Res<Obj> {
    // SAFETY: a method of the type that this is an object of.
    check(unsafe { PyObject_CallOneArg(method.get(), socket) })
}
