//! The tasklet object: its fields, and what can be answered from them alone.

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

/// A tasklet, as the interpreter sees it. All fields are cells: several pieces of code refer to it at
/// the same time, and the GIL allows one of them to run.
#[repr(C)]
pub struct Tasklet {
    head: UnsafeCell<PyObject>,
    // What every switch touches comes first, in one cache line.
    /// What the pending switch call will return; null is None.
    pub tempval: Cell<Obj>,
    /// The seat, from the tasklet's start to its end; null otherwise.
    pub seat: Cell<*mut Seat>,
    pub id: Cell<TaskletId>,
    pub flags: Cell<Flags>,
    /// True if a scope around it is cancelled: calls that would wait raise `Cancelled` instead.
    pub cancelled: Cell<bool>,
    /// True if it has, or had, what few tasklets have: a limit, a scope, or a label.
    pub extra: Cell<bool>,
    /// What the tasklet waits for besides a partner, or null: see [`crate::scheduler::waits`].
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
    /// The context in which the tasklet will run, until it starts; then its state has it. Null: none yet.
    pub context: Cell<Obj>,
    /// A number that no other tasklet ever has, for `getcurrentid`.
    pub serial: Cell<u64>,
    /// The number of switches to the tasklet since it was bound, while switches are counted.
    pub switches: Cell<u64>,
    /// The number of the innermost limit + 1; 0 for none: see [`crate::scheduler::limits`].
    pub limits: Cell<u32>,
    /// The innermost cancel scope around it: owned, null for none. See [`crate::scheduler::scopes`].
    pub scope: Cell<Obj>,
    /// The previous and the next member of its group, or null: the group owns them.
    pub peers: [Cell<*const Tasklet>; 2],
    /// The name that it was given, or null; a tuple of the name, or None, and of where it was bound, if that is kept.
    pub label: Cell<Obj>,
    /// Where `join()` waits, then the outcome; null if it was never asked for: see [`crate::engine::outcome`].
    pub sequel: Cell<Obj>,
    /// When the tasklet last began or stopped to run, while that is kept: see [`crate::observe::counts::age`].
    pub since: Cell<u64>,
}

/// The flags of a tasklet.
#[derive(Clone, Copy, Default)]
pub struct Flags {
    pub atomic: bool,
    pub ignore_nesting: bool,
    pub block_trap: bool,
    /// The function has returned; the stack is still in use, to find out which tasklet continues.
    pub ended: bool,
    /// The finaliser has run, which the collector remembers for ever.
    pub finalized: bool,
    /// It did not end when it was killed, and was put into `gc.garbage`.
    pub zombie: bool,
    /// The number of the limit that ended where the tasklet could not be interrupted, or 0.
    pub interrupt_pending: u32,
    /// It is interrupted; an exception that was thrown into it meanwhile is raised at its next instruction.
    pub must_raise: bool,
    /// `run()` does not wait for it.
    pub daemon: bool,
    /// The `run()` that it is in does not wait for tasklets that sleep.
    pub impatient: bool,
    /// What its function returns is kept, for `join()`.
    pub keeps_result: bool,
    /// `sequel` is the outcome.
    pub has_outcome: bool,
    /// For patched `threading` it is a thread, with an identity of its own: its serial number.
    pub is_thread: bool,
    /// A call that does not wait may let the others run: see `engine/schedule.rs`.
    pub gives_way: bool,
    /// It has values in objects of `stackless.sync.local`.
    pub has_locals: bool,
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
    /// `o` is an instance of the tasklet type, initialised by [`crate::model::allocation::allocate`].
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

    /// True if it has begun, and not ended.
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

    /// Takes out everything that an unstarted tasklet owns, so that its cells are empty before the first
    /// destructor runs: the caller drops it when its own changes are complete.
    pub fn take_all(&self) -> [Obj; 5] {
        [&self.func, &self.args, &self.kwargs, &self.context, &self.tempval]
            .map(|cell| cell.replace(null_mut()))
    }

    /// Drops the callable, its arguments and the tempval. May run Python code, at the end.
    pub fn unbind(&self) {
        self.take_all().into_iter().for_each(objects::drop_ref);
    }

    /// The name that it was given, borrowed; null for none.
    pub fn given_name(&self) -> Obj {
        self.label_part(0)
    }

    /// Where it was bound, borrowed: a tuple of file, line and function. Null if that was not kept.
    pub fn origin(&self) -> Obj {
        self.label_part(1)
    }

    fn label_part(&self, part: Py_ssize_t) -> Obj {
        let label = self.label.get();
        // SAFETY: a label is null, a str or a tuple of two.
        unsafe {
            if label.is_null() || PyTuple_Check(label) == 0 {
                if part == 0 { label } else { null_mut() }
            } else {
                some(PyTuple_GET_ITEM(label, part)).unwrap_or(null_mut())
            }
        }
    }

    /// Sets the name and the place where it was bound; both are borrowed, and may be null. Returns the old label, which is
    /// to be dropped. Without memory nothing is changed.
    pub fn set_label(&self, name: Obj, origin: Obj) -> Res<Obj> {
        let new = if origin.is_null() {
            if name.is_null() { null_mut() } else { new_ref(name) }
        } else {
            let name = if name.is_null() { none_borrowed() } else { name };
            // SAFETY: living objects.
            check(without_collection(|| unsafe { PyTuple_Pack(2, name, origin) }))?
        };
        self.extra.set(true);
        Ok(self.label.replace(new))
    }

    /// True if it owns nothing, as a tasklet that has ended.
    pub fn owns_nothing(&self) -> bool {
        let cells = [&self.func, &self.args, &self.kwargs, &self.context, &self.tempval, &self.sequel];
        !self.started() && !self.extra.get() && cells.iter().all(|cell| cell.get().is_null())
    }

    /// True if there are references to it; false while it is being destroyed.
    pub fn is_owned(&self) -> bool {
        // SAFETY: the object's memory is there until its destruction is over.
        unsafe { Py_REFCNT(self.obj()) > 0 }
    }

    pub fn has_weakrefs(&self) -> bool {
        !self.weakrefs.get().is_null()
    }

    /// The offsets of the two fields that the interpreter itself uses.
    pub const VECTORCALL_OFFSET: usize = std::mem::offset_of!(Tasklet, vectorcall);

    pub const WEAKREF_OFFSET: usize = std::mem::offset_of!(Tasklet, weakrefs);

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

/// The tasklet whose trace function is being set, or null. Audit hooks and the destructor of the old function must not
/// set it again, and must not park the tasklet or move it to another thread.
pub static SETTING: Gil<std::cell::Cell<*const Tasklet>> = Gil::new(std::cell::Cell::new(std::ptr::null()));

pub fn is_being_traced(t: TaskletRef) -> bool {
    std::ptr::eq(SETTING.get(), t)
}
