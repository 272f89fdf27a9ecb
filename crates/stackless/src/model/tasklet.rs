//! The tasklet object: its fields, and the small questions about its state.

use crate::model::seat::Seat;
use crate::model::wait::Wait;
use crate::python::gil::Gil;
use crate::python::objects;
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::TaskletId;
use stackless_cpython::Pending;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;

/// Whose trace function is being set, or null: audit hooks and the destructor of the old one must not set it
/// again, and the tasklet stays where it is.
pub static SETTING: Gil<std::cell::Cell<*const Tasklet>> = Gil::new(std::cell::Cell::new(std::ptr::null()));

pub fn is_being_traced(t: TaskletRef) -> bool {
    std::ptr::eq(SETTING.get(), t)
}

impl Tasklet {
    /// Takes over a seat that was another tasklet's, with what runs on it.
    pub fn inherit(&self, seat: &Seat) {
        seat.owner.set(Some(self.id()));
        self.seat.set(std::ptr::from_ref(seat).cast_mut());
    }

    /// Assigns a free seat to this tasklet and resets the seat's bookkeeping.
    pub fn assign(&self, seat: &Seat) {
        seat.looks.set(0);
        seat.begun.set(false);
        seat.pending.set(Pending::NONE);
        self.inherit(seat);
    }

    #[inline(always)]
    pub fn seat(&self) -> &'static Seat {
        debug_assert!(self.started());
        // SAFETY: a started tasklet's seat lives until its end.
        unsafe { &*self.seat.get() }
    }
}

/// A tasklet, as the interpreter sees it. All fields are cells: several pieces of code hold it at
/// the same time, and the GIL keeps them apart.
#[repr(C)]
pub struct Tasklet {
    head: UnsafeCell<PyObject>,
    // What every switch touches comes first, to lie in one cache line.
    /// What the pending switch call will return; null is None.
    pub tempval: Cell<Obj>,
    /// Its stack and thread state, from its start to its end; null otherwise.
    pub seat: Cell<*mut Seat>,
    pub id: Cell<TaskletId>,
    pub flags: Cell<Flags>,
    /// What it waits for besides a partner, or null: see [`crate::scheduler::waits`].
    pub wait: Cell<*mut Wait>,
    /// For `t(...)`: where `tp_vectorcall_offset` points.
    pub vectorcall: Cell<Option<vectorcallfunc>>,
    /// For `tp_weaklistoffset`; managed by the interpreter.
    weakrefs: Cell<Obj>,
    /// The callable and its arguments, until the tasklet starts. A *bound* tasklet, which has no
    /// arguments yet, has its callable as tempval too.
    pub func: Cell<Obj>,
    pub args: Cell<Obj>,
    /// Null: no keyword arguments.
    pub kwargs: Cell<Obj>,
    /// The context that it will run in, until it starts; then its state holds it. Null: none yet.
    pub context: Cell<Obj>,
    /// A number of its own for life, for `getcurrentid`.
    pub serial: Cell<u64>,
    /// How often it was switched to since it was bound, while that is counted.
    pub switches: Cell<u64>,
    /// The innermost limit over it, its number and 1: see [`crate::scheduler::limits`].
    pub limits: Cell<u32>,
    /// Where its end is waited for, then its outcome; null if nobody asked: see [`crate::engine::outcome`].
    pub sequel: Cell<Obj>,
    /// When it last began or stopped to run, while that is kept: see [`crate::observe::counts::age`].
    pub since: Cell<u64>,
}

/// What can be switched on and off in a tasklet.
#[derive(Clone, Copy, Default)]
pub struct Flags {
    pub atomic: bool,
    pub ignore_nesting: bool,
    pub block_trap: bool,
    /// Its function has returned; its stack is still in use, to find out who goes on.
    pub ended: bool,
    /// Its finaliser has run, which the collector remembers for ever.
    pub finalized: bool,
    /// It refused to die, and was put into `gc.garbage`.
    pub zombie: bool,
    /// Its time was up where it could not be interrupted.
    /// The number of the limit, or 0.
    pub interrupt_pending: u32,
    /// Interrupted; the exception that was thrown into it meanwhile waits for its next instruction.
    pub must_raise: bool,
    /// It keeps no `run()` waiting.
    pub daemon: bool,
    /// The `run()` that it sits in waits for nothing.
    pub impatient: bool,
    /// What its function returns is kept.
    pub keeps_result: bool,
    /// Its sequel is the outcome.
    pub has_outcome: bool,
    /// It started with soft switching disabled.
    pub hard: bool,
}

pub type TaskletRef = &'static Tasklet;

impl Tasklet {
    pub fn obj(&self) -> Obj {
        self.head.get()
    }

    /// The tasklet behind an object that is one.
    ///
    /// # Safety
    /// `o` is an instance of our tasklet type, initialised by [`crate::model::allocation::allocate`].
    #[inline(always)]
    pub unsafe fn from(o: Obj) -> TaskletRef {
        // SAFETY: the caller's; the layout begins with the object head.
        unsafe { &*o.cast::<Tasklet>() }
    }

    #[inline(always)]
    pub fn id(&self) -> TaskletId {
        self.id.get()
    }

    pub fn set_flags(&self, change: impl FnOnce(&mut Flags)) {
        let mut flags = self.flags.get();
        change(&mut flags);
        self.flags.set(flags);
    }

    /// Has it begun, and not ended?
    #[inline(always)]
    pub fn started(&self) -> bool {
        !self.seat.get().is_null()
    }

    /// Replaces the tempval; the reference is taken over, None is stored as null.
    pub fn put(&self, value: Obj) {
        let value = if some(value).is_none() {
            objects::drop_ref(value);
            null_mut()
        } else {
            value
        };
        let old = self.tempval.replace(value);
        if !old.is_null() {
            objects::drop_ref(old);
        }
    }

    /// Takes out everything that an unstarted tasklet owns, so that all is gone before the first
    /// destructor runs: the caller drops it when nothing is half done any more.
    pub fn take_all(&self) -> [Obj; 5] {
        [&self.func, &self.args, &self.kwargs, &self.context, &self.tempval]
            .map(|cell| cell.replace(null_mut()))
    }

    /// Forgets the callable, its arguments and the tempval. May run Python code, at the end.
    pub fn unbind(&self) {
        self.take_all().into_iter().for_each(objects::drop_ref);
    }

    /// Is there nothing to drop in it, as in a tasklet that has ended?
    pub fn owns_nothing(&self) -> bool {
        let cells = [&self.func, &self.args, &self.kwargs, &self.context, &self.tempval, &self.sequel];
        !self.started() && cells.iter().all(|cell| cell.get().is_null())
    }

    /// Does anybody refer to it? Else it is just being destroyed.
    pub fn is_owned(&self) -> bool {
        // SAFETY: the object's memory is there until its destruction is over.
        unsafe { Py_REFCNT(self.obj()) > 0 }
    }

    pub fn has_weakrefs(&self) -> bool {
        !self.weakrefs.get().is_null()
    }

    /// Where the interpreter finds the two fields that it uses itself.
    pub const VECTORCALL_OFFSET: usize = std::mem::offset_of!(Tasklet, vectorcall);

    pub const WEAKREF_OFFSET: usize = std::mem::offset_of!(Tasklet, weakrefs);
}
