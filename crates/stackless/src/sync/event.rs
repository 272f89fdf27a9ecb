//! The base of `stackless.sync.Event`, and the queue in which `Condition.wait()` waits.

use crate::engine::schedule::give_way;
use crate::model::alt::{Case, Wish};
use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::sync::{object as objects, queue, times};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ffi::c_void;
use std::ptr::null_mut;

static EVENT: types::TypeCell = types::TypeCell::new();
static WAITERS: types::TypeCell = types::TypeCell::new();

unsafe extern "C" fn wait(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of an event's method.
    let (p, given) = unsafe { (Primitive::from(o), args::named("wait", ["timeout"], args, count, names)) };
    let call = Pending::call(wait as _, args, args::arguments(count, names));
    give(given.and_then(|[timeout]| {
        if p.count.get() != 0 {
            return Ok(bool_obj(true));
        }
        let time = times::of_wait(timeout)?;
        if time == Some(0) {
            give_way()?;
            return Ok(bool_obj(p.count.get() != 0));
        }
        queue::begin()?;
        if p.count.get() != 0 {
            return Ok(bool_obj(true));
        }
        // SAFETY: False exists.
        queue::wait(p, time, unsafe { Py_False() }, null_mut(), None, call)
    }))
}

unsafe extern "C" fn set(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of an event.
    let p = unsafe { Primitive::from(o) };
    p.count.set(1);
    while let Some(next) = queue::next(p) {
        match queue::serve(p, next, null_mut(), None) {
            Ok(note) => drop_ref(note),
            Err(Raised) => return null_mut(),
        }
    }
    none()
}

unsafe extern "C" fn clear(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of an event.
    unsafe { Primitive::from(o) }.count.set(0);
    none()
}

unsafe extern "C" fn is_set(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of an event.
    let p = unsafe { Primitive::from(o) };
    give(give_way().map(|()| bool_obj(p.count.get() != 0)))
}

unsafe extern "C" fn event_repr(o: Obj) -> Obj {
    // SAFETY: an event.
    let set = unsafe { Primitive::from(o) }.count.get() != 0;
    objects::repr_with(o, if set { "set" } else { "unset" })
}

// ---------------------------------------------------------------------- the queue of a condition

/// A case of `alt()`.
unsafe extern "C" fn alt_case(o: Obj, _: Obj) -> Obj {
    give(Case::make(Wish::Set, new_ref(o), null_mut()))
}

/// Wakes the first that waits, or is about to: `count` is the number of those, `bound` how many of them need not
/// wait any more. False if there is none.
fn notify_one(p: PrimitiveRef) -> Res<bool> {
    if let Some(next) = queue::next(p) {
        drop_ref(queue::serve(p, next, null_mut(), Some(take_back))?);
        return Ok(true);
    }
    let about_to = p.count.get() > 0;
    if about_to {
        p.count.set(p.count.get() - 1);
        p.bound.set(p.bound.get() + 1);
    }
    Ok(about_to)
}

/// One that was woken does not continue: the next one is woken in its place.
fn take_back(p: Obj, _: Obj) {
    // SAFETY: the queue of a condition.
    if notify_one(unsafe { Primitive::from(p) }).is_err() {
        write_unraisable(p);
    }
}

/// `wait(timeout, release, saved)`: releases the lock and waits, in one step. What `release()` returns goes into the
/// list `saved`, in the place of its item.
unsafe extern "C" fn release_and_wait(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a method.
    let (p, given) = unsafe { objects::of_call(o, args, count) };
    let call = Pending::call(release_and_wait as _, args, count);
    give(args::exactly::<3>("wait", given).and_then(|&[timeout, release, saved]| {
        let time = times::of_wait(timeout)?;
        queue::begin()?;
        release_lock(p, release, saved)?;
        if p.bound.get() > 0 {
            p.bound.set(p.bound.get() - 1);
            return Ok(bool_obj(true));
        }
        p.count.set(p.count.get() - 1);
        if time == Some(0) {
            return give_way().map(|()| bool_obj(false));
        }
        // SAFETY: False exists.
        queue::wait(p, time, unsafe { Py_False() }, null_mut(), Some(take_back), call)
    }))
}

