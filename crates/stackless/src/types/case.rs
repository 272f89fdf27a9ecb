//! The cases of `alt()`: `channel.receiving()`, `channel.sending(value)`, `readable(file)`, `writable(file)`.

use crate::model::alt::{CASE, Case, Wish};
use crate::model::alt_result;
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, objects, types};
use pyo3_ffi::*;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

pub unsafe extern "C" fn receiving(o: Obj, _: Obj) -> Obj {
    give(Case::make(Wish::Receive, new_ref(o), null_mut()))
}

pub unsafe extern "C" fn sending(o: Obj, value: Obj) -> Obj {
    give(Case::make(Wish::Send, new_ref(o), some(value).map_or(null_mut(), new_ref)))
}

fn ready(name: &str, wish: Wish, arguments: &[Obj]) -> Res<Obj> {
    let file = args::one_argument(name, arguments)?;
    // SAFETY: a living object, of which a descriptor is asked, so that a wrong one is refused here.
    if unsafe { PyObject_AsFileDescriptor(file) } < 0 {
        return Err(Raised);
    }
    Case::make(wish, new_ref(file), null_mut())
}

function!(readable, |args| ready("readable", Wish::Read, args));
function!(writable, |args| ready("writable", Wish::Write, args));

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a case.
    let case = unsafe { Case::from(o) };
    types::visit_all([type_of(o).cast(), case.target.get(), case.value.get()], visit, arg)
}

unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // SAFETY: a case. Its target stays: code that waits may use it without looking.
    clear(&unsafe { Case::from(o) }.value);
    0
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone; the usual steps of a garbage-collected heap type.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        clear(&Case::from(o).value);
        clear(&Case::from(o).target);
        types::free(o);
    }
}

/// The word for what it does, and its repr's.
fn words(wish: Wish) -> (&'static str, &'static str) {
    match wish {
        Wish::Receive => ("receive", "receive from"),
        Wish::Send => ("send", "send to"),
        Wish::Read => ("read", "read from"),
        Wish::Write => ("write", "write to"),
    }
}

unsafe extern "C" fn tp_repr(o: Obj) -> Obj {
    // SAFETY: a case, whose parts live; what is made is dropped.
    unsafe {
        let case = Case::from(o);
        let text = PyObject_Repr(case.target.get());
        if text.is_null() {
            return text;
        }
        let target = objects::text_of(text).unwrap_or_default();
        drop_ref(text);
        give(str_obj(&format!("<stackless.alt case: {} {target}>", words(case.wish.get()).1)))
    }
}

const TARGET: usize = 0;
const VALUE: usize = 1;

unsafe extern "C" fn get(o: Obj, which: *mut c_void) -> Obj {
    // SAFETY: a getter of a case.
    let case = unsafe { Case::from(o) };
    match which as usize {
        TARGET => new_ref(case.target.get()),
        VALUE => some(case.value.get()).map_or_else(none, new_ref),
        _ => give(str_obj(words(case.wish.get()).0)),
    }
}

/// Makes the types of cases and of results.
pub fn add(module: Obj) -> Res<()> {
    let getters = [
        types::getter("target", "The channel, or what has the descriptor.", get, TARGET),
        types::getter("value", "What it sends; None for the others.", get, VALUE),
        types::getter("operation", "str: receive, send, read or write.", get, 2),
    ];
    let slots = types::Slots::new()
        .doc("A case of alt(): what it is to wait for. It can be used again and again.")
        .slot(Py_tp_repr, tp_repr as reprfunc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .methods(&[types::class_getitem()])
        .getters(&getters);
    let flags = Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    types::add(module, &CASE, c"stackless.AltCase", size_of::<Case>(), flags, slots)?;
    alt_result::add(module)
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "readable",
            "readable($module, file, /)\n--\n\nA case of alt(): the file, socket or descriptor can be read without waiting.\n\n\
             Data, a connection to accept, the end of the data and an error make it so. Nothing is read.\n\
             Raises TypeError or ValueError if it has no descriptor.",
            readable,
        ),
        types::method(
            "writable",
            "writable($module, file, /)\n--\n\nA case of alt(): the file, socket or descriptor can be written to without waiting.\n\n\
             Nothing is written. Errors as for readable().",
            writable,
        ),
    ]
}
