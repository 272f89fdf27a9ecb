//! Safe functions over the C API, for the rest of this crate: references, errors, tests, conversions.
//!
//! Everything in this crate runs with the GIL held. An [`Obj`] is a pointer to a living object, or
//! null where a function says so. The names say what happens to references: `new_ref` makes one,
//! `drop_ref` ends one, and a `Cell<Obj>` in a struct owns one unless its comment says otherwise.
//!
//! The functions here are safe to call under these two rules, which the compiler cannot check: the code
//! that brings a pointer into the crate (an entry point, a slot of a type) is responsible for it.

use pyo3_ffi::*;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::ptr::null_mut;

/// `Class.__name__` of a class.
pub fn class_name(class: Obj) -> String {
    if class.is_null() {
        return String::new();
    }
    // SAFETY: a type object; its name ends with NUL.
    let name = unsafe { std::ffi::CStr::from_ptr((*class.cast::<PyTypeObject>()).tp_name) };
    name.to_string_lossy().rsplit('.').next().unwrap_or_default().to_owned()
}

/// The text of a str; lone surrogates, which UTF-8 does not have, become question marks.
pub fn text_of(o: Obj) -> Option<String> {
    // SAFETY: a str; what is made of it is dropped.
    unsafe {
        let mut len = 0;
        let utf8 = PyUnicode_AsUTF8AndSize(o, &mut len);
        if !utf8.is_null() {
            let bytes = std::slice::from_raw_parts(utf8.cast::<u8>(), len as usize);
            return Some(String::from_utf8_lossy(bytes).into_owned());
        }
        PyErr_Clear();
        let bytes = PyUnicode_AsEncodedString(o, c"utf-8".as_ptr(), c"replace".as_ptr());
        if bytes.is_null() {
            PyErr_Clear();
            return None;
        }
        let (start, len): (*const c_char, _) = (PyBytes_AsString(bytes), PyBytes_Size(bytes));
        let text =
            String::from_utf8_lossy(std::slice::from_raw_parts(start.cast(), len as usize)).into_owned();
        drop_ref(bytes);
        Some(text)
    }
}

unsafe extern "C" {
    // Exported by CPython, declared in its classobject.h. Both functions return borrowed references.
    pub static PyMethod_Type: PyTypeObject;
    pub fn PyMethod_Self(method: Obj) -> Obj;
}

pub type Obj = *mut PyObject;

/// A Python exception is set. Where the exception goes elsewhere, this is taken apart: `let Raised = raise(...)`.
#[derive(Debug)]
#[must_use = "the exception that is set has to go somewhere"]
pub struct Raised;

pub type Res<T> = Result<T, Raised>;

#[inline(always)]
pub fn new_ref(o: Obj) -> Obj {
    // SAFETY: a living object, by the rule of this crate.
    unsafe { Py_INCREF(o) };
    o
}

/// Drops a reference; null is allowed.
#[inline(always)]
pub fn drop_ref(o: Obj) {
    // SAFETY: an owned reference or null.
    unsafe { Py_XDECREF(o) }
}

#[must_use]
#[inline(always)]
pub fn none() -> Obj {
    // SAFETY: None exists.
    new_ref(unsafe { Py_None() })
}

/// None, borrowed.
pub fn none_borrowed() -> Obj {
    // SAFETY: None exists.
    unsafe { Py_None() }
}

#[inline(always)]
pub fn is_none(o: Obj) -> bool {
    // SAFETY: None exists.
    std::ptr::eq(o, unsafe { Py_None() })
}

/// The object; None for null and for Python's None.
#[inline(always)]
pub fn some(o: Obj) -> Option<Obj> {
    (!o.is_null() && !is_none(o)).then_some(o)
}

#[must_use]
pub fn bool_obj(b: bool) -> Obj {
    // SAFETY: True and False exist.
    new_ref(unsafe { if b { Py_True() } else { Py_False() } })
}

#[must_use]
pub fn int_obj(i: i64) -> Obj {
    // SAFETY: no precondition.
    unsafe { PyLong_FromLongLong(i) }
}