/// The caller is announced while it releases the lock, which may run Python code: a notification that comes then
/// counts for it.
fn release_lock(p: PrimitiveRef, release: Obj, saved: Obj) -> Res<()> {
    p.count.set(p.count.get() + 1);
    // SAFETY: living objects; the reference goes into the list, which has an item.
    let released = unsafe {
        let state = PyObject_CallNoArgs(release);
        !state.is_null() && PyList_SetItem(saved, 0, state) == 0
    };
    if released {
        return Ok(());
    }
    saving_exception(|| {
        if p.bound.get() > 0 {
            p.bound.set(p.bound.get() - 1);
            take_back(p.obj(), null_mut());
        } else {
            p.count.set(p.count.get() - 1);
        }
    });
    Err(Raised)
}

unsafe extern "C" fn notify(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a method.
    let (p, given) = unsafe { objects::of_call(o, args, count) };
    give(args::one_argument("notify", given).and_then(|n| {
        // SAFETY: a living object.
        let n = unsafe { PyLong_AsLongLong(n) };
        if n == -1 && raised() {
            return Err(Raised);
        }
        notify_some(p, n).map(int_obj)
    }))
}

/// Wakes the first that wait, at most this number. Returns how many there were.
pub fn notify_some(p: PrimitiveRef, most: i64) -> Res<i64> {
    let mut done = 0;
    while done < most && notify_one(p)? {
        done += 1;
    }
    Ok(done)
}

/// True for a queue of those that wait.
pub fn is_waiters(o: Obj) -> bool {
    std::ptr::eq(type_of(o), WAITERS.get())
}

/// A new queue of those that wait.
pub fn new_waiters() -> Res<Obj> {
    // SAFETY: the type is ready.
    check(unsafe { PyObject_CallNoArgs(WAITERS.get().cast()) })
}

unsafe extern "C" fn length(o: Obj) -> Py_ssize_t {
    // SAFETY: a queue.
    let p = unsafe { Primitive::from(o) };
    (i64::from(p.tasklets()) + p.count.get()) as Py_ssize_t + p.threads() as Py_ssize_t
}

pub fn add(module: Obj) -> Res<()> {
    let methods = [
        types::method_noargs(
            "__alt_case__",
            "__alt_case__($self, /)\n--\n\nReturn the case of alt() that this event is set.",
            alt_case,
        ),
        types::method_noargs("is_set", "is_set($self, /)\n--\n\nReturn True if the event is set.", is_set),
        types::method_noargs(
            "set",
            "set($self, /)\n--\n\nSet the event: all that wait for it continue. Never switches.",
            set,
        ),
        types::method_noargs("clear", "clear($self, /)\n--\n\nReset the event.", clear),
        types::method_keywords(
            "wait",
            "wait($self, /, timeout=None)\n--\n\nWait until the event is set. Returns True, or False when the time is over.\n\n\
             timeout: the maximum wait in seconds, None for no limit; a negative one is 0.\n\
             Raises RuntimeError if no tasklet is left that could set it (deadlock).",
            wait,
        ),
    ];
    let slots = objects::plain_slots("The base of Event.", objects::tp_new)
        .slot(Py_tp_repr, event_repr as reprfunc as *mut c_void)
        .methods(&methods);
    let size = size_of::<Primitive>();
    objects::add(module, &EVENT, c"stackless._stackless._Event", size, Py_TPFLAGS_BASETYPE, slots, None)?;

    let methods = [
        types::method(
            "wait",
            "Wait to be notified: (timeout, release, saved). True, or False when the time is over.",
            release_and_wait,
        ),
        types::method("notify", "Wake the first n that wait; return how many there were: (n).", notify),
    ];
    let slots = objects::plain_slots("Those that wait for a Condition.", objects::tp_new_plain)
        .slot(Py_sq_length, length as lenfunc as *mut c_void)
        .methods(&methods);
    objects::add(module, &WAITERS, c"stackless._stackless._Waiters", size, 0, slots, Some(take_back))
}
