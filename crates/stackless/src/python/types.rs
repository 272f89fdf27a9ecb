//! Making types and method tables: the tables live as long as the process.

use crate::python::objects::*;
use pyo3_ffi::*;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

/// Sets a flag, unless None was given, and returns what it was.
pub fn setting(setting: &AtomicBool, flag: Obj, function: &str) -> Res<Obj> {
    let old = setting.load(Relaxed);
    if !is_none(flag) {
        setting.store(bool_arg(flag, &format!("{function} needs None, a bool or an integer"))?, Relaxed);
    }
    Ok(bool_obj(old))
}

/// Puts an object into the module, which gets a reference of its own.
pub fn add_object(module: Obj, name: &CStr, o: Obj) -> Res<()> {
    // SAFETY: a module, a name, a living object.
    if unsafe { PyModule_AddObjectRef(module, name.as_ptr(), o) } < 0 { Err(Raised) } else { Ok(()) }
}

/// A type, which is made with the module.
pub struct TypeCell(AtomicPtr<PyTypeObject>);

impl TypeCell {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// The type; null before the module exists.
    #[inline(always)]
    pub fn get(&self) -> *mut PyTypeObject {
        self.0.load(Relaxed)
    }
}

/// The slots of a type to be made.
pub struct Slots(Vec<PyType_Slot>);

impl Slots {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn slot(mut self, slot: c_int, value: *mut c_void) -> Self {
        self.0.push(PyType_Slot { slot, pfunc: value });
        self
    }

    pub fn doc(self, text: &str) -> Self {
        self.slot(Py_tp_doc, forever(text).cast_mut().cast())
    }

    pub fn getters(self, getters: &[PyGetSetDef]) -> Self {
        let mut table = getters.to_vec();
        table.push(PyGetSetDef {
            name: std::ptr::null(),
            get: None,
            set: None,
            doc: std::ptr::null(),
            closure: null_mut(),
        });
        self.slot(Py_tp_getset, table.leak().as_mut_ptr().cast())
    }

    pub fn methods(self, methods: &[PyMethodDef]) -> Self {
        self.slot(Py_tp_methods, method_table(methods).cast())
    }

    /// Sets the "special" members, such as `__weaklistoffset__`.
    pub fn offsets(self, offsets: &[(&str, usize)]) -> Self {
        let mut table: Vec<PyMemberDef> = offsets
            .iter()
            .map(|(name, offset)| PyMemberDef {
                name: forever(name),
                type_code: Py_T_PYSSIZET,
                offset: *offset as Py_ssize_t,
                flags: Py_READONLY,
                doc: std::ptr::null(),
            })
            .collect();
        table.push(PyMemberDef {
            name: std::ptr::null(),
            type_code: 0,
            offset: 0,
            flags: 0,
            doc: std::ptr::null(),
        });
        self.slot(Py_tp_members, table.leak().as_mut_ptr().cast())
    }
}

