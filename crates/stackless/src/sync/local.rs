//! `stackless.sync.local`: attributes of which each tasklet has its own values.
//!
//! The attributes of a tasklet are in a dict of its own, which goes when the tasklet ends, or is destroyed. Those of a thread
//! that has not used tasklets, and of main tasklets, are in a `_thread._local` that each object has, so that they go
//! with the thread.

use crate::model::tasklet::TaskletRef;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::types;
use crate::scheduler::entry;
use pyo3_ffi::*;
use std::cell::{Cell, UnsafeCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

const DOC: &str = "local(*args, **kwargs)\n--\n\n\
An object whose attributes each tasklet has for itself, as each thread has with threading.local.\n\n\
A subclass may have an __init__: it is called with the same arguments in each tasklet that uses the\n\
object. TypeError for arguments without it.";

static LOCAL: types::TypeCell = types::TypeCell::new();

/// `_thread._local`, and the names of attributes: owned.
static THREADS: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
static DICT_NAME: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
static VALUES_NAME: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// The attributes of a tasklet, and a weak reference to the tasklet: owned.
struct Own {
    dict: Obj,
    watch: Obj,
}

/// The object. The cells own what they refer to.
#[repr(C)]
struct Local {
    head: UnsafeCell<PyObject>,
    weakrefs: Cell<Obj>,
    /// The arguments for `__init__`, a tuple, and a dict or null.
    args: Cell<Obj>,
    kwargs: Cell<Obj>,
    /// The attributes of threads.
    threads: Cell<Obj>,
    /// Those of tasklets, by their serial numbers.
    tasklets: UnsafeCell<HashMap<u64, Own>>,
}

/// For the tasklets that have values, by their serial numbers: weak references to the objects, owned.
static USERS: Gil<UnsafeCell<Option<Users>>> = Gil::new(UnsafeCell::new(None));
type Users = HashMap<u64, Vec<Obj>>;

/// `f` must not run Python code and not call this function again.
fn users<R>(f: impl FnOnce(&mut Users) -> R) -> R {
    // SAFETY: the GIL, and the rule above.
    f(unsafe { &mut *USERS.get() }.get_or_insert_default())
}

/// Drops the attributes of a tasklet that ends.
pub fn tasklet_ends(t: TaskletRef) {
    saving_exception(|| drop_all(t.serial.get()));
}

fn drop_all(serial: u64) {
    for watch in users(|all| all.remove(&serial)).unwrap_or_default() {
        // SAFETY: a weak reference, whose call gives the object or None.
        let o = unsafe { PyObject_CallNoArgs(watch) };
        if o.is_null() {
            write_unraisable(watch);
        } else if let Some(o) = some(o) {
            // SAFETY: an object of the type.
            let own = unsafe { from(o) }.tasklets(|all| all.remove(&serial));
            own.into_iter().for_each(drop_own);
        }
        drop_ref(o);
        drop_ref(watch);
    }
}

/// # Safety
/// `o` is an object of the type.
unsafe fn from(o: Obj) -> &'static Local {
    // SAFETY: the caller's.
    unsafe { &*o.cast::<Local>() }
}

impl Local {
    /// `f` must not run Python code and not call this function again.
    fn tasklets<R>(&self, f: impl FnOnce(&mut HashMap<u64, Own>) -> R) -> R {
        // SAFETY: the GIL, and the rule above.
        f(unsafe { &mut *self.tasklets.get() })
    }
}

fn drop_own(own: Own) {
    drop_ref(own.watch);
    drop_ref(own.dict);
}

unsafe extern "C" {
    // Exported by CPython, declared in its cpython/object.h. The last argument suppresses the AttributeError.
    fn _PyObject_GenericGetAttrWithDict(o: Obj, name: Obj, dict: Obj, suppress: c_int) -> Obj;
    fn _PyObject_GenericSetAttrWithDict(o: Obj, name: Obj, value: Obj, dict: Obj) -> c_int;
}

/// The running tasklet, if its attributes are its own: main tasklets have those of their thread.
fn running_tasklet() -> Option<TaskletRef> {
    let entered = entry::enter_begun()?;
    let t = entered.s.current();
    (!std::ptr::eq(t, entered.s.main())).then_some(t)
}

