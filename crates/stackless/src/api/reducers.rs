//! `reducer_override` of the pickler of `stackless.dumps`, for what most snapshots hold.
//!
//! pickle calls it for each object that is no simple built-in one. Most are functions and classes that another process
//! finds by their name, code objects, and objects with a `__reduce__` of their own. For everything else it calls the
//! pickler's method `_reduce`, in `python/stackless/pickling/pickler.py`, which knows all rules; what is decided here
//! follows the same ones.
//!
//! Nothing is cached: a name leads to the object at this moment, or it does not. References are raw pointers that are
//! dropped by hand, since a `__reduce__` may switch to another tasklet.

use crate::model::classes;
use crate::python::args::function;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::{args, types};
use pyo3_ffi::compat::{PyDict_GetItemRef, PyWeakref_GetRef};
use pyo3_ffi::*;
use std::cell::Cell;
use std::ptr::null_mut;

/// What the Python code gives to `_reducer_override`, in this order.
enum Part {
    /// Types by which a class is found to need `_reduce`: those and their subclasses.
    Special,
    /// A dict: types whose objects pickle supports as they are (True), and others that need `_reduce` (False).
    Ways,
    /// Classes that every process has.
    Common,
    /// The modules that cloudpickle was told to send by value.
    ByValue,
    /// That of copyreg.
    DispatchTable,
    /// Reducers beside these.
    Usual,
    /// The facts of code objects, by their ids.
    Facts,
    /// The reducer of code objects, if the program has registered no other one.
    ReduceCode,
    /// What a code object in a code store is reduced to a call of.
    Stored,
    /// By the name of a module: whether blobs name it.
    Named,
    ObjectReduceEx,
    ObjectReduce,
}

const PARTS: usize = 12;

/// Strings that attributes are looked up with.
#[derive(Clone, Copy)]
enum Name {
    Module,
    Qualified,
    Spec,
    Main,
    Codes,
    Data,
    Digest,
    Modules,
    Proto,
    SameProgram,
    ReduceEx,
    Reduce,
    OwnReduce,
    Tasklet,
    Checked,
}

const NAMES: [&std::ffi::CStr; 15] = [
    c"__module__",
    c"__qualname__",
    c"__spec__",
    c"__main__",
    c"codes",
    c"data",
    c"digest",
    c"modules",
    c"proto",
    c"same_program",
    c"__reduce_ex__",
    c"__reduce__",
    c"_reduce",
    c"_tasklet",
    c"_by_name",
];

/// Owned, and kept for good: a pickler may use the parts while they are replaced.
static PARTS_OF_PYTHON: Gil<Cell<Obj>> = Gil::new(Cell::new(null_mut()));
static INTERNED: Gil<Cell<[Obj; NAMES.len()]>> = Gil::new(Cell::new([null_mut(); NAMES.len()]));

fn part(which: Part) -> Obj {
    // SAFETY: a tuple of that many items, since the method cannot be called before.
    unsafe { PyTuple_GET_ITEM(PARTS_OF_PYTHON.get(), which as Py_ssize_t) }
}

fn name(which: Name) -> Obj {
    INTERNED.get()[which as usize]
}

/// A new reference.
fn attribute(o: Obj, which: Name) -> Res<Obj> {
    // SAFETY: living objects.
    check(unsafe { PyObject_GetAttr(o, name(which)) })
}

/// An item of a dict: a new reference.
fn item(dict: Obj, key: Obj) -> Res<Option<Obj>> {
    let mut found = null_mut();
    // SAFETY: living objects, and a place for the result.
    match unsafe { PyDict_GetItemRef(dict, key, &raw mut found) } {
        -1 => Err(Raised),
        0 => Ok(None),
        _ => Ok(Some(found)),
    }
}

/// Whether a dict has this object for a key.
fn leads_to(dict: Obj, key: Obj, o: Obj) -> Res<bool> {
    Ok(item(dict, key)?.is_some_and(|found| {
        drop_ref(found);
        std::ptr::eq(found, o)
    }))
}

