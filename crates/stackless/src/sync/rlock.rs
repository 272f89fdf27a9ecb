//! `stackless.sync.RLock`.

use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use crate::sync::{count, lock, object as objects, queue, times};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ffi::c_void;
use std::ptr::null_mut;

const DOC: &str = "RLock()\n--\n\n\
A reentrant lock as threading.RLock; its owner is the tasklet, or a thread without tasklets.\n\n\
The owner may acquire it again, and has to release it as often. See Lock for how it is waited for.";

static RLOCK: types::TypeCell = types::TypeCell::new();

/// True if the caller holds a lock that is held. Where nothing can switch (in a callback, in a signal handler while the
/// thread sleeps) the lock belongs to the thread, as the standard one does: its tasklet could not release it meanwhile.
fn holds(p: PrimitiveRef) -> bool {
    p.owner.get() == entry::running_owner() || queue::belongs_here(p)
}

/// Takes a lock that is free, or that the caller holds, this number of times more.
fn take(p: PrimitiveRef, times: i64) -> Res<bool> {
    let held = p.count.get();
    if held != 0 && !holds(p) {
        return Ok(false);
    }
    let Some(count) = held.checked_add(times) else {
        return Err(raise(Exc::Overflow, "Internal lock count overflowed"));
    };
    p.count.set(count);
    if held == 0 {
        p.owner.set(entry::running_owner());
    }
    Ok(true)
}

fn acquire_for(p: PrimitiveRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    queue::acquire(p, time, |p| take(p, 1), lock::take_back, call)
}

unsafe extern "C" fn acquire(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    let call = Pending::call(acquire as _, args, args::arguments(count, names));
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a lock's method.
    unsafe { objects::acquire(o, args, count, names, times::of_lock, |p, time| acquire_for(p, time, call)) }
}

/// Checks that the caller holds the lock.
fn owned(p: PrimitiveRef) -> Res<()> {
    if p.count.get() != 0 && holds(p) {
        return Ok(());
    }
    Err(runtime_error("cannot release un-acquired lock"))
}

fn do_release(p: PrimitiveRef) -> Res<Obj> {
    owned(p)?;
    let count = p.count.get() - 1;
    if count == 0 {
        lock::hand_over(p)?;
    } else {
        p.count.set(count);
    }
    Ok(none())
}

unsafe extern "C" fn release(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a lock's method.
    let (p, args) = unsafe { objects::of_call(o, args, count) };
    give(args::no_arguments("release", args).and_then(|()| do_release(p)))
}

/// `__exit__(kind, error, traceback)`.
unsafe extern "C" fn exit(o: Obj, _: *mut Obj, _: Py_ssize_t) -> Obj {
    // SAFETY: a method of a lock.
    give(do_release(unsafe { Primitive::from(o) }))
}

unsafe extern "C" fn is_owned(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a lock.
    let p = unsafe { Primitive::from(o) };
    bool_obj(p.count.get() != 0 && holds(p))
}

unsafe extern "C" fn recursion_count(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a lock.
    let p = unsafe { Primitive::from(o) };
    int_obj(if p.owner.get() == entry::running_owner() { p.count.get() } else { 0 })
}

/// `_release_save()`: releases the lock, however often it was acquired; returns (count, owner).
unsafe extern "C" fn release_save(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a lock.
    let p = unsafe { Primitive::from(o) };
    if owned(p).is_err() {
        return null_mut();
    }
    let (count, owner) = (p.count.get(), p.owner.get());
    // SAFETY: the format describes the arguments.
    let state = unsafe { Py_BuildValue(c"(LK)".as_ptr(), count, owner) };
    if state.is_null() || lock::hand_over(p).is_err() {
        drop_ref(state);
        return null_mut();
    }
    state
}

/// `_acquire_restore(state)`: acquires it as often as it was.
unsafe extern "C" fn acquire_restore(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a lock's method.
    let (p, given) = unsafe { objects::of_call(o, args, count) };
    let call = Pending::effect(acquire_restore as _, args, count);
    give(args::one_argument("_acquire_restore", given).and_then(|state| restore(p, state, call)))
}

fn restore(p: PrimitiveRef, state: Obj, call: Pending) -> Res<Obj> {
    // SAFETY: a living object; a tuple's items are borrowed.
    let count = unsafe {
        if PyTuple_Check(state) == 0 || PyTuple_GET_SIZE(state) != 2 {
            return Err(type_error("the state of a lock is a tuple of 2 items"));
        }
        PyLong_AsLongLong(PyTuple_GET_ITEM(state, 0))
    };
    if count == -1 && raised() {
        return Err(Raised);
    }
    if count < 1 {
        return Err(raise(Exc::Value, "a lock is acquired at least once"));
    }
    if p.count.get() == 0 && take(p, count)? {
        return Ok(none());
    }
    queue::begin()?;
    if p.count.get() == 0 && take(p, count)? {
        return Ok(none());
    }
    let note = count::new(count)?;
    let done = queue::wait(p, None, none_borrowed(), note, Some(lock::take_back), call)?;
    drop_ref(done);
    Ok(none())
}

unsafe extern "C" fn tp_repr(o: Obj) -> Obj {
    // SAFETY: a lock.
    let p = unsafe { Primitive::from(o) };
    let (owner, count) = (p.owner.get(), p.count.get());
    let state = if count == 0 { "unlocked" } else { "locked" };
    give(objects::full_name(o).and_then(|name| {
        str_obj(&format!("<{state} {name} object owner={owner} count={count} at {:#x}>", o.addr()))
    }))
}

pub fn add(module: Obj) -> Res<()> {
    let methods = [
        types::method_keywords(
            "acquire",
            "acquire($self, /, blocking=True, timeout=-1)\n--\n\nAcquire the lock, once more if the caller holds it. Returns True, or False when the time is over.\n\n\
             blocking: False does not wait. timeout: the maximum wait in seconds, -1 for no limit.\n\
             Errors as for Lock.acquire().",
            acquire,
        ),
        types::method(
            "release",
            "release($self, /)\n--\n\nUndo one acquire(); after the last one the first that waits has the lock. Never switches.\n\n\
             Raises RuntimeError if the caller does not hold it.",
            release,
        ),
        types::method_noargs(
            "locked",
            "locked($self, /)\n--\n\nReturn True if the lock is held.",
            lock::locked,
        ),
        types::method_keywords("__enter__", "Acquire the lock.", acquire),
        types::method("__exit__", "Release the lock.", exit),
        types::method_noargs("_is_owned", "For Condition: True if the caller holds the lock.", is_owned),
        types::method_noargs(
            "_recursion_count",
            "For tests: how often the caller has acquired it.",
            recursion_count,
        ),
        types::method_noargs("_release_save", "For Condition: release it altogether.", release_save),
        types::method("_acquire_restore", "For Condition: acquire it as often as before.", acquire_restore),
        types::method_noargs(
            "_at_fork_reinit",
            "In the child of a fork: free the lock.",
            lock::at_fork_reinit,
        ),
    ];
    let slots = objects::plain_slots(DOC, objects::tp_new)
        .slot(Py_tp_repr, tp_repr as reprfunc as *mut c_void)
        .methods(&methods);
    objects::add(
        module,
        &RLOCK,
        c"stackless.sync.RLock",
        size_of::<Primitive>(),
        Py_TPFLAGS_BASETYPE,
        slots,
        Some(lock::take_back),
    )
}