/// A new str.
pub fn str_obj(text: &str) -> Res<Obj> {
    // SAFETY: UTF-8 of that length, which is copied.
    check(unsafe { PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t) })
}

/// A new bytes object.
pub fn bytes_obj(data: &[u8]) -> Res<Obj> {
    // SAFETY: the data is copied.
    check(unsafe { PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as Py_ssize_t) })
}

/// A new list of these items, which are taken over.
pub fn list_of(items: Vec<Obj>) -> Res<Obj> {
    // SAFETY: a new list takes over the references put into it.
    unsafe {
        let list = PyList_New(items.len() as Py_ssize_t);
        for (i, item) in items.into_iter().enumerate() {
            if list.is_null() {
                drop_ref(item);
            } else {
                PyList_SET_ITEM(list, i as Py_ssize_t, item);
            }
        }
        check(list)
    }
}

#[inline(always)]
pub fn type_of(o: Obj) -> *mut PyTypeObject {
    // SAFETY: a living object.
    unsafe { Py_TYPE(o) }
}

/// Empties an owning cell and drops what was in it.
pub fn clear(cell: &Cell<Obj>) {
    drop_ref(cell.replace(null_mut()));
}

/// A C API call's result: null means that an exception is set.
#[inline(always)]
pub fn check(o: Obj) -> Res<Obj> {
    if o.is_null() { Err(Raised) } else { Ok(o) }
}

/// The return value of an entry point: null for an error.
#[must_use]
#[inline(always)]
pub fn give(result: Res<Obj>) -> Obj {
    result.unwrap_or(null_mut())
}

/// The exception types that this crate raises.
#[derive(Clone, Copy)]
pub enum Exc {
    Type,
    Value,
    Runtime,
    Attribute,
    Memory,
    Overflow,
    System,
}

#[cold]
pub fn raise(kind: Exc, text: &str) -> Raised {
    let text = CString::new(text.replace('\0', "\\0")).expect("no NUL is left");
    // SAFETY: the exception types exist, and the text ends with NUL.
    unsafe {
        let kind = match kind {
            Exc::Type => PyExc_TypeError,
            Exc::Value => PyExc_ValueError,
            Exc::Runtime => PyExc_RuntimeError,
            Exc::Attribute => PyExc_AttributeError,
            Exc::Memory => PyExc_MemoryError,
            Exc::Overflow => PyExc_OverflowError,
            Exc::System => PyExc_SystemError,
        };
        PyErr_SetString(kind, text.as_ptr());
    }
    Raised
}

pub fn type_error(text: &str) -> Raised {
    raise(Exc::Type, text)
}

pub fn runtime_error(text: &str) -> Raised {
    raise(Exc::Runtime, text)
}

/// Takes the exception that is set: (type, value, traceback), owned, null if there is none.
#[must_use]
pub fn take_exception() -> [Obj; 3] {
    let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
    // SAFETY: three places for three owned references.
    #[allow(deprecated, reason = "the one form that 3.11 has as well")]
    unsafe {
        PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        if !kind.is_null() {
            PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
        }
    }
    [kind, value, traceback]
}

/// Sets an exception; the references are taken over.
pub fn set_exception([kind, value, traceback]: [Obj; 3]) -> Raised {
    // SAFETY: owned references or null.
    #[allow(deprecated, reason = "the one form that 3.11 has as well")]
    unsafe {
        PyErr_Restore(kind, value, traceback);
    }
    Raised
}

/// True if an exception is set.
#[must_use]
#[inline(always)]
pub fn raised() -> bool {
    // SAFETY: the GIL is held.
    unsafe { !PyErr_Occurred().is_null() }
}

/// Reports an exception that cannot be raised anywhere, through `sys.unraisablehook`.
pub fn write_unraisable(context: Obj) {
    // SAFETY: an exception is set, the context lives or is null.
    unsafe { PyErr_WriteUnraisable(context) }
}

/// Runs `f` with no exception set, and then sets the one that was set before again.
pub fn saving_exception<R>(f: impl FnOnce() -> R) -> R {
    let before = take_exception();
    let result = f();
    if !before[0].is_null() {
        let Raised = set_exception(before);
    }
    result
}

