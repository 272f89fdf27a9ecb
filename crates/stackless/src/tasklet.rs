//! The tasklet object: its fields, and the small questions about its state.

use crate::kernel::{Seat, world};
use crate::py::{Obj, some};
use crate::thread::Sched;
use crate::waits::Wait;
use pyo3_ffi::*;
use stackless_core::{ChannelId, TaskletId};
use std::cell::{Cell, UnsafeCell};
use std::ptr::{null, null_mut};

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
    /// Its scheduler; null once its thread has ended. Borrowed: the thread's end clears it.
    pub sched: Cell<*const Sched>,
    pub id: Cell<TaskletId>,
    pub flags: Cell<Flags>,
    /// What it waits for besides a partner, or null: see [`crate::waits`].
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
    /// The innermost limit over it, its number and 1: see [`crate::limits`].
    pub limits: Cell<u32>,
    /// Where its end is waited for, then its outcome; null if nobody asked: see [`crate::join`].
    pub sequel: Cell<Obj>,
    /// When it last began or stopped to run, while that is kept: see [`crate::counts::age`].
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

pub type T = &'static Tasklet;

impl Tasklet {
    pub fn obj(&self) -> Obj {
        self.head.get()
    }

    /// The tasklet behind an object that is one.
    ///
    /// # Safety
    /// `o` is an instance of our tasklet type, initialised by [`crate::tasklet_type::allocate`].
    #[inline(always)]
    pub unsafe fn from(o: Obj) -> T {
        // SAFETY: the caller's; the layout begins with the object head.
        unsafe { &*o.cast::<Tasklet>() }
    }

    #[inline(always)]
    pub fn tid(&self) -> TaskletId {
        self.id.get()
    }

    /// Its scheduler, None once its thread has ended.
    #[inline(always)]
    pub fn scheduler(&self) -> Option<&'static Sched> {
        let sched = self.sched.get();
        // SAFETY: the pointer is cleared before the scheduler is freed.
        (!sched.is_null()).then(|| unsafe { &*sched })
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

    /// Has it something to run or to resume?
    pub fn alive(&self) -> bool {
        !self.sched.get().is_null()
            && !self.flags.get().ended
            && (self.started() || !self.args.get().is_null())
    }

    /// Is an exception on its way to it?
    pub fn has_bomb(&self) -> bool {
        some(self.tempval.get()).is_some_and(crate::bomb::is_bomb)
    }

    pub fn linked(&self) -> bool {
        world(|w| w.is_linked(self.tid()))
    }

    pub fn channel(&self) -> Option<ChannelId> {
        world(|w| w.waits(self.tid())).map(|(c, _)| c)
    }

    pub fn blocked(&self) -> bool {
        self.channel().is_some()
    }

    pub fn is_current(&self) -> bool {
        self.scheduler().is_some_and(|s| std::ptr::eq(s.current(), self))
    }

    pub fn is_main(&self) -> bool {
        self.scheduler().is_some_and(|s| std::ptr::eq(s.main(), self))
    }

    pub fn paused(&self) -> bool {
        self.alive() && !self.linked() && !self.is_current()
    }

    /// Replaces the tempval; the reference is taken over, None is stored as null.
    pub fn put(&self, value: Obj) {
        let value = if some(value).is_none() {
            crate::py::drop_ref(value);
            null_mut()
        } else {
            value
        };
        let old = self.tempval.replace(value);
        if !old.is_null() {
            crate::py::drop_ref(old);
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
        self.take_all().into_iter().for_each(crate::py::drop_ref);
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

    /// Fills a freshly allocated, zeroed object.
    ///
    /// # Safety
    /// `o` is zeroed memory of a tasklet object, and nobody else knows it yet.
    pub unsafe fn init(o: Obj, sched: *const Sched, id: impl FnOnce(T) -> TaskletId, serial: u64) -> T {
        // SAFETY: the caller's; null and None are valid for all cells but the id, which is set
        // before anybody reads it.
        let t = unsafe { Self::from(o) };
        t.vectorcall.set(Some(crate::tasklet_type::call));
        t.sched.set(sched);
        t.flags.set(Flags::default());
        t.serial.set(serial);
        t.switches.set(0);
        t.since.set(0);
        t.id.set(id(t));
        t
    }

    /// Where the interpreter finds the two fields that it uses itself.
    pub const VECTORCALL_OFFSET: usize = std::mem::offset_of!(Tasklet, vectorcall);
    pub const WEAKREF_OFFSET: usize = std::mem::offset_of!(Tasklet, weakrefs);

    /// It belongs to no thread any more.
    pub fn orphan(&self) {
        self.sched.set(null());
    }
}
