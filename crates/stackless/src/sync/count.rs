//! How often an RLock is to be acquired by a tasklet that waits to restore that: the number with which its wait begins.
//!
//! It is the tempval of the waiting tasklet, which a program can set. So it has a type of its own.

use crate::python::objects::*;
use crate::python::types;
use pyo3_ffi::*;

static COUNT: types::TypeCell = types::TypeCell::new();

/// A new number. It is no container, so that no garbage is collected.
pub fn new(count: i64) -> Res<Obj> {
    // SAFETY: a class and its argument.
    unsafe {
        let number = check(int_obj(count))?;
        let new = PyObject_CallOneArg(COUNT.get().cast(), number);
        drop_ref(number);
        check(new)
    }
}

/// The number; 1 if it is null or something else.
pub fn of(note: Obj) -> i64 {
    // SAFETY: null or a living object; the type is a subclass of int.
    unsafe {
        if note.is_null() || !std::ptr::eq(type_of(note), COUNT.get()) {
            return 1;
        }
        let mut overflow = 0;
        PyLong_AsLongLongAndOverflow(note, &mut overflow).max(1)
    }
}

pub fn add(module: Obj) -> Res<()> {
    let slots = types::Slots::new().slot(Py_tp_base, (&raw mut PyLong_Type).cast());
    types::add(module, &COUNT, c"stackless._stackless._Count", 0, 0, slots)
}