/// Makes a type and puts it into the module under its own name.
pub fn add(
    module: Obj,
    cell: &TypeCell,
    name: &'static CStr,
    size: usize,
    flags: std::ffi::c_ulong,
    slots: Slots,
) -> Res<()> {
    let mut slots = slots.0;
    slots.push(PyType_Slot { slot: 0, pfunc: null_mut() });
    let mut spec = PyType_Spec {
        name: name.as_ptr(),
        basicsize: size as c_int,
        itemsize: 0,
        flags: (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | flags) as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec describes a type as its documentation asks for; CPython copies the slots and
    // keeps pointers to the tables, which are leaked.
    unsafe {
        let made = check(PyType_FromSpec(&mut spec))?;
        cell.0.store(made.cast(), Relaxed);
        if PyModule_AddType(module, made.cast()) < 0 {
            return Err(Raised);
        }
    }
    Ok(())
}

/// Makes a type that derives from another one and adds only methods; its objects end with fields of this crate.
pub fn derive(
    cell: &TypeCell,
    name: &'static CStr,
    base: Obj,
    size: usize,
    methods: &[PyMethodDef],
) -> Res<()> {
    let mut slots = Slots::new().methods(methods).0;
    slots.push(PyType_Slot { slot: 0, pfunc: null_mut() });
    let mut spec = PyType_Spec {
        name: name.as_ptr(),
        basicsize: size as c_int,
        itemsize: 0,
        flags: (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE) as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: as in `add`; the rest is inherited from a type.
    unsafe {
        let bases = check(PyTuple_Pack(1, base))?;
        let made = PyType_FromSpecWithBases(&mut spec, bases);
        drop_ref(bases);
        cell.0.store(check(made)?.cast(), Relaxed);
    }
    Ok(())
}

/// The last step of a `tp_dealloc`: frees the memory and drops, as for every heap type, the type's reference.
///
/// # Safety
/// `o` is an object of a type of this crate (or derived from it) to which there are no references.
pub unsafe fn free(o: Obj) {
    // SAFETY: the caller's.
    unsafe {
        let t = type_of(o);
        (*t).tp_free.expect("inherited")(o.cast());
        Py_DECREF(t.cast());
    }
}

/// Visits objects for the garbage collector; null is skipped.
pub fn visit_all<const N: usize>(objects: [Obj; N], visit: visitproc, arg: *mut c_void) -> c_int {
    for o in objects.into_iter().filter(|o| !o.is_null()) {
        // SAFETY: a living object and the collector's own function.
        let result = unsafe { visit(o, arg) };
        if result != 0 {
            return result;
        }
    }
    0
}

pub fn getter(name: &str, doc: &str, get: getter, which: usize) -> PyGetSetDef {
    PyGetSetDef {
        name: forever(name),
        get: Some(get),
        set: None,
        doc: forever(doc),
        closure: which as *mut c_void,
    }
}

pub fn property(name: &str, doc: &str, get: getter, set: setter, which: usize) -> PyGetSetDef {
    PyGetSetDef { set: Some(set), ..getter(name, doc, get, which) }
}

fn entry(name: &str, doc: &str, ml_meth: PyMethodDefPointer, ml_flags: c_int) -> PyMethodDef {
    PyMethodDef { ml_name: forever(name), ml_meth, ml_flags, ml_doc: forever(doc) }
}

/// METH_NOARGS: for functions that are not called often.
pub fn method_noargs(name: &str, doc: &str, f: PyCFunction) -> PyMethodDef {
    entry(name, doc, PyMethodDefPointer { PyCFunction: f }, METH_NOARGS)
}

/// METH_O: for functions that are not called often.
pub fn method_one(name: &str, doc: &str, f: PyCFunction) -> PyMethodDef {
    entry(name, doc, PyMethodDefPointer { PyCFunction: f }, METH_O)
}

/// `__class_getitem__`: the class can be subscripted, as in `channel[int]`.
pub fn class_getitem() -> PyMethodDef {
    let doc = "Return the class with types of what it holds, for type checkers: types.GenericAlias.";
    entry("__class_getitem__", doc, PyMethodDefPointer { PyCFunction: Py_GenericAlias }, METH_O | METH_CLASS)
}

/// METH_FASTCALL: for functions that switch or are called often; they check their arguments themselves.
pub fn method(name: &str, doc: &str, f: PyCFunctionFast) -> PyMethodDef {
    entry(name, doc, PyMethodDefPointer { PyCFunctionFast: f }, METH_FASTCALL)
}

/// METH_FASTCALL | METH_KEYWORDS.
pub fn method_keywords(name: &str, doc: &str, f: PyCFunctionFastWithKeywords) -> PyMethodDef {
    entry(name, doc, PyMethodDefPointer { PyCFunctionFastWithKeywords: f }, METH_FASTCALL | METH_KEYWORDS)
}

/// A table that ends as CPython expects and is never freed.
pub fn method_table(methods: &[PyMethodDef]) -> *mut PyMethodDef {
    let mut table = methods.to_vec();
    table.push(PyMethodDef::zeroed());
    table.leak().as_mut_ptr()
}
