//! The base of `stackless.sync.Semaphore` and `BoundedSemaphore`: all but their `__init__` signatures.

use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::sync::{object as objects, queue, times};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

static SEMAPHORE: types::TypeCell = types::TypeCell::new();

/// `__init__(value, bounded)`.
unsafe extern "C" fn tp_init(o: Obj, given: Obj, _: Obj) -> c_int {
    // SAFETY: a semaphore, and an argument tuple.
    let p = unsafe { Primitive::from(o) };
    // SAFETY: borrowed items of a tuple.
    let arguments = unsafe {
        if PyTuple_GET_SIZE(given) == 2 {
            Ok((PyTuple_GET_ITEM(given, 0), PyTuple_GET_ITEM(given, 1)))
        } else {
            Err(type_error("a semaphore needs a value, and whether it is bounded"))
        }
    };
    let done = arguments.and_then(|(value, bounded)| {
        // SAFETY: a living object.
        let value = unsafe { PyLong_AsLongLong(value) };
        if value == -1 && raised() {
            return Err(Raised);
        }
        if value < 0 {
            return Err(raise(Exc::Value, "semaphore initial value must be >= 0"));
        }
        p.count.set(value);
        p.bound.set(if is_true(bounded)? { value } else { -1 });
        Ok(())
    });
    if done.is_ok() { 0 } else { -1 }
}

fn take(p: PrimitiveRef) -> bool {
    let free = p.count.get() > 0;
    if free {
        p.count.set(p.count.get() - 1);
    }
    free
}

/// Gives one turn to the first that waits, or adds it to the value.
fn release_one(p: PrimitiveRef) -> Res<()> {
    match queue::next(p) {
        Some(next) => queue::serve(p, next, null_mut(), Some(take_back)).map(drop_ref),
        None => {
            p.count.set(p.count.get() + 1);
            Ok(())
        }
    }
}

fn take_back(p: Obj, _: Obj) {
    // SAFETY: a semaphore.
    if release_one(unsafe { Primitive::from(p) }).is_err() {
        write_unraisable(p);
    }
}

fn acquire_for(p: PrimitiveRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    queue::acquire(p, time, |p| Ok(take(p)), take_back, call)
}

unsafe extern "C" fn acquire(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    let call = Pending::call(acquire as _, args, args::arguments(count, names));
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a semaphore's method.
    unsafe {
        objects::acquire(o, args, count, names, times::of_semaphore, |p, time| acquire_for(p, time, call))
    }
}

unsafe extern "C" fn release(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a semaphore's method.
    let (p, given) = unsafe { (Primitive::from(o), args::named("release", ["n"], args, count, names)) };
    give(given.and_then(|[n]| {
        // SAFETY: a living object.
        let n = if n.is_null() { 1 } else { unsafe { PyLong_AsLongLong(n) } };
        if n == -1 && raised() {
            return Err(Raised);
        }
        if n < 1 {
            return Err(raise(Exc::Value, "n must be one or more"));
        }
        let Some(sum) = p.count.get().checked_add(n) else {
            return Err(raise(Exc::Overflow, "the value of the semaphore is too large"));
        };
        if p.bound.get() >= 0 && sum > p.bound.get() {
            return Err(raise(Exc::Value, "Semaphore released too many times"));
        }
        let mut left = n;
        while left > 0 && queue::next(p).is_some() {
            release_one(p)?;
            left -= 1;
        }
        p.count.set(p.count.get() + left);
        Ok(none())
    }))
}

/// `__exit__(kind, error, traceback)`.
unsafe extern "C" fn exit(o: Obj, _: *mut Obj, _: Py_ssize_t) -> Obj {
    // SAFETY: a living object and a name. A subclass may have replaced the method.
    let done = unsafe { PyObject_CallMethodNoArgs(o, RELEASE.load(Relaxed)) };
    give(check(done).map(|done| {
        drop_ref(done);
        none()
    }))
}

/// The name of the method: owned.
static RELEASE: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

unsafe extern "C" fn get(o: Obj, _: *mut c_void) -> Obj {
    // SAFETY: a getter of a semaphore.
    int_obj(unsafe { Primitive::from(o) }.count.get())
}

unsafe extern "C" fn tp_repr(o: Obj) -> Obj {
    // SAFETY: a semaphore.
    let p = unsafe { Primitive::from(o) };
    let (value, bound) = (p.count.get(), p.bound.get());
    let more = if bound < 0 { format!("value={value}") } else { format!("value={value}/{bound}") };
    objects::repr_with(o, &more)
}

pub fn add(module: Obj) -> Res<()> {
    // SAFETY: a name.
    RELEASE.store(check(unsafe { PyUnicode_InternFromString(c"release".as_ptr()) })?, Relaxed);
    let acquire_doc = |name| {
        format!(
            "{name}($self, /, blocking=True, timeout=None)\n--\n\nTake one from the value; wait while it is 0. Returns True, or False when the time is over.\n\n\
             blocking: False does not wait. timeout: the maximum wait in seconds, None for no limit.\n\
             Raises ValueError for a timeout without blocking, RuntimeError if no tasklet is left that\n\
             could call release() (deadlock)."
        )
    };
    let methods = [
        types::method_keywords("acquire", &acquire_doc("acquire"), acquire),
        types::method_keywords("__enter__", &acquire_doc("__enter__"), acquire),
        types::method_keywords(
            "release",
            "release($self, /, n=1)\n--\n\nAdd n to the value; those that wait take from it first. Never switches.\n\n\
             Raises ValueError if n is less than 1, or if the value of a BoundedSemaphore would exceed\n\
             the initial one.",
            release,
        ),
        types::method("__exit__", "Release the semaphore once.", exit),
    ];
    let slots = objects::plain_slots("The base of Semaphore and BoundedSemaphore.", objects::tp_new)
        .slot(Py_tp_init, tp_init as initproc as *mut c_void)
        .slot(Py_tp_repr, tp_repr as reprfunc as *mut c_void)
        .getters(&[types::getter("_value", "int: the value.", get, 0)])
        .methods(&methods);
    let size = size_of::<Primitive>();
    objects::add(
        module,
        &SEMAPHORE,
        c"stackless._stackless._Semaphore",
        size,
        Py_TPFLAGS_BASETYPE,
        slots,
        Some(take_back),
    )
}
