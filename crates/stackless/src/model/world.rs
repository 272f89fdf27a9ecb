//! The one [`World`] of the process, with its lists, and what it answers about tasklets and threads.

use crate::model::channel;
use crate::model::seat::Seat;
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::model::thread::Sched;
use crate::python::gil::Gil;
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::{ChannelId, TaskletId, WaitsTo};
use stackless_cpython::{self as cpython, Of};
use std::cell::UnsafeCell;

/// The channel that the tasklet waits in, and for what.
pub fn waits(t: TaskletRef) -> Option<(ChannelId, WaitsTo)> {
    world(|w| w.waits(t.id()))
}

/// Where the fields of the thread state are for a tasklet that has begun. Those of a running tasklet are in its
/// thread's state, which is complete while that thread waits for the GIL. For others the result has the calling
/// thread's state, for operations that need a thread.
pub fn fields(t: TaskletRef) -> Option<(*mut PyThreadState, Of)> {
    let s = t.scheduler().filter(|_| t.started())?;
    if t.is_current() {
        return Some((s.ts, Of::Running));
    }
    Some((cpython::thread_state(), Of::Suspended(t.seat().state())))
}

pub type World = stackless_core::World<TaskletRef, channel::ChannelRef, &'static Sched>;

static WORLD: Gil<UnsafeCell<World>> = Gil::new(UnsafeCell::new(World::new()));

/// The only access to the world. `f` must not run Python code and not call this function again.
#[inline(always)]
pub fn world<R>(f: impl FnOnce(&mut World) -> R) -> R {
    // SAFETY: the GIL excludes other threads, and the rule above excludes a second borrow.
    f(unsafe { &mut *WORLD.get() })
}

/// The object of a tasklet that the world knows.
#[inline(always)]
pub fn object(t: TaskletId) -> TaskletRef {
    world(|w| w.payload(t))
}

impl Tasklet {
    /// Its scheduler, None once its thread has ended.
    #[inline(always)]
    pub fn scheduler(&self) -> Option<&'static Sched> {
        world(|w| w.thread_of(self.id()).map(|h| w.thread_payload(h)))
    }

    /// True if it belongs to this thread.
    #[inline(always)]
    pub fn is_of(&self, s: &'static Sched) -> bool {
        world(|w| w.is_of(self.id(), s.id()))
    }

    /// True if it has something to run or to resume.
    pub fn alive(&self) -> bool {
        world(|w| w.thread_of(self.id()).is_some())
            && !self.flags.get().ended
            && (self.started() || !self.args.get().is_null())
    }

    pub fn linked(&self) -> bool {
        world(|w| w.is_linked(self.id()))
    }

    pub fn channel(&self) -> Option<ChannelId> {
        world(|w| w.waits(self.id())).map(|(c, _)| c)
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
}

/// The schedulers of all threads that use tasklets.
pub fn threads() -> Vec<&'static Sched> {
    world(|w| w.threads().collect())
}

pub fn find(ts: *mut PyThreadState) -> Option<&'static Sched> {
    world(|w| w.threads().find(|s| std::ptr::eq(s.ts, ts)))
}

/// The scheduler of the thread with this identity.
pub fn find_ident(ident: u64) -> Option<&'static Sched> {
    world(|w| w.threads().find(|s| s.ident() == ident))
}

impl Sched {
    /// The tasklet that the ring runs.
    pub fn runs_next(&self) -> Option<TaskletRef> {
        world(|w| w.head(self.id()).map(|t| w.payload(t)))
    }
}

/// Calls `f` with all tasklets of a thread except the main one: see [`each_tasklet`].
pub fn each_tasklet_of(s: &'static Sched, f: impl FnMut(TaskletRef)) {
    each_tasklet(|t| t.is_of(s) && !t.is_main(), f);
}

/// Calls `f`, which may run Python code, with all tasklets that are `wanted`; not with those that are being
/// destroyed, or are made meanwhile. No list of them is made: there may be no memory for it.
pub fn each_tasklet(wanted: impl Fn(TaskletRef) -> bool, mut f: impl FnMut(TaskletRef)) {
    let (mut at, end) = (0, world(|w| w.tasklet_end()));
    while let Some(tid) = world(|w| w.tasklet_from(at)).filter(|tid| tid.index() < end) {
        at = tid.index() + 1;
        let t = object(tid);
        if wanted(t) && t.is_owned() {
            new_ref(t.obj());
            f(t);
            drop_ref(t.obj());
        }
    }
}

/// The tasklet whose seat it is.
pub fn owner(seat: &Seat) -> Option<TaskletRef> {
    seat.owner.get().map(object)
}
