//! The callbacks that the program sets, and the switch trap.

use crate::model::channel::ChannelRef;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::python::objects::*;
use crate::scheduler::hooks::{CALLBACK, CHANNEL, set_flags};
use crate::scheduler::ring::link;
use pyo3_ffi::*;
use stackless_core::Direction;
use stackless_cpython as cpython;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A callable that the program has set, or null: owned.
pub struct Callback(AtomicPtr<PyObject>);

/// Set it with [`set_schedule_callback`].
pub static ON_SCHEDULE: Callback = Callback::new();

/// Set it with [`set_channel_callback`].
pub static ON_CHANNEL: Callback = Callback::new();
pub static ON_ERROR: Callback = Callback::new();

impl Callback {
    const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Has the program set one?
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        !self.0.load(Relaxed).is_null()
    }

    /// A new reference to the callable, None if none is set.
    pub fn get(&self) -> Obj {
        some(self.0.load(Relaxed)).map_or_else(none, new_ref)
    }

    /// Sets a callable, or none with None; returns the previous one as [`Self::get`] does.
    pub fn set(&self, callable: Obj) -> Obj {
        let old = self.0.swap(some(callable).map_or(null_mut(), new_ref), Relaxed);
        if old.is_null() { none() } else { old }
    }

    /// Calls it, if it is still set, and drops what it returns.
    fn call(&self, arguments: &[Obj]) -> Res<()> {
        let callable = self.get();
        if is_none(callable) {
            drop_ref(callable);
            return Ok(());
        }
        // SAFETY: living objects.
        let result =
            unsafe { PyObject_Vectorcall(callable, arguments.as_ptr(), arguments.len(), null_mut()) };
        drop_ref(callable);
        check(result).map(drop_ref)
    }

    /// Calls it with arguments that are taken over. `Err` if no callable is set: it gives them back.
    pub fn offer(&self, arguments: [Obj; 3]) -> Result<Res<()>, [Obj; 3]> {
        if !self.is_set() {
            return Err(arguments);
        }
        let arguments = arguments.map(|part| if part.is_null() { none() } else { part });
        let result = self.call(&arguments);
        arguments.into_iter().for_each(drop_ref);
        Ok(result)
    }
}

/// Sets the schedule callback and returns the previous one, as [`Callback::set`] does.
pub fn set_schedule_callback(callable: Obj) -> Obj {
    let old = ON_SCHEDULE.set(callable);
    set_flags(CALLBACK, ON_SCHEDULE.is_set());
    old
}

/// Sets the channel callback and returns the previous one, as [`Callback::set`] does.
pub fn set_channel_callback(callable: Obj) -> Obj {
    let old = ON_CHANNEL.set(callable);
    set_flags(CHANNEL, ON_CHANNEL.is_set());
    old
}

/// Calls the schedule callback before a switch. It must not switch; whatever
/// else it does to the run queue, `next` is the tasklet that runs.
pub fn announce_switch(s: &'static Sched, previous: Option<TaskletRef>, next: TaskletRef) {
    let previous = previous.map_or_else(none, |t| new_ref(t.obj()));
    s.during_switch(next, || {
        if ON_SCHEDULE.call(&[previous, next.obj()]).is_err() {
            write_unraisable(null_mut());
        }
    });
    s.drop_later(previous);
}

/// Calls the channel callback for an operation.
#[cold]
pub fn announce_operation(
    s: &'static Sched,
    ch: ChannelRef,
    direction: Direction,
    will_block: bool,
) -> Res<()> {
    let sending = int_obj((direction == Direction::Send).into());
    let blocks = int_obj(will_block.into());
    s.in_channel_callback.set(true);
    let me = s.current();
    let result = me.seat().call_back(|| ON_CHANNEL.call(&[ch.obj(), me.obj(), sending, blocks]));
    s.in_channel_callback.set(false);
    drop_ref(sending);
    drop_ref(blocks);
    result
}

/// Changes the calling thread's switch trap and returns the old value.
pub fn change_trap(s: &'static Sched, change: i64) -> i64 {
    let old = s.trap.get();
    let new = old.saturating_add(change);
    s.trap.set(new);
    cpython::forbid(i32::from(new != 0) - i32::from(old != 0));
    old
}

impl Sched {
    /// Runs code of the program in the middle of a switch to `next`. It must not switch. Whatever it does,
    /// `next` heads the ring afterwards; but it may have no stack any more.
    pub fn during_switch(&self, next: TaskletRef, f: impl FnOnce()) {
        new_ref(next.obj());
        let seat = self.current().seat();
        let pending = seat.pending.get();
        self.next.set(next);
        cpython::forbid(1);
        f();
        cpython::forbid(-1);
        self.next.set(std::ptr::null());
        seat.pending.set(pending);
        if world(|w| !w.in_ring(next.id())) {
            link(next);
        }
        world(|w| w.run_now(next.id()));
        self.drop_later(next.obj());
    }
}
