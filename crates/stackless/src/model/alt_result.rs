//! The result of `alt()`: a tuple of the case and its value, with one more field for the case's number.
//!
//! It is made before the tasklet waits, and filled when a case happens, so that this cannot fail.

use crate::python::gil::Gil;
use crate::python::objects;
use crate::python::objects::*;
use crate::python::types::{self, TypeCell};
use pyo3_ffi::*;
use stackless_cpython as cpython;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// The class.
pub static RESULT: TypeCell = TypeCell::new();

/// A tuple for two objects, with room for a third item that the tuple does not know: a number, not an object.
fn items(result: Obj) -> *mut Obj {
    // SAFETY: a result; its items follow its head.
    unsafe { (&raw mut (*result.cast::<PyTupleObject>()).ob_item).cast() }
}

unsafe extern "C" {
    // Exported by CPython, declared in its cpython/object.h.
    fn _Py_NewReference(o: Obj);
}

/// Destroyed results, for new ones: without contents, and with their reference to the type.
static SPARE: Gil<UnsafeCell<Vec<Obj>>> = Gil::new(UnsafeCell::new(Vec::new()));
const SPARES: usize = 64;

fn spare<R>(f: impl FnOnce(&mut Vec<Obj>) -> R) -> R {
    // SAFETY: the GIL; no `f` here calls this function again or runs Python code.
    f(unsafe { &mut *SPARE.get() })
}

/// A new result without contents, which the garbage collector does not know yet.
pub fn new() -> Res<Obj> {
    if let Some(result) = spare(Vec::pop) {
        // SAFETY: it is complete but for its reference count.
        unsafe { _Py_NewReference(result) };
        return Ok(result);
    }
    // SAFETY: the type is ready; the memory is for three items. On 3.11 making an object may collect garbage.
    unsafe {
        let result: Obj = without_collection(|| PyObject_GC_NewVar(RESULT.get(), 3));
        if result.is_null() {
            return Err(Raised);
        }
        (*result.cast::<PyVarObject>()).ob_size = 2;
        #[cfg(Py_3_14)]
        {
            (*result.cast::<PyTupleObject>()).ob_hash = -1;
        }
        for i in 0..3 {
            *items(result).add(i) = null_mut();
        }
        Ok(result)
    }
}

/// Fills a new result. The case and the value, null for None, are taken over.
pub fn fill(result: Obj, case: Obj, index: isize, value: Obj) {
    // SAFETY: a new result, which no other code has seen.
    unsafe {
        *items(result) = case;
        *items(result).add(1) = if value.is_null() { none() } else { value };
        *items(result).add(2).cast::<isize>() = index;
        PyObject_GC_Track(result.cast());
    }
}

unsafe extern "C" fn tp_new(_: *mut PyTypeObject, args: Obj, kwargs: Obj) -> Obj {
    // SAFETY: the argument tuple and dict of a type call; borrowed items.
    give(unsafe {
        if !kwargs.is_null() && PyDict_Size(kwargs) > 0 || PyTuple_GET_SIZE(args) != 3 {
            Err(type_error("AltResult() takes 3 arguments: case, value, index"))
        } else {
            let [case, value, index] = [0, 1, 2].map(|i| PyTuple_GET_ITEM(args, i));
            let number = PyLong_AsSsize_t(index);
            if number == -1 && raised() {
                Err(Raised)
            } else {
                new().inspect(|&result| fill(result, new_ref(case), number, new_ref(value)))
            }
        }
    })
}

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a result.
    let [case, value] = unsafe { [*items(o), *items(o).add(1)] };
    types::visit_all([type_of(o).cast(), case, value], visit, arg)
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone. A value that is the last of its kind may be a result, with a value.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        let value = *items(o).add(1);
        if value.is_null() || Py_REFCNT(value) > 1 {
            destroy(o);
        } else {
            cpython::trashcan(o, tp_dealloc, destroy);
        }
    }
}

