//! How tasklet objects are collected and destroyed.
//!
//! A tasklet that is suspended holds a C stack full of references that nobody can list. It is never
//! thrown away: when nothing refers to it any more, its finaliser raises TaskletExit in it, and the
//! stack unwinds by itself. Where an object must go although its stack is still alive (a subclass
//! whose `__del__` does not call ours), the stack moves to a new plain tasklet object, which is
//! finalised instead.
//!
//! The collector empties what it takes for garbage, after the finalisers. A tasklet that could still
//! run then would find its variables gone. So a suspended tasklet shows the collector what its frames
//! hold only while our finaliser is sure to end it: before it has run once, and if no subclass has put
//! another in its place. Else the frames count as in use, and at worst a cycle stays.

use crate::args;
use crate::hooks;
use crate::join;
use crate::kernel::world;
use crate::leaks;
use crate::park;
use crate::py::*;
use crate::recording;
use crate::tasklet::{Flags, T};
use crate::tasklet_type::{allocate_plain, release, this};
use crate::thread;
use crate::throw;
use crate::types;
use pyo3_ffi::*;
use stackless_cpython as cpython;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

pub unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tasklet, during a collection.
    let t = unsafe { this(o) };
    let own = [
        type_of(o).cast(),
        t.tempval.get(),
        t.func.get(),
        t.args.get(),
        t.kwargs.get(),
        t.context.get(),
        t.sequel.get(),
    ];
    let result = types::visit_all(own, visit, arg);
    if result != 0 || !t.started() || t.is_current() || t.is_main() || thread::is_stranded(t) {
        return result;
    }
    // SAFETY: a living type.
    let finalizer = unsafe { (*type_of(o)).tp_finalize };
    let will_end = !t.flags.get().finalized
        && finalizer.is_some_and(|f| std::ptr::fn_addr_eq(f, tp_finalize as destructor));
    if !will_end && !vanishes(t) {
        return 0;
    }
    // SAFETY: started, not current: suspended.
    unsafe { park::traverse(t, visit, arg) }
}

pub unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // SAFETY: a tasklet.
    let t = unsafe { this(o) };
    if vanishes(t) {
        vanish(t); // a subclass has a finaliser of its own
    }
    if !t.started() {
        t.unbind();
        drop_ref(join::take_outcome(t));
    }
    0
}

pub unsafe extern "C" fn tp_finalize(o: Obj) {
    // SAFETY: a tasklet.
    let t = unsafe { this(o) };
    t.set_flags(|f| f.finalized = true);
    if t.started() && !thread::is_stranded(t) {
        aside(|| {
            if vanishes(t) {
                return vanish(t);
            }
            if t.blocked() && !thread::exited() {
                leaks::report(t);
            }
            throw::finalize(t);
        });
    }
}

pub unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the reference count is 0. The collector must not see the object from here on, unless
    // the finaliser brings it back.
    unsafe {
        let t = this(o);
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
    // SAFETY: nobody refers to the object; the usual steps of a garbage-collected heap type.
    unsafe {
        let t = this(o);
        let frames = if vanishes(t) { park::take_frames(t) } else { null_mut() };
        if t.started() {
            aside(|| outlive(t));
        }
        // Nobody may find it any more while destructors run.
        if hooks::watched() {
            recording::gone(t);
        }
        world(|w| w.forget_tasklet(t.tid()));
        if t.has_weakrefs() {
            PyObject_ClearWeakRefs(o);
        }
        t.unbind();
        clear(&t.sequel);
        if !frames.is_null() {
            aside(|| park::drop_frames(frames));
        }
        release(o);
    }
}

/// When nothing refers to it any more, do its frames go without running? As contract 12 has it for
/// those that are paused and have no C state; those that wait are ended, so that somebody gets to know.
pub fn vanishes(t: T) -> bool {
    let waits = t.blocked() && t.scheduler().is_some();
    t.started() && !world(|w| w.in_ring(t.tid())) && !(waits && leaks::reported()) && park::is_soft(t)
}

/// Its frames go, before the finalisers of the generators among them are called. Without memory for that
/// nothing happens.
fn vanish(t: T) {
    let frames = park::take_frames(t);
    if !t.started() {
        leaks::leave_queue(t);
    }
    park::drop_frames(frames);
}

/// The same for a tasklet of a thread that has ended, which nothing will continue: files that it has open are
/// closed. One with C state stays as it is.
pub fn release_frames(t: T) {
    if t.started() && park::is_soft(t) {
        vanish(t);
    }
}

/// The object goes, its stack is alive.
fn outlive(t: T) {
    let seat = t.seat.replace(null_mut());
    if t.scheduler().is_none() || thread::exited() {
        // It can never run again: its frames are leaked, and with them its stack.
        // SAFETY: a suspended state that nobody will load.
        return unsafe {
            (*seat).owner.set(std::ptr::null());
            cpython::abandon((*seat).state())
        };
    }
    let Ok(heir) = allocate_plain(t.sched.get()) else {
        // SAFETY: as above: without memory for the heir, the stack is leaked.
        unsafe { cpython::abandon((*seat).state()) };
        return write_unraisable(null_mut());
    };
    // SAFETY: the seat is the heir's from here on.
    unsafe { (*seat).take_over(heir) };
    heir.flags.set(Flags { finalized: false, ..t.flags.get() });
    heir.tempval.set(t.tempval.replace(null_mut()));
    throw::finalize(heir);
    drop_ref(heir.obj());
}

unsafe extern "C" fn del(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a tasklet's method.
    let (t, args) = unsafe { (this(o), args::positional(args, count)) };
    give(args::no_arguments("__del__", args).map(|()| {
        throw::finalize(t);
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
