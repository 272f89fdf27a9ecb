//! The one [`World`] of the process with its lists, and the questions about a tasklet or thread that it answers.

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

/// The channel it is blocked on, and what for.
pub fn waits(t: TaskletRef) -> Option<(ChannelId, WaitsTo)> {
    world(|w| w.waits(t.id()))
}

/// Where the thread state's fields of a tasklet that has begun are: of a running one in its thread's
/// state, which is complete while that thread waits for the GIL. For others, the calling thread's
/// state goes with them, for what has to be done in a thread.
pub fn fields(t: TaskletRef) -> Option<(*mut PyThreadState, Of)> {
    let s = t.scheduler().filter(|_| t.started())?;
    if t.is_current() {
        return Some((s.ts, Of::Running));
    }
    Some((cpython::thread_state(), Of::Suspended(t.seat().state())))
}

pub type World = stackless_core::World<TaskletRef, channel::ChannelRef, &'static Sched>;

static WORLD: Gil<UnsafeCell<World>> = Gil::new(UnsafeCell::new(World::new()));

/// The one access to everybody's lists. `f` must not run Python code and not come back here.
#[inline(always)]
pub fn world<R>(f: impl FnOnce(&mut World) -> R) -> R {
    // SAFETY: the GIL keeps other threads out, and the rule above this very one.
    f(unsafe { &mut *WORLD.get() })
}

/// The object of a tasklet that the world names.
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

    /// Has it something to run or to resume?
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

/// All threads that use tasklets.
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

/// Calls `f` with all tasklets of a thread but the main one: see [`each_tasklet`].
pub fn each_tasklet_of(s: &'static Sched, f: impl FnMut(TaskletRef)) {
    each_tasklet(|t| t.is_of(s) && !t.is_main(), f);
}

/// Calls `f` with all tasklets that are `wanted`; not with those that are just being destroyed, or made
/// meanwhile: `f` may run Python code. There may be no memory for a list of them.
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