/// Calls a method with an object and perhaps an argument.
fn call<const N: usize>(method: Name, mut given: [Obj; N]) -> Res<Obj> {
    // SAFETY: living objects.
    check(unsafe { PyObject_VectorcallMethod(name(method), given.as_mut_ptr(), N, null_mut()) })
}

fn is_of(kind: *mut PyTypeObject, other: *mut PyTypeObject) -> bool {
    std::ptr::eq(kind, other)
}

fn not_implemented() -> Obj {
    // SAFETY: it exists.
    new_ref(unsafe { Py_NotImplemented() })
}

fn same_program(pickler: Obj) -> Res<bool> {
    let said = attribute(pickler, Name::SameProgram)?;
    drop_ref(said);
    // SAFETY: True exists.
    Ok(std::ptr::eq(said, unsafe { Py_True() }))
}

/// Whether a function or class is found by its name in its module, and the module by its own in another process. False
/// says nothing.
fn is_at_home(pickler: Obj, o: Obj, module: Obj) -> Res<bool> {
    // SAFETY: living objects. The module is held while it is used.
    unsafe {
        if PyUnicode_CheckExact(module) == 0 || PySet_Size(part(Part::ByValue)) != 0 {
            return Ok(false);
        }
        let Some(home) = item(PyImport_GetModuleDict(), module)? else { return Ok(false) };
        let found = if PyModule_CheckExact(home) == 0 { Ok(false) } else { is_in(pickler, o, module, home) };
        drop_ref(home);
        found
    }
}

fn is_in(pickler: Obj, o: Obj, module: Obj, home: Obj) -> Res<bool> {
    // SAFETY: a module that the caller holds.
    let names = unsafe { PyModule_GetDict(home) };
    let own = attribute(o, Name::Qualified)?;
    let found = leads_to(names, own, o);
    drop_ref(own);
    if !found? {
        return Ok(false);
    }
    // SAFETY: two strings.
    if unsafe { PyUnicode_Compare(module, name(Name::Main)) } == 0 {
        return same_program(pickler);
    }
    Ok(item(names, name(Name::Spec))?.is_some_and(|spec| {
        drop_ref(spec);
        !is_none(spec)
    }))
}

fn is_class_of_all(o: Obj) -> Res<bool> {
    // SAFETY: a living class, whose hash is its address, and a frozenset.
    match unsafe { PySet_Contains(part(Part::Common), o) } {
        -1 => Err(Raised),
        found => Ok(found == 1),
    }
}

/// Whether a module's name is in the blob if need be: it goes there. False says nothing.
fn is_named(pickler: Obj, module: Obj) -> Res<bool> {
    if same_program(pickler)? {
        return Ok(true);
    }
    let Some(named) = item(part(Part::Named), module)? else { return Ok(false) };
    drop_ref(named);
    // SAFETY: True exists; a living set, and a string.
    unsafe {
        if std::ptr::eq(named, Py_True()) {
            let modules = attribute(pickler, Name::Modules)?;
            let added = PySet_Add(modules, module);
            drop_ref(modules);
            if added < 0 {
                return Err(Raised);
            }
        }
    }
    Ok(true)
}

/// Whether pickle may write a function, built-in function or class by its name.
fn by_name(pickler: Obj, o: Obj, kind: *mut PyTypeObject) -> Res<bool> {
    let is_class = is_of(kind, &raw mut PyType_Type);
    if is_class && is_class_of_all(o)? {
        return Ok(true);
    }
    let module = attribute(o, Name::Module)?;
    let mut found = is_at_home(pickler, o, module);
    if matches!(found, Ok(true)) && is_of(kind, &raw mut PyFunction_Type) {
        found = is_named(pickler, module);
    }
    drop_ref(module);
    found
}