unsafe extern "C" fn destroy(o: Obj) {
    // SAFETY: there is no reference to the object; the usual steps of a garbage-collected heap type.
    unsafe {
        let parts = [*items(o), *items(o).add(1)];
        for i in 0..3 {
            *items(o).add(i) = null_mut();
        }
        parts.into_iter().for_each(drop_ref);
        #[cfg(Py_3_14)]
        {
            (*o.cast::<PyTupleObject>()).ob_hash = -1;
        }
        let kept = spare(|all| {
            let room = all.len() < SPARES;
            if room {
                all.push(o);
            }
            room
        });
        if !kept {
            types::free(o);
        }
    }
}

unsafe extern "C" fn get(o: Obj, which: *mut c_void) -> Obj {
    // SAFETY: a getter of a result. One that is not filled is seen by no code but debuggers.
    unsafe {
        match which as usize {
            2 => int_obj(*items(o).add(2).cast::<isize>() as i64),
            i => some(*items(o).add(i)).map_or_else(none, new_ref),
        }
    }
}

unsafe extern "C" fn tp_repr(o: Obj) -> Obj {
    let part = |i: usize| {
        // SAFETY: a result, whose parts live; what is made is dropped.
        unsafe {
            let text = check(PyObject_Repr(*items(o).add(i)))?;
            let part = objects::text_of(text).unwrap_or_default();
            drop_ref(text);
            Ok(part)
        }
    };
    // SAFETY: as above.
    let index = unsafe { *items(o).add(2).cast::<isize>() };
    let text =
        part(0).and_then(|case| Ok(format!("AltResult(case={case}, value={}, index={index})", part(1)?)));
    give(text.and_then(|text| str_obj(&text)))
}

unsafe extern "C" fn reduce(o: Obj, _: Obj) -> Obj {
    // SAFETY: a result; owned references are dropped or handed over.
    unsafe {
        let index = get(o, 2 as *mut c_void);
        if index.is_null() {
            return index;
        }
        let args = PyTuple_Pack(3, *items(o), *items(o).add(1), index);
        drop_ref(index);
        if args.is_null() {
            return args;
        }
        let result = PyTuple_Pack(2, type_of(o), args);
        drop_ref(args);
        result
    }
}

/// Makes the class, and puts it into the module.
pub fn add(module: Obj) -> Res<()> {
    let getters = [
        types::getter("case", "The case that happened, as it was given; None for else_.", get, 0),
        types::getter(
            "value",
            "What was received, or what a joined tasklet returned, or else_; None for the others.",
            get,
            1,
        ),
        types::getter("index", "int: the position of the case among the arguments, -1 for else_.", get, 2),
    ];
    let methods = [types::method_noargs("__reduce__", "Helper for pickle.", reduce), types::class_getitem()];
    let slots = types::Slots::new()
        .doc(
            "AltResult(case, value, index, /)\n--\n\nThe result of alt(): a tuple of the case and its value.",
        )
        .slot(Py_tp_base, (&raw mut PyTuple_Type).cast())
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_repr, tp_repr as reprfunc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .methods(&methods)
        .getters(&getters);
    types::add(module, &RESULT, c"stackless.AltResult", 0, Py_TPFLAGS_HAVE_GC, slots)?;
    // SAFETY: a new type, which is not shared yet; owned references are dropped.
    unsafe {
        let names = ["case", "value"].map(str_obj);
        let [case, value] =
            [names[0].as_ref(), names[1].as_ref()].map(|name| name.map_or(null_mut(), |o| *o));
        let names = if case.is_null() || value.is_null() { null_mut() } else { PyTuple_Pack(2, case, value) };
        drop_ref(case);
        drop_ref(value);
        let dict = (*RESULT.get()).tp_dict;
        let done = !names.is_null() && PyDict_SetItemString(dict, c"__match_args__".as_ptr(), names) == 0;
        drop_ref(names);
        PyType_Modified(RESULT.get());
        if done { Ok(()) } else { Err(Raised) }
    }
}
