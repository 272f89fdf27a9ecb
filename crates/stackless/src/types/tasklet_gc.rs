//! How tasklet objects are collected and destroyed.
//!
//! A suspended tasklet has a C stack full of references, and there is no list of them. Its stack is never
//! simply freed: when nothing refers to the tasklet any more, its finaliser raises TaskletExit in it, and the
//! stack unwinds by itself. If an object is destroyed although its stack is still in use (a subclass
//! whose `__del__` does not call the one of `tasklet`), the stack goes to a new plain tasklet object, its
//! *heir*, which is finalised instead.
//!
//! The collector clears what it takes for garbage, after the finalisers. The variables of a tasklet that could still
//! run then would be gone. So a suspended tasklet shows the collector what its frames
//! refer to only while the finaliser is sure to end it: before it has run once, and if no subclass has
//! replaced it. Else the frames count as in use, and in the worst case a cycle is not collected.

use crate::engine::outcome;
use crate::engine::throw::{exit_bomb, kill_later, throw};
use crate::model::allocation::{allocate_plain, release};
use crate::model::alt;
use crate::model::channel;
use crate::model::seat::Seat;
use crate::model::settings;
use crate::model::tasklet::{Flags, Tasklet, TaskletRef};
use crate::model::world::world;
use crate::observe::leaks;
use crate::parking::park::park;
use crate::parking::park::{self, has_not_begun};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::waits::ends;
use crate::scheduler::{entry, hooks, limits, scopes};
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, Pending};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

pub unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tasklet, during a collection.
    let t = unsafe { Tasklet::from(o) };
    for o in alt::of(t).iter().flat_map(|alt| alt.owned()) {
        let result = types::visit_all([o], visit, arg);
        if result != 0 {
            return result;
        }
    }
    let own = [
        type_of(o).cast(),
        t.tempval.get(),
        t.func.get(),
        t.args.get(),
        t.kwargs.get(),
        t.context.get(),
        t.sequel.get(),
        t.scope.get(),
        t.label.get(),
    ];
    let result = types::visit_all(own, visit, arg);
    if result != 0 || !t.started() || t.is_current() || t.is_main() || entry::is_stranded(t) {
        return result;
    }
    // SAFETY: a living type.
    let finalizer = unsafe { (*type_of(o)).tp_finalize };
    let will_end = !t.flags.get().finalized
        && finalizer.is_some_and(|f| std::ptr::fn_addr_eq(f, tp_finalize as destructor));
    if !will_end && !ends_without_running(t) {
        return 0;
    }
    // SAFETY: started, not current: suspended.
    unsafe { park::traverse(t, visit, arg) }
}

pub unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // SAFETY: a tasklet.
    let t = unsafe { Tasklet::from(o) };
    if ends_without_running(t) {
        end_without_running(t); // a subclass has a finaliser of its own
    }
    if !t.started() {
        t.unbind();
        drop_ref(outcome::take_outcome(t));
    }
    0
}

pub unsafe extern "C" fn tp_finalize(o: Obj) {
    // SAFETY: a tasklet.
    let t = unsafe { Tasklet::from(o) };
    t.set_flags(|f| f.finalized = true);
    if t.started() && !entry::is_stranded(t) {
        saving_exception(|| {
            if ends_without_running(t) {
                return end_without_running(t);
            }
            if t.blocked() && !settings::exited() {
                leaks::report(t);
            }
            finalize(t);
        });
    }
}

pub unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the reference count is 0. The collector must not see the object from here on, unless
    // the finaliser brings it back.
    unsafe {
        let t = Tasklet::from(o);
        if t.started() && PyObject_CallFinalizerFromDealloc(o) < 0 {
            return;
        }
        PyObject_GC_UnTrack(o.cast());
        if t.owns_nothing() {
            destroy(o);
        } else {
            cpython::trashcan(o, tp_dealloc, destroy);
        }
    }
}

unsafe extern "C" fn destroy(o: Obj) {
    // SAFETY: there is no reference to the object; the usual steps of a garbage-collected heap type.
    unsafe {
        let t = Tasklet::from(o);
        let frames = if ends_without_running(t) { take_frames(t) } else { null_mut() };
        if t.started() {
            saving_exception(|| outlive(t));
        }
        if t.extra.replace(false) {
            limits::end_all(t);
            scopes::end_all(t);
        }
        // From here on the world does not have it any more, while destructors run.
        if let Some(recorder) = hooks::recorder() {
            recorder.gone(t);
        }
        world(|w| w.forget_tasklet(t.id()));
        if t.has_weakrefs() {
            PyObject_ClearWeakRefs(o);
        }
        t.unbind();
        channel::forget_end(t);
        clear(&t.sequel);
        clear(&t.label);
        if !frames.is_null() {
            saving_exception(|| drop_frames(frames));
        }
        release(o);
    }
}

/// True if its frames are dropped, without running, when nothing refers to it any more. By section 12 of the contract
/// that is so for paused tasklets without C state; those that wait are ended, so that they can be reported.
pub fn ends_without_running(t: TaskletRef) -> bool {
    if !t.started() || world(|w| w.in_ring(t.id())) {
        return false;
    }
    let waits = t.blocked() && t.scheduler().is_some();
    !(waits && settings::reported()) && park::is_soft(t)
}