/// Whether a built-in function is one of a module, and nothing else is registered for those.
fn is_of_module(o: Obj) -> Res<bool> {
    // SAFETY: a built-in function.
    let owner = unsafe { PyCFunction_GetSelf(o) };
    // SAFETY: a living object.
    if owner.is_null() || unsafe { PyModule_CheckExact(owner) } == 0 {
        return Ok(false);
    }
    Ok(!has_reducer(&raw mut PyCFunction_Type)?)
}

fn has_reducer(kind: *mut PyTypeObject) -> Res<bool> {
    for table in [part(Part::DispatchTable), part(Part::Usual)] {
        if let Some(reducer) = item(table, kind.cast())? {
            drop_ref(reducer);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Code in a code store: a call of `stored` with its digest. None if `_reduce` has to do it.
fn code(pickler: Obj, o: Obj) -> Res<Option<Obj>> {
    // SAFETY: a type is an object.
    if !leads_to(part(Part::DispatchTable), (&raw mut PyCode_Type).cast(), part(Part::ReduceCode))? {
        return Ok(None);
    }
    let codes = attribute(pickler, Name::Codes)?;
    // SAFETY: a living object.
    let reduced = if unsafe { PyDict_CheckExact(codes) } == 0 { Ok(None) } else { to_digest(codes, o) };
    drop_ref(codes);
    reduced
}

fn to_digest(codes: Obj, o: Obj) -> Res<Option<Obj>> {
    // SAFETY: an address.
    let id = check(unsafe { PyLong_FromVoidPtr(o.cast()) })?;
    let facts = item(part(Part::Facts), id);
    drop_ref(id);
    let Some(facts) = facts? else { return Ok(None) };
    let reduced = if is_about(facts, o)? { of_facts(codes, facts) } else { Ok(None) };
    drop_ref(facts);
    reduced
}

/// Whether facts are those of this code object, and not of an earlier one at the same address.
fn is_about(facts: Obj, o: Obj) -> Res<bool> {
    let mut referent = null_mut();
    // SAFETY: a living object, and a place for the result.
    if unsafe { PyWeakref_GetRef(facts, &raw mut referent) } < 0 {
        return Err(Raised);
    }
    drop_ref(referent);
    Ok(std::ptr::eq(referent, o))
}

fn of_facts(codes: Obj, facts: Obj) -> Res<Option<Obj>> {
    let digest = attribute(facts, Name::Digest)?;
    let data = give(attribute(facts, Name::Data));
    let reduced = if data.is_null() {
        Err(Raised)
    } else if is_none(data) || is_none(digest) {
        Ok(None)
    } else {
        call_of_stored(codes, digest, data).map(Some)
    };
    drop_ref(digest);
    drop_ref(data);
    reduced
}

fn call_of_stored(codes: Obj, digest: Obj, data: Obj) -> Res<Obj> {
    // SAFETY: a dict and living objects, to which the tuples get references of their own.
    unsafe {
        if PyDict_SetItem(codes, digest, data) < 0 {
            return Err(Raised);
        }
        check(Py_BuildValue(c"(O(O))".as_ptr(), part(Part::Stored), digest))
    }
}

/// Whether the type of an object needs `_reduce`.
fn is_special(kind: *mut PyTypeObject) -> Res<bool> {
    let special = part(Part::Special);
    // SAFETY: a tuple of types; objects of `sys`, which are borrowed and not used after that.
    unsafe {
        for i in 0..PyTuple_GET_SIZE(special) {
            if PyType_IsSubtype(kind, PyTuple_GET_ITEM(special, i).cast()) != 0 {
                return Ok(true);
            }
        }
        for stream in [c"stdin", c"stdout", c"stderr"] {
            let stream = PySys_GetObject(stream.as_ptr());
            if !stream.is_null() && is_of(kind, Py_TYPE(stream)) {
                return Ok(true);
            }
        }
    }
    has_reducer(kind)
}

/// Whether a class has the methods of `object` for this.
fn is_plain(kind: *mut PyTypeObject) -> Res<bool> {
    for (which, usual) in [(Name::ReduceEx, Part::ObjectReduceEx), (Name::Reduce, Part::ObjectReduce)] {
        let own = attribute(kind.cast(), which)?;
        drop_ref(own);
        if !std::ptr::eq(own, part(usual)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Calls `__reduce_ex__` with the protocol that the pickler was given.
fn own_reducer(pickler: Obj, o: Obj) -> Res<Obj> {
    let mut protocol = attribute(pickler, Name::Proto)?;
    // SAFETY: living objects; None is replaced, as a negative number is.
    unsafe {
        if is_none(protocol) || PyLong_AsLong(protocol) < 0 {
            drop_ref(protocol);
            if raised() {
                return Err(Raised);
            }
            protocol = int_obj(HIGHEST_PROTOCOL);
        }
    }
    let reduced = call(Name::ReduceEx, [o, protocol]);
    drop_ref(protocol);
    let reduced = reduced?;
    // SAFETY: a living object.
    if unsafe { PyUnicode_Check(reduced) } == 0 {
        return Ok(reduced);
    }
    let checked = call(Name::Checked, [pickler, o, reduced]);
    drop_ref(reduced);
    checked
}

/// `pickle.HIGHEST_PROTOCOL` of all versions of Python that there are.
const HIGHEST_PROTOCOL: i64 = 5;

/// What pickle gets; None if `_reduce` has to do it.
fn fast(pickler: Obj, o: Obj) -> Res<Option<Obj>> {
    let kind = type_of(o);
    let usual = |is: bool| is.then(not_implemented);
    if is_of(kind, &raw mut PyFunction_Type) || is_of(kind, &raw mut PyType_Type) {
        return by_name(pickler, o, kind).map(usual);
    }
    if is_of(kind, &raw mut PyCFunction_Type) {
        return Ok(usual(is_of_module(o)? && by_name(pickler, o, kind)?));
    }
    if is_of(kind, &raw mut PyCode_Type) {
        return code(pickler, o);
    }
    if let Some(way) = item(part(Part::Ways), kind.cast())? {
        drop_ref(way);
        // SAFETY: True exists.
        return Ok(usual(std::ptr::eq(way, unsafe { Py_True() })));
    }
    if classes::as_tasklet(o).is_some() {
        return call(Name::Tasklet, [pickler, o]).map(Some);
    }
    if is_special(kind)? {
        return Ok(None);
    }
    if is_plain(kind)? { Ok(Some(not_implemented())) } else { own_reducer(pickler, o).map(Some) }
}

unsafe extern "C" fn reducer_override(pickler: Obj, o: Obj) -> Obj {
    give(match fast(pickler, o) {
        Ok(Some(reduced)) => Ok(reduced),
        Ok(None) => call(Name::OwnReduce, [pickler, o]),
        Err(Raised) => Err(Raised),
    })
}

// `_reducer_override(class, parts)`: the method for that class of picklers.
function!(new_method, |args| args::exactly("_reducer_override", args).and_then(|&[class, parts]| {
    // SAFETY: living objects; the definition is never freed.
    unsafe {
        if PyType_Check(class) == 0
            || PyTuple_CheckExact(parts) == 0
            || PyTuple_GET_SIZE(parts) != PARTS as Py_ssize_t
        {
            return Err(type_error("_reducer_override() needs a class and a tuple of parts"));
        }
        let mut names = [null_mut(); NAMES.len()];
        for (place, name) in names.iter_mut().zip(NAMES) {
            *place = check(PyUnicode_InternFromString(name.as_ptr()))?;
        }
        INTERNED.set(names);
        PARTS_OF_PYTHON.set(new_ref(parts));
        let doc = "Reduce an object. Pickle calls this for each object that is not a simple built-in one.";
        let method = types::method_table(&[types::method_one("reducer_override", doc, reducer_override)]);
        check(PyDescr_NewMethod(class.cast(), method))
    }
}));

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method(
        "_reducer_override",
        "The method that reduces objects for a class of picklers.",
        new_method,
    )]
}
