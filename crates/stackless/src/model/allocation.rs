//! Memory for tasklet objects: making one, and reusing the memory of destroyed ones; and for objects with a queue.

use crate::model::channel::Channel;
use crate::model::classes;
use crate::model::tasklet::{Flags, Tasklet, TaskletRef};
use crate::model::world::world;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::{memory, types};
use pyo3_ffi::*;
use stackless_core::{RecordKind, TaskletId, ThreadId};
use std::cell::Cell;
use std::ptr::null_mut;

/// The function that a call of a tasklet object calls.
static VECTORCALL: Gil<Cell<Option<vectorcallfunc>>> = Gil::new(Cell::new(None));

/// Sets the function that `t(...)` calls, before the first tasklet is made.
pub fn register_vectorcall(call: vectorcallfunc) {
    VECTORCALL.set(Some(call));
}

impl Tasklet {
    /// Fills a freshly allocated, zeroed object.
    ///
    /// # Safety
    /// `o` is zeroed memory of a tasklet object, and no other code knows it yet.
    pub unsafe fn init(o: Obj, id: impl FnOnce(TaskletRef) -> TaskletId, serial: u64) -> TaskletRef {
        // SAFETY: the caller's; null and None are valid for all cells but the id, which is set
        // before it is read.
        let t = unsafe { Self::from(o) };
        t.vectorcall.set(VECTORCALL.get());
        t.flags.set(Flags::default());
        t.serial.set(serial);
        t.switches.set(0);
        t.since.set(0);
        t.id.set(id(t));
        t
    }
}

static SERIAL: Gil<Cell<u64>> = Gil::new(Cell::new(0));

/// Destroyed tasklets of exactly this type, whose memory new ones reuse: CPython does the same for
/// its own short-lived objects.
static SPARE: Gil<Cell<Vec<Obj>>> = Gil::new(Cell::new(Vec::new()));
const SPARES: usize = 256;

fn spare<R>(f: impl FnOnce(&mut Vec<Obj>) -> R) -> R {
    // SAFETY: the GIL; no `f` here calls this function again or runs Python code.
    f(unsafe { &mut *SPARE.as_ptr() })
}

/// The last step of a tasklet's destruction: all its cells are empty.
///
/// # Safety
/// Nothing refers to the object, and the collector does not track it.
#[inline(always)]
pub unsafe fn release(o: Obj) {
    // The collector's mark that a finaliser has run cannot be removed: such an object is not reused.
    // SAFETY: a tasklet, by the caller's word.
    let kept = std::ptr::eq(type_of(o), classes::tasklet_type())
        && !unsafe { Tasklet::from(o) }.flags.get().finalized
        && spare(|all| {
            let room = all.len() < SPARES;
            if room {
                all.push(o);
            }
            room
        });
    // SAFETY: the caller's.
    unsafe { if kept { Py_DECREF(type_of(o).cast()) } else { types::free(o) } }
}

/// An empty object of the type: all its cells are zero.
#[inline(always)]
unsafe fn memory(kind: *mut PyTypeObject) -> Obj {
    let again = if std::ptr::eq(kind, classes::tasklet_type()) { spare(Vec::pop) } else { None };
    // SAFETY: a spare object is untracked and complete but for its reference count and the one to
    // its type; else the type's own allocator gives zeroed memory.
    unsafe {
        match again {
            Some(o) => {
                Py_INCREF(kind.cast());
                _Py_NewReference(o);
                PyObject_GC_Track(o.cast());
                o
            }
            None => (*kind).tp_alloc.expect("inherited")(kind, 0),
        }
    }
}

unsafe extern "C" {
    // Exported by CPython, declared in its cpython/object.h.
    fn _Py_NewReference(o: Obj);
}

/// The serial number of the tasklet that was made last.
pub fn last_serial() -> u64 {
    SERIAL.get()
}

#[inline(always)]
pub fn allocate(kind: *mut PyTypeObject, thread: ThreadId) -> Res<TaskletRef> {
    // SAFETY: an object of the type with empty cells.
    unsafe {
        let o = check(memory(kind))?;
        if !world(|w| w.has_room(RecordKind::Tasklet)) && !more_room() {
            PyObject_GC_UnTrack(o.cast());
            types::free(o);
            return Err(memory::no_memory());
        }
        let serial = SERIAL.get() + 1;
        SERIAL.set(serial);
        Ok(Tasklet::init(o, |t| world(|w| w.add_tasklet(Some(thread), t)), serial))
    }
}

#[cold]
fn more_room() -> bool {
    memory::strictly(|| world(|w| w.make_room(RecordKind::Tasklet)))
}

/// A plain, empty tasklet of a thread; of none yet if it becomes the main tasklet of a new one.
pub fn allocate_plain(thread: ThreadId) -> Res<TaskletRef> {
    allocate(classes::tasklet_type(), thread)
}

/// An object that begins with the fields of a channel, which the world is told of; null with an exception.
///
/// # Safety
/// `kind` is the type of such objects.
pub unsafe fn allocate_channel(kind: *mut PyTypeObject) -> Obj {
    // SAFETY: an allocation by the type itself, zeroed.
    unsafe {
        let o = (*kind).tp_alloc.expect("inherited")(kind, 0);
        if o.is_null() {
            return o;
        }
        let room = || memory::strictly(|| world(|w| w.make_room(RecordKind::Channel)));
        if !world(|w| w.has_room(RecordKind::Channel)) && !room() {
            PyObject_GC_UnTrack(o.cast());
            types::free(o);
            let Raised = memory::no_memory();
            return null_mut();
        }
        let ch = Channel::from(o);
        ch.id.set(world(|w| w.add_channel(ch)));
        o
    }
}
