//! What watches or forbids switches: the schedule callback, the channel callback, the switch trap.
//!
//! Each costs one test on the paths that it watches while nobody uses it: everything that wants to
//! know of switches shares the test of [`watched`].

use crate::capi;
use crate::channel::C;
use crate::counts;
use crate::py::*;
use crate::recording;
use crate::tasklet::T;
use crate::thread::Sched;
use crate::waits;
use crate::watchdog;
use pyo3_ffi::*;
use stackless_core::{Direction, Turn};
use stackless_cpython as cpython;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering::Relaxed};

/// Who wants to know of switches: one bit each.
static WATCHERS: AtomicU8 = AtomicU8::new(0);

/// The schedule callback is set.
pub const CALLBACK: u8 = 1;
/// A `run()` has a limit.
pub const LIMIT: u8 = 2;
/// Switches are counted.
pub const COUNT: u8 = 4;
/// A recording is under way: it wants to know of everything.
pub const RECORDER: u8 = 8;
/// The channel callback is set: it wants to know of channel operations, not of switches.
pub const CHANNEL: u8 = 16;
/// Switches are counted, and their times kept.
pub const AGES: u8 = 32;
/// The C hook of [`capi`] is set.
pub const FAST: u8 = 64;
/// A timer runs, or somebody waits for a worker thread.
pub const TIMED: u8 = 128;

/// Does anybody want to know of switches?
#[inline(always)]
pub fn watched() -> bool {
    WATCHERS.load(Relaxed) & (CALLBACK | LIMIT | COUNT | RECORDER | AGES | FAST | TIMED) != 0
}

/// Does anybody want to know of channel operations?
#[inline(always)]
pub fn channels_watched() -> bool {
    WATCHERS.load(Relaxed) & (CHANNEL | RECORDER) != 0
}

pub fn watch(who: u8, on: bool) {
    if on {
        WATCHERS.fetch_or(who, Relaxed);
    } else {
        WATCHERS.fetch_and(!who, Relaxed);
    }
}

/// A switch from the running tasklet to `next`, which heads the ring, is about to happen: everybody
/// who watches is told. The answer is who runs instead; it may have lost its stack, and is to be prepared
/// again.
#[cold]
pub fn before_switch(s: &'static Sched, mut next: T, turn: Turn) -> T {
    let watchers = WATCHERS.load(Relaxed);
    if watchers & TIMED != 0 {
        waits::before_switch(s);
    }
    if watchers & LIMIT != 0 {
        next = watchdog::before_switch(s, next, turn);
    }
    if watchers & CALLBACK != 0 {
        announce_switch(s, Some(s.current()), next);
    }
    if watchers & (COUNT | AGES) != 0 && !std::ptr::eq(next, s.current()) {
        counts::count_switch(s, next);
        if watchers & AGES != 0 {
            counts::keep_time(s.current(), next);
        }
    }
    if watchers & FAST != 0 && !std::ptr::eq(next, s.current()) {
        capi::announce(s.current(), next);
    }
    if watchers & RECORDER != 0 {
        recording::switched(s, next);
    }
    next
}

/// A callable that the program has set, or null: owned.
pub struct Hook(AtomicPtr<PyObject>);

/// Set it with [`set_schedule_callback`].
pub static ON_SCHEDULE: Hook = Hook::new();
/// Set it with [`set_channel_callback`].
pub static ON_CHANNEL: Hook = Hook::new();
pub static ON_ERROR: Hook = Hook::new();

impl Hook {
    const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Has the program set one?
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        !self.0.load(Relaxed).is_null()
    }

    /// A new reference to the callable, None if there is none.
    pub fn get(&self) -> Obj {
        some(self.0.load(Relaxed)).map_or_else(none, new_ref)
    }

    /// Sets another one, None to set none; returns the one before as `get` does.
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

    /// Calls it with arguments that are taken over. None if there is no hook: they are given back.
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

/// Sets the schedule callback and returns the one before, as [`Hook::set`] does.
pub fn set_schedule_callback(callable: Obj) -> Obj {
    let old = ON_SCHEDULE.set(callable);
    watch(CALLBACK, ON_SCHEDULE.is_set());
    old
}

/// The same for the channel callback.
pub fn set_channel_callback(callable: Obj) -> Obj {
    let old = ON_CHANNEL.set(callable);
    watch(CHANNEL, ON_CHANNEL.is_set());
    old
}

/// Tells the schedule callback of a switch that is about to happen. It must not switch; whatever
/// else it does to the run queue, `next` is the one that runs.
pub fn announce_switch(s: &'static Sched, previous: Option<T>, next: T) {
    let previous = previous.map_or_else(none, |t| new_ref(t.obj()));
    s.amid_switch(next, || {
        if ON_SCHEDULE.call(&[previous, next.obj()]).is_err() {
            write_unraisable(null_mut());
        }
    });
    s.drop_later(previous);
}

/// Tells the channel callback of an operation.
#[cold]
pub fn announce_operation(s: &'static Sched, ch: C, direction: Direction, will_block: bool) -> Res<()> {
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