/// Drops the frames, before the finalisers of the generators among them are called. Without memory for that
/// nothing happens.
fn end_without_running(t: TaskletRef) {
    let frames = take_frames(t);
    if !t.started() {
        leaks::leave_queue(t);
    }
    drop_frames(frames);
}

/// Drops the frames of a tasklet of a thread that has ended, which nothing will continue: files that it has open are
/// closed. A tasklet with C state stays as it is.
pub fn release_frames(t: TaskletRef) {
    if t.started() && park::is_soft(t) {
        end_without_running(t);
    }
}

/// The object is destroyed, but its stack is in use.
fn outlive(t: TaskletRef) {
    let seat = t.seat.replace(null_mut());
    let thread = world(|w| w.thread_of(t.id())).filter(|_| !settings::exited());
    let Some(thread) = thread else {
        // It can never run again: its frames and its stack are leaked.
        // SAFETY: a suspended state that will never be loaded.
        return unsafe {
            (*seat).owner.set(None);
            cpython::abandon((*seat).state())
        };
    };
    let Ok(heir) = allocate_plain(thread) else {
        // SAFETY: as above: without memory for the heir, the stack is leaked.
        unsafe {
            (*seat).owner.set(None);
            cpython::abandon((*seat).state());
        }
        return write_unraisable(null_mut());
    };
    // SAFETY: the seat is the heir's from here on.
    unsafe { heir.inherit(&*seat) };
    heir.flags.set(Flags { finalized: false, ..t.flags.get() });
    heir.tempval.set(t.tempval.replace(null_mut()));
    finalize(heir);
    drop_ref(heir.obj());
}

unsafe extern "C" fn del(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (Tasklet::from(o), args::positional(args, count)) };
    give(args::no_arguments("__del__", args).map(|()| {
        finalize(t);
        none()
    }))
}

pub fn methods() -> Vec<PyMethodDef> {
    vec![types::method(
        "__del__",
        "__del__($self, /)\n--\n\nThe finaliser: ends a paused tasklet that was started with TaskletExit.",
        del,
    )]
}

/// Takes the frames from a soft tasklet that is in no list: it has ended then, and no code of it
/// runs any more. Null if it has none, or if there is no memory for that.
pub fn take_frames(t: TaskletRef) -> *mut Seat {
    if has_not_begun(t)
        && let Some(s) = t.scheduler()
    {
        park::unseat_traced(s, t);
    }
    if !t.started() || park(t).is_err() {
        return null_mut();
    }
    t.set_flags(|f| (f.hard, f.interrupt_pending, f.must_raise) = (false, 0, false));
    abandon(t);
    t.seat.replace(null_mut())
}

/// Drops what these frames refer to. May run any code.
pub fn drop_frames(frames: *mut Seat) {
    if !frames.is_null() {
        // SAFETY: a parked seat to which nothing refers any more; the calling thread's state.
        unsafe {
            cpython::drop_parked(cpython::thread_state(), (*frames).state());
            Seat::free(frames);
        }
    }
    if let Some(entered) = entry::enter_begun() {
        entered.s.drop_deferred();
    }
}

/// `t.kill()`: raises TaskletExit in it at once, whatever it waits for.
pub fn kill_now(t: TaskletRef) -> Res<()> {
    throw(t, exit_bomb()?, false, Pending::NONE)
}

/// The finaliser: a started tasklet that nothing can resume any more is ended with TaskletExit, so
/// that its `finally` blocks run. A tasklet that does not end after ten attempts is kept in `gc.garbage`.
pub fn finalize(t: TaskletRef) {
    if t.scheduler().is_none() || !t.started() || t.is_current() || t.is_main() || settings::exited() {
        return;
    }
    if world(|w| w.in_ring(t.id())) {
        return; // the program has called `__del__`: the tasklet will run
    }
    if ends_without_running(t) {
        return; // its frames go when the object is destroyed
    }
    let Ok(entered) = entry::enter_anywhere() else { return write_unraisable(t.obj()) };
    // A thread's first use of tasklets may run the schedule callback, during which the tasklet's thread may end.
    let Some(owner) = t.scheduler() else { return };
    if !std::ptr::eq(entered.s, owner) || entered.refused() {
        // It ends in its own thread, when its turn comes.
        return kill_later(t);
    }
    for _ in 0..10 {
        if kill_now(t).is_err() {
            write_unraisable(t.obj());
        }
        if !t.started() || world(|w| w.is_linked(t.id())) {
            return; // it has ended, or waits or runs again
        }
    }
    t.set_flags(|f| f.zombie = true);
    if keep_as_garbage(t.obj()).is_err() {
        write_unraisable(t.obj());
    }
}

fn keep_as_garbage(o: Obj) -> Res<()> {
    // SAFETY: NUL-terminated names; owned references are dropped.
    unsafe {
        let gc = check(PyImport_ImportModule(c"gc".as_ptr()))?;
        let garbage = PyObject_GetAttrString(gc, c"garbage".as_ptr());
        drop_ref(gc);
        let garbage = check(garbage)?;
        let result = PyList_Append(garbage, o);
        drop_ref(garbage);
        if result < 0 { Err(Raised) } else { Ok(()) }
    }
}

/// A tasklet ends without running any more: its waits end, and tasklets that wait for its
/// end continue.
pub fn abandon(t: TaskletRef) {
    ends(t);
    limits::end_all(t);
    scopes::end_all(t);
    if let Some(s) = t.scheduler() {
        outcome::ended(s, t);
    }
}
