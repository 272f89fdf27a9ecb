//! What the types of the primitives have in common: how their objects are made, collected and destroyed.

use crate::engine::transfer;
use crate::model::allocation::allocate_channel;
use crate::model::bomb::TakeBack;
use crate::model::channel::Channel;
use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::model::world::{object, world};
use crate::python::args;
use crate::python::args::function;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::types::{self, Slots, TypeCell};
use pyo3_ffi::*;
use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::ptr::null_mut;

/// `cls.__new__`: ignores its arguments, which `__init__` checks.
pub unsafe extern "C" fn tp_new(t: *mut PyTypeObject, _: Obj, _: Obj) -> Obj {
    // SAFETY: the type of a primitive, or a subclass.
    unsafe { allocate_channel(t) }
}

/// The method `acquire(blocking, timeout)`: `time_of` makes a time of these, `acquire_for` acquires.
///
/// # Safety
/// A METH_FASTCALL | METH_KEYWORDS call of a primitive's method.
#[inline(always)]
pub unsafe fn acquire(
    o: Obj,
    args: *const Obj,
    count: Py_ssize_t,
    names: Obj,
    time_of: impl Fn(Obj, Obj) -> Res<Option<u64>>,
    acquire_for: impl Fn(PrimitiveRef, Option<u64>) -> Res<Obj>,
) -> Obj {
    // SAFETY: the caller's.
    let p = unsafe { Primitive::from(o) };
    if count == 0 && names.is_null() {
        return give(acquire_for(p, None));
    }
    // SAFETY: the caller's.
    let given = unsafe { args::named("acquire", ["blocking", "timeout"], args, count, names) };
    give(
        given
            .and_then(|[blocking, timeout]| time_of(blocking, timeout))
            .and_then(|time| acquire_for(p, time)),
    )
}

/// `cls.__new__` of a type without parameters.
pub unsafe extern "C" fn tp_new_plain(t: *mut PyTypeObject, given: Obj, names: Obj) -> Obj {
    // SAFETY: the argument tuple and dict of a type call.
    unsafe {
        if PyTuple_GET_SIZE(given) > 0 || (!names.is_null() && PyDict_Size(names) > 0) {
            let name = class_name(t.cast());
            let Raised = type_error(&format!("{name}() takes no arguments"));
            return null_mut();
        }
        tp_new(t, given, names)
    }
}

pub unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a primitive; the queue owns the tasklets in it.
    let p = unsafe { Primitive::from(o) };
    let mut at = world(|w| w.first_waiting(p.channel().id()));
    while let Some(t) = at {
        let result = types::visit_all([object(t).obj()], visit, arg);
        if result != 0 {
            return result;
        }
        at = world(|w| w.next(t));
    }
    types::visit_all([type_of(o).cast()], visit, arg)
}

pub unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        destroy(o);
    }
}

/// What follows after the collector has lost sight of the object.
///
/// # Safety
/// The last reference to a primitive is gone. (A thread that waits has one.)
pub unsafe fn destroy(o: Obj) {
    // SAFETY: the caller's; the usual steps of a garbage-collected heap type.
    unsafe {
        PyObject_ClearWeakRefs(o);
        transfer::release_waiters(Primitive::from(o).channel());
        types::free(o);
    }
}

/// `<module.Name at 0x...: more>`, as `threading` has it.
pub fn repr_with(o: Obj, more: &str) -> Obj {
    give(full_name(o).and_then(|name| str_obj(&format!("<{name} at {:#x}: {more}>", o.addr()))))
}

/// Module and qualified name of an object's class.
pub fn full_name(o: Obj) -> Res<String> {
    let class = type_of(o).cast::<PyObject>();
    let mut names = [String::new(), String::new()];
    for (name, text) in [c"__module__", c"__qualname__"].into_iter().zip(&mut names) {
        // SAFETY: a class and a name; an owned reference.
        let value = check(unsafe { PyObject_GetAttrString(class, name.as_ptr()) })?;
        // SAFETY: a living object.
        if unsafe { PyUnicode_Check(value) } != 0 {
            *text = text_of(value).unwrap_or_default();
        }
        drop_ref(value);
    }
    Ok(names.join("."))
}

/// The slots of a type whose objects hold nothing more.
pub fn plain_slots(doc: &str, new: newfunc) -> Slots {
    Slots::new()
        .doc(doc)
        .slot(Py_tp_new, new as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
}

type Kind = (*mut PyTypeObject, Option<TakeBack>);

/// The types of primitives, with the function that takes back what a waiter does not continue with.
static TYPES: Gil<UnsafeCell<Vec<Kind>>> = Gil::new(UnsafeCell::new(Vec::new()));

fn kind_of(o: Obj) -> Option<Option<TakeBack>> {
    // SAFETY: the GIL; the types were all added when the module was made.
    let types = unsafe { &*TYPES.get() };
    // SAFETY: a living object and types.
    types.iter().find(|(t, _)| unsafe { PyObject_TypeCheck(o, *t) != 0 }).map(|(_, back)| *back)
}

/// True for an object of one of these types, or of a class derived from one.
pub fn is_primitive(o: Obj) -> bool {
    kind_of(o).is_some()
}

/// The function of a primitive.
pub fn take_back_of(o: Obj) -> Option<TakeBack> {
    kind_of(o).flatten()
}

/// Makes the type of a primitive and puts it into the module.
pub fn add(
    module: Obj,
    cell: &TypeCell,
    name: &'static CStr,
    size: usize,
    flags: c_ulong,
    slots: Slots,
    back: Option<TakeBack>,
) -> Res<()> {
    let slots = slots.offsets(&[("__weaklistoffset__", Channel::WEAKREF_OFFSET)]);
    types::add(module, cell, name, size, Py_TPFLAGS_HAVE_GC | flags, slots)?;
    // SAFETY: the GIL; no other reference to the list is in use.
    unsafe { &mut *TYPES.get() }.push((cell.get(), back));
    Ok(())
}

// `_waiting(primitive)`: the number of tasklets and native threads that wait.
function!(waiting, |args| args::one_argument("_waiting", args).and_then(|o| {
    if !is_primitive(o) {
        return Err(type_error("_waiting() needs an object of stackless.sync"));
    }
    // SAFETY: as was checked.
    let p = unsafe { Primitive::from(o) };
    Ok(int_obj(i64::from(p.tasklets()) + p.threads() as i64))
}));

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method("_waiting", "The number of tasklets and threads that wait for a primitive.", waiting)]
}

/// The primitive that a method was called for, and its positional arguments.
///
/// # Safety
/// The arguments are those of a METH_FASTCALL call of a primitive's method.
#[inline(always)]
pub unsafe fn of_call<'a>(o: Obj, args: *const Obj, count: Py_ssize_t) -> (PrimitiveRef, &'a [Obj]) {
    // SAFETY: the caller's.
    unsafe { (Primitive::from(o), args::positional(args, count)) }
}
