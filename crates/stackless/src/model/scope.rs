//! The object of a cancel scope or task group: its fields. [`crate::scheduler::scopes`] has the rules.

use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_reactor::TimerId;
use std::cell::{Cell, UnsafeCell};

/// A cancel scope, as the interpreter sees it.
#[repr(C)]
pub struct Scope {
    head: UnsafeCell<PyObject>,
    /// For `tp_weaklistoffset`; managed by the interpreter.
    weakrefs: Cell<Obj>,
    /// The tasklet that is in the block; null before and after. Borrowed: the end of a tasklet ends its scopes.
    pub owner: Cell<*const Tasklet>,
    /// The scope around this one: owned, null for none.
    pub outer: Cell<Obj>,
    pub flags: Cell<ScopeFlags>,
    /// Runs while the block is executed, if there is a deadline.
    pub timer: Cell<Option<TimerId>>,
    /// In nanoseconds of the monotonic clock, once the block was entered; `NEVER` for none.
    pub deadline: Cell<u64>,
    /// The time in nanoseconds that the block may take; `NEVER` for no limit.
    pub time: Cell<u64>,
    /// The first and the last tasklet that began in this scope and has not ended: owned, linked by
    /// [`Tasklet::peers`].
    pub members: [Cell<*const Tasklet>; 2],
    /// The number of these tasklets.
    pub count: Cell<usize>,
    /// What `cancel()` was given; null for None.
    pub reason: Cell<Obj>,
    /// The list of the exceptions that are raised together at the end of a group; null before it was entered.
    pub errors: Cell<Obj>,
    /// The first KeyboardInterrupt or SystemExit, which is raised instead; or null.
    pub fatal: Cell<Obj>,
    /// The first other exception that the owner got while it waited for the members; or null.
    pub interruption: Cell<Obj>,
    /// The channel in which the owner waits for the end of the members; null before a group was entered.
    pub end: Cell<Obj>,
    /// A function that calls the functions of the members: owned, null for none.
    pub supervisor: Cell<Obj>,
    /// The next scope on the list of those whose members are to be visited, and whether it is on it.
    pub next_visit: Cell<*const Scope>,
}

/// No deadline.
pub const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Default)]
pub struct ScopeFlags {
    /// A task group.
    pub group: bool,
    /// Cancellation of outer scopes does not reach what is inside.
    pub shield: bool,
    /// The end of the block raises TimeoutError if the deadline has ended it.
    pub fails: bool,
    pub entered: bool,
    pub cancelled: bool,
    /// The deadline has passed inside the block; once it was left: the deadline has ended it.
    pub expired: bool,
    /// The owner waits for the end of the members; cancellation does not reach it meanwhile.
    pub joining: bool,
    /// A member was ended by the cancellation of an outer scope.
    pub starved: bool,
    /// On the list of scopes to be visited.
    pub to_visit: bool,
}

pub type ScopeRef = &'static Scope;

impl Scope {
    pub const WEAKREF_OFFSET: usize = std::mem::offset_of!(Scope, weakrefs);

    /// The scope behind an object that is one.
    ///
    /// # Safety
    /// `o` is an instance of the scope type.
    pub unsafe fn from(o: Obj) -> ScopeRef {
        // SAFETY: the caller's; the layout begins with the object head.
        unsafe { &*o.cast::<Scope>() }
    }

    /// The scope in a cell that holds one, or null.
    pub fn in_cell(cell: &Cell<Obj>) -> Option<ScopeRef> {
        let o = cell.get();
        // SAFETY: the cells of tasklets and scopes own scopes.
        (!o.is_null()).then(|| unsafe { Self::from(o) })
    }

    pub fn obj(&self) -> Obj {
        self.head.get()
    }

    pub fn owner(&self) -> Option<TaskletRef> {
        // SAFETY: the end and the destruction of a tasklet clear this field.
        unsafe { self.owner.get().as_ref() }
    }

    pub fn is_owned_by(&self, t: TaskletRef) -> bool {
        std::ptr::eq(self.owner.get(), t)
    }

    pub fn set_flags(&self, change: impl FnOnce(&mut ScopeFlags)) {
        let mut flags = self.flags.get();
        change(&mut flags);
        self.flags.set(flags);
    }

    pub fn first_member(&self) -> Option<TaskletRef> {
        // SAFETY: the list owns its members.
        unsafe { self.members[0].get().as_ref() }
    }
}
