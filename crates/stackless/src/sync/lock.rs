//! `stackless.sync.Lock`.

use crate::engine::fork;
use crate::engine::schedule::give_way;
use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::model::world::object;
use crate::model::world::world;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use crate::sync::{count, object as objects, queue, times};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::ffi::c_void;
use std::ptr::null_mut;

const DOC: &str = "Lock()\n--\n\n\
A lock as threading.Lock, for tasklets and threads.\n\n\
A tasklet that waits for it lets the others of its thread run. release() hands it to the first that\n\
waits, which may be in another thread, and never switches. Any tasklet may release it.";

static LOCK: types::TypeCell = types::TypeCell::new();

/// True for a lock.
pub fn is_lock(o: Obj) -> bool {
    std::ptr::eq(type_of(o), LOCK.get())
}

/// Takes a lock that is free.
#[inline(always)]
fn take(p: PrimitiveRef) -> bool {
    let free = p.count.get() == 0;
    if free {
        p.count.set(1);
        p.owner.set(entry::running_owner());
    }
    free
}

/// Frees a lock, or hands it to the first that waits. The error is that there is no memory: it is still held.
pub fn hand_over(p: PrimitiveRef) -> Res<()> {
    let Some(next) = queue::next(p) else {
        p.count.set(0);
        p.owner.set(0);
        return Ok(());
    };
    let note = queue::serve(p, next, null_mut(), Some(take_back))?;
    p.owner.set(next.owner());
    p.count.set(count::of(note));
    drop_ref(note);
    Ok(())
}

/// The tasklet or thread that was given the lock does not continue with it.
pub fn take_back(p: Obj, _: Obj) {
    // SAFETY: a lock.
    if hand_over(unsafe { Primitive::from(p) }).is_err() {
        write_unraisable(p);
    }
}

fn acquire_for(p: PrimitiveRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    queue::acquire(p, time, |p| Ok(take(p)), take_back, call)
}

/// Waits until the lock is free, without keeping it. What follows is done before any other code runs.
pub fn pass_through(p: PrimitiveRef) -> Res<()> {
    drop_ref(acquire_for(p, None, Pending::NONE)?);
    hand_over(p)
}

unsafe extern "C" fn acquire(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    let call = Pending::call(acquire as _, args, args::arguments(count, names));
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a lock's method.
    unsafe { objects::acquire(o, args, count, names, times::of_lock, |p, time| acquire_for(p, time, call)) }
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

fn do_release(p: PrimitiveRef) -> Res<Obj> {
    if p.count.get() == 0 {
        return Err(runtime_error("release unlocked lock"));
    }
    hand_over(p).map(|()| none())
}

pub unsafe extern "C" fn locked(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a lock.
    let p = unsafe { Primitive::from(o) };
    give(give_way().map(|()| bool_obj(p.count.get() != 0)))
}

/// In the child of a fork: frees the lock, unless a tasklet holds it that exists here and will release it. The caller
/// does not count, as it may have acquired the lock for the fork.
pub unsafe extern "C" fn at_fork_reinit(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a lock.
    let p = unsafe { Primitive::from(o) };
    let (owner, me) = (p.owner.get(), entry::running_owner());
    let lives = owner != me
        && world(|w| w.tasklets()).into_iter().map(object).any(|t| {
            t.scheduler()
                .is_some_and(|s| entry::owner(s, t) == owner && (!s.is_here() || fork::exists_in_child(s, t)))
        });
    give(if p.count.get() == 0 || lives { Ok(none()) } else { hand_over(p).map(|()| none()) })
}

unsafe extern "C" fn tp_repr(o: Obj) -> Obj {
    // SAFETY: a lock.
    let state = if unsafe { Primitive::from(o) }.count.get() != 0 { "locked" } else { "unlocked" };
    give(
        objects::full_name(o)
            .and_then(|name| str_obj(&format!("<{state} {name} object at {:#x}>", o.addr()))),
    )
}

pub fn add(module: Obj) -> Res<()> {
    let acquire_doc = |name| {
        format!(
            "{name}($self, /, blocking=True, timeout=-1)\n--\n\nAcquire the lock; wait until it is free. Returns True, or False when the time is over.\n\n\
             blocking: False does not wait. timeout: the maximum wait in seconds, -1 for no limit.\n\
             Raises ValueError for another negative timeout, or for one without blocking; OverflowError\n\
             if it is too large; RuntimeError if no tasklet is left that could release it (deadlock)."
        )
    };
    let release_doc = |name| {
        format!(
            "{name}($self, /)\n--\n\nRelease the lock: it goes to the first that waits for it. Never switches.\n\n\
             Raises RuntimeError if it is not locked."
        )
    };
    let locked_doc = |name| format!("{name}($self, /)\n--\n\nReturn True if the lock is held.");
    let mut methods = Vec::new();
    for name in ["acquire", "acquire_lock"] {
        methods.push(types::method_keywords(name, &acquire_doc(name), acquire));
    }
    for name in ["release", "release_lock"] {
        methods.push(types::method(name, &release_doc(name), release));
    }
    for name in ["locked", "locked_lock"] {
        methods.push(types::method_noargs(name, &locked_doc(name), locked));
    }
    methods.extend([
        types::method_keywords("__enter__", "Acquire the lock.", acquire),
        types::method("__exit__", "Release the lock.", exit),
        types::method_noargs("_at_fork_reinit", "In the child of a fork: free the lock.", at_fork_reinit),
    ]);
    let slots = objects::plain_slots(DOC, objects::tp_new_plain)
        .slot(Py_tp_repr, tp_repr as reprfunc as *mut c_void)
        .methods(&methods);
    objects::add(module, &LOCK, c"stackless.sync.Lock", size_of::<Primitive>(), 0, slots, Some(take_back))
}