/// The caller's attributes: a new reference. Calls `__init__` if the caller uses the object for the first time.
fn attributes(o: Obj) -> Res<Obj> {
    // SAFETY: an object of the type.
    let known = unsafe { find(from(o)) }?;
    if !known.is_null() {
        return Ok(known);
    }
    let dict = begin(o)?;
    // SAFETY: a living object and its type.
    unsafe {
        let init = (*type_of(o)).tp_init;
        let plain = PyBaseObject_Type.tp_init;
        if init.map(|f| f as usize) != plain.map(|f| f as usize)
            && let Some(init) = init
            && init(o, from(o).args.get(), from(o).kwargs.get()) < 0
        {
            saving_exception(|| forget(from(o)));
            drop_ref(dict);
            return Err(Raised);
        }
    }
    Ok(dict)
}

/// The caller's attributes, a new reference; null if there are none yet.
fn find(local: &Local) -> Res<Obj> {
    if let Some(t) = running_tasklet() {
        let known = local.tasklets(|all| all.get(&t.serial.get()).map(|own| own.dict));
        return Ok(known.map_or(null_mut(), new_ref));
    }
    // SAFETY: living objects.
    unsafe {
        let dict = check(PyObject_GetAttr(local.threads.get(), DICT_NAME.load(Relaxed)))?;
        let values = PyDict_GetItemWithError(dict, VALUES_NAME.load(Relaxed));
        if !values.is_null() {
            new_ref(values);
        }
        drop_ref(dict);
        if values.is_null() && raised() { Err(Raised) } else { Ok(values) }
    }
}

/// Makes the caller's attributes: a new reference.
fn begin(o: Obj) -> Res<Obj> {
    // SAFETY: an object of the type; owned references.
    unsafe {
        let local = from(o);
        let dict = check(PyDict_New())?;
        let done = match running_tasklet() {
            Some(t) => watch(o, t).map(|watch| {
                let own = Own { dict: new_ref(dict), watch };
                let old = local.tasklets(|all| all.insert(t.serial.get(), own));
                old.into_iter().for_each(drop_own);
            }),
            None if PyObject_SetAttr(local.threads.get(), VALUES_NAME.load(Relaxed), dict) < 0 => Err(Raised),
            None => Ok(()),
        };
        if done.is_err() {
            drop_ref(dict);
        }
        done.map(|()| dict)
    }
}

/// The caller's `__init__` has failed: it has no attributes.
fn forget(local: &Local) {
    if let Some(t) = running_tasklet() {
        let own = local.tasklets(|all| all.remove(&t.serial.get()));
        return own.into_iter().for_each(drop_own);
    }
    // SAFETY: living objects.
    if unsafe { PyObject_SetAttr(local.threads.get(), VALUES_NAME.load(Relaxed), null_mut()) } < 0 {
        write_unraisable(local.threads.get());
    }
}

/// A weak reference to the tasklet: when the tasklet is destroyed, its attributes go.
fn watch(o: Obj, t: TaskletRef) -> Res<Obj> {
    static mut GONE: PyMethodDef = PyMethodDef {
        ml_name: c"tasklet_gone".as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunction: tasklet_gone },
        ml_flags: METH_O,
        ml_doc: std::ptr::null(),
    };
    // SAFETY: living objects; the definition lives for ever and does not change; owned references are dropped.
    unsafe {
        let me = PyWeakref_NewRef(o, null_mut());
        let serial = if me.is_null() { me } else { PyLong_FromUnsignedLongLong(t.serial.get()) };
        let pair = if serial.is_null() { serial } else { PyTuple_Pack(2, me, serial) };
        let gone = if pair.is_null() { pair } else { PyCFunction_NewEx(&raw mut GONE, pair, null_mut()) };
        let watch = if gone.is_null() { gone } else { PyWeakref_NewRef(t.obj(), gone) };
        let number = t.serial.get();
        if !watch.is_null() {
            users(|all| all.entry(number).or_default().push(new_ref(me)));
            t.set_flags(|f| f.has_locals = true);
        }
        [me, serial, pair, gone].into_iter().for_each(drop_ref);
        check(watch)
    }
}

/// The callback of a weak reference to a tasklet: it has ended without running.
unsafe extern "C" fn tasklet_gone(pair: Obj, _: Obj) -> Obj {
    // SAFETY: the pair of `watch`.
    drop_all(unsafe { PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(pair, 1)) });
    none()
}