/// Runs `f`, which must not run Python code, with the garbage collector off: on 3.11, making an object may
/// collect, and finalisers could switch in the middle of what the caller does. Later versions collect between
/// instructions only.
#[inline(always)]
pub fn without_collection<R>(f: impl FnOnce() -> R) -> R {
    if cfg!(Py_3_12) {
        return f();
    }
    // SAFETY: the GIL is held.
    let collects = unsafe { PyGC_Disable() } != 0;
    let result = f();
    if collects {
        // SAFETY: as above.
        unsafe { PyGC_Enable() };
    }
    result
}

pub fn is_callable(o: Obj) -> bool {
    // SAFETY: a living object.
    unsafe { PyCallable_Check(o) != 0 }
}

/// True for a class derived from BaseException.
pub fn is_exception_class(o: Obj) -> bool {
    // SAFETY: a living object.
    unsafe { PyExceptionClass_Check(o) != 0 }
}

/// True for an instance of BaseException.
pub fn is_exception(o: Obj) -> bool {
    // SAFETY: a living object.
    unsafe { PyExceptionInstance_Check(o) != 0 }
}

/// True if `kind`, an exception class, is `base` or derived from it.
pub fn is_subclass(kind: Obj, base: Obj) -> bool {
    // SAFETY: both live.
    unsafe { PyErr_GivenExceptionMatches(kind, base) != 0 }
}

/// An optional truth value: null is false.
pub fn is_true(o: Obj) -> Res<bool> {
    if o.is_null() {
        return Ok(false);
    }
    // SAFETY: a living object.
    match unsafe { PyObject_IsTrue(o) } {
        -1 => Err(Raised),
        truth => Ok(truth != 0),
    }
}

/// The value of an argument that must be a bool or an int; `text` is the TypeError.
pub fn bool_arg(o: Obj, text: &str) -> Res<bool> {
    // SAFETY: a living object.
    unsafe {
        if PyLong_Check(o) == 0 {
            return Err(type_error(text));
        }
        Ok(PyObject_IsTrue(o) != 0)
    }
}

/// `Type.__name__` of an object's type.
pub fn type_name(o: Obj) -> String {
    // SAFETY: type names end with NUL and live as long as the type.
    let name = unsafe { CStr::from_ptr((*type_of(o)).tp_name) }.to_string_lossy().into_owned();
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

/// A NUL-terminated text that is never freed: for tables that CPython keeps pointers to.
pub fn forever(text: &str) -> *const c_char {
    CString::new(text).expect("no NUL in a constant").into_raw()
}

/// An owned reference from `sys`.
pub fn from_sys(name: &CStr) -> Res<Obj> {
    // SAFETY: a NUL-terminated name; the answer is borrowed.
    let o = unsafe { PySys_GetObject(name.as_ptr()) };
    if o.is_null() {
        return Err(runtime_error(&format!("sys.{} is gone", name.to_string_lossy())));
    }
    Ok(new_ref(o))
}

/// Raises the OSError of a system call.
pub fn raise_os_error(error: &std::io::Error) -> Raised {
    let number = error.raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: errno is the thread's own, and read at once.
    without_collection(|| unsafe {
        *libc::__errno_location() = number;
        PyErr_SetFromErrno(PyExc_OSError);
    });
    Raised
}

/// Gives `f` the bytes of an object.
pub fn with_buffer<R>(buffer: Obj, writable: bool, f: impl FnOnce(*mut u8, usize) -> Res<R>) -> Res<R> {
    // SAFETY: a living object; the view is released.
    unsafe {
        let mut view = std::mem::zeroed::<Py_buffer>();
        if PyObject_GetBuffer(buffer, &mut view, if writable { PyBUF_WRITABLE } else { PyBUF_SIMPLE }) < 0 {
            return Err(Raised);
        }
        let done = f(view.buf.cast(), view.len as usize);
        PyBuffer_Release(&mut view);
        done
    }
}