unsafe extern "C" fn tp_getattro(o: Obj, name: Obj) -> Obj {
    let Ok(dict) = attributes(o) else { return null_mut() };
    // SAFETY: living objects; `dict` is owned.
    unsafe {
        if PyUnicode_CompareWithASCIIString(name, c"__dict__".as_ptr()) == 0 {
            return dict;
        }
        let found = _PyObject_GenericGetAttrWithDict(o, name, dict, 0);
        drop_ref(dict);
        found
    }
}

unsafe extern "C" fn tp_setattro(o: Obj, name: Obj, value: Obj) -> c_int {
    let Ok(dict) = attributes(o) else { return -1 };
    // SAFETY: as above; the name is a str, which the interpreter has checked.
    unsafe {
        let done = if PyUnicode_CompareWithASCIIString(name, c"__dict__".as_ptr()) == 0 {
            let text = format!("'{}' object attribute '__dict__' is read-only", type_name(o));
            let Raised = raise(Exc::Attribute, &text);
            -1
        } else {
            _PyObject_GenericSetAttrWithDict(o, name, value, dict)
        };
        drop_ref(dict);
        done
    }
}

unsafe extern "C" fn tp_new(t: *mut PyTypeObject, args: Obj, kwargs: Obj) -> Obj {
    // SAFETY: the argument tuple and dict of a type call; the object is not known to other code.
    unsafe {
        let given = PyTuple_GET_SIZE(args) > 0 || (!kwargs.is_null() && PyDict_Size(kwargs) > 0);
        let plain = PyBaseObject_Type.tp_init.map(|f| f as usize);
        if given && (*t).tp_init.map(|f| f as usize) == plain {
            let Raised = type_error("Initialization arguments are not supported");
            return null_mut();
        }
        let o = (*t).tp_alloc.expect("inherited")(t, 0);
        if o.is_null() {
            return o;
        }
        let local = from(o);
        local.tasklets.get().write(HashMap::new());
        local.args.set(new_ref(args));
        local.kwargs.set(if kwargs.is_null() { kwargs } else { new_ref(kwargs) });
        local.threads.set(PyObject_CallNoArgs(THREADS.load(Relaxed)));
        // The caller's `__init__` is called by the type.
        let begun = if local.threads.get().is_null() { Err(Raised) } else { begin(o) };
        match begun {
            Ok(dict) => drop_ref(dict),
            Err(Raised) => {
                drop_ref(o);
                return null_mut();
            }
        }
        o
    }
}

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: an object of the type. The collector changes nothing while it visits.
    let local = unsafe { from(o) };
    let own = [type_of(o).cast(), local.args.get(), local.kwargs.get(), local.threads.get()];
    let result = types::visit_all(own, visit, arg);
    if result != 0 {
        return result;
    }
    local.tasklets(|all| {
        let mut results = all.values().map(|own| types::visit_all([own.dict, own.watch], visit, arg));
        results.find(|&result| result != 0).unwrap_or(0)
    })
}

unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // SAFETY: an object of the type.
    let local = unsafe { from(o) };
    local.tasklets(std::mem::take).into_values().for_each(drop_own);
    [&local.args, &local.kwargs].into_iter().for_each(clear);
    0
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone; the usual steps of a garbage-collected heap type.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        PyObject_ClearWeakRefs(o);
        tp_clear(o);
        clear(&from(o).threads);
        std::ptr::drop_in_place(from(o).tasklets.get());
        types::free(o);
    }
}

pub fn add(module: Obj) -> Res<()> {
    // SAFETY: names; owned references.
    unsafe {
        let threads = check(PyImport_ImportModule(c"_thread".as_ptr()))?;
        THREADS.store(PyObject_GetAttrString(threads, c"_local".as_ptr()), Relaxed);
        drop_ref(threads);
        DICT_NAME.store(PyUnicode_InternFromString(c"__dict__".as_ptr()), Relaxed);
        VALUES_NAME.store(PyUnicode_InternFromString(c"values".as_ptr()), Relaxed);
    }
    if raised() {
        return Err(Raised);
    }
    let slots = types::Slots::new()
        .doc(DOC)
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_getattro, tp_getattro as getattrofunc as *mut c_void)
        .slot(Py_tp_setattro, tp_setattro as setattrofunc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .offsets(&[("__weaklistoffset__", std::mem::offset_of!(Local, weakrefs))]);
    let flags = Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE;
    types::add(module, &LOCAL, c"stackless.sync.local", size_of::<Local>(), flags, slots)
}
