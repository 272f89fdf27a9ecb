//! The switch: how one tasklet stops and another one continues.
//!
//! Every started tasklet has a *seat*, at the place where its C stack and its data stack meet:
//!
//! ```text
//!   one slot of stackless-stack
//!   ┌───────┬────────────────────────────┬──────────┬───────────────────────────────────┐
//!   │ guard │              <── C stack   │ Seat     │ data stack (Python frames) ──>    │
//!   └───────┴────────────────────────────┴──────────┴───────────────────────────────────┘
//!                                        ^top        State ends in the root chunk
//!
//!   Tasklet object ──seat──> Seat { resume: where its C stack was left
//!                                   slot:   what to give back at the end
//!                                   state:  its share of the thread state }
//! ```
//!
//! A main tasklet runs on the thread's own stack; its seat is on the heap and has no slot.
//!
//! There is no scheduler loop. A call that must wait decides which tasklet continues (by the lists of the
//! [`World`](crate::model::world::World)), swaps the thread state, and jumps:
//!
//! ```text
//!   tasklet A                        tasklet B
//!   ch.receive()                     (suspended inside a call of its own)
//!     plan: which one continues? B
//!     commit: A into the queue
//!     swap + switch ───────────────> returns from *its* switch
//!        ...                           resumed(): takes its tempval, drops what A left
//!                                      returns to its Python code
//! ```
//!
//! The order is always *plan, then commit*: everything that can fail (no stack for a fresh tasklet,
//! a switch that is not allowed here) is checked before anything is moved, so a failed call
//! leaves ring, queue and counters as they were.
//!
//! # References
//!
//! A tasklet in a list (ring, queue, or the stack of watchdogs) is owned by the list: one
//! reference for each list it is in. Moving from ring to queue hands the reference over. The
//! reference of a tasklet that leaves the ring for no other list (paused or ended) is dropped by the
//! next tasklet to run, since it may be the last one: [`Sched::drop_later`].
//!
//! No Rust destructor, owned reference or borrow may be alive in a C frame across [`switch`]: it is
//! not unwound when a tasklet ends elsewhere.

use crate::engine::{run_limits, steering};
use crate::model::bomb;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::parking::stacks::prepare;
use crate::python::objects::*;
use crate::scheduler::callbacks::announce_switch;
use crate::scheduler::hooks::{CALLBACK, LIMIT, RECORDER, STEERED, TIMED, WATCHERS};
use crate::scheduler::{hooks, ring, timers};
use stackless_core::Turn;
use stackless_cpython::{self as cpython, Pending};
use stackless_stack as stack;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

/// Tells all observers of a switch from the running tasklet to `next`, which heads the ring. Returns the tasklet
/// that runs instead; it may have lost its stack, so [`prepare`] it again.
#[cold]
pub fn before_switch(s: &'static Sched, mut next: TaskletRef, turn: Turn) -> TaskletRef {
    let watchers = WATCHERS.load(Relaxed);
    if watchers & TIMED != 0 {
        timers::before_switch(s, next);
    }
    if watchers & STEERED != 0 && turn == Turn::Over {
        next = steering::choose(s, next);
    }
    if watchers & LIMIT != 0 {
        next = run_limits::before_switch(s, next, turn);
    }
    if watchers & CALLBACK != 0 {
        announce_switch(s, Some(s.current()), next);
    }
    if !std::ptr::eq(next, s.current()) {
        hooks::tell_observers(s, next, watchers);
    }
    // A recording that the schedule callback has just begun is not told of this switch.
    if watchers & RECORDER != 0
        && let Some(recorder) = hooks::recorder()
    {
        recorder.switched(s, next);
    }
    next
}

/// The minimum length of the ring from which on [`prefetch_next`] pays.
pub const PREFETCH_FROM: u32 = 64;

/// Prefetches what the next switches need. With many tasklets in the ring, it has left the processor's first cache.
/// This asks for the object of the third tasklet, and for the seat and the stack of the second one, assuming that it
/// was left at the same depth as `next`. The number of lines is what a tasklet touches that calls `schedule` in a
/// loop: more lines would evict these.
pub fn prefetch_next(next: TaskletRef) {
    let (second, third) = world(|w| {
        let second = w.right_neighbour(next.id());
        (w.payload(second), w.right_neighbour_payload(second))
    });
    let object = std::ptr::from_ref(third).cast::<u8>();
    stack::prefetch::<1>(object);
    let (near, far) = (next.seat.get().cast::<u8>(), second.seat.get().cast::<u8>());
    if far.is_null() || near.is_null() {
        return;
    }
    let depth = near.addr().wrapping_sub(next.seat().resume.get().addr());
    stack::prefetch::<8>(far);
    stack::prefetch::<5>(far.wrapping_sub(depth));
}

/// Stops the running tasklet and continues `next`, which is prepared and heads the ring already. Returns when
/// another tasklet continues the caller. A limit of `run()` may continue another tasklet than `next`.
///
/// # Safety
/// Nothing that needs dropping is alive in the callers' Rust frames.
#[inline(always)]
pub unsafe fn switch(s: &'static Sched, mut next: TaskletRef, turn: Turn) {
    if hooks::watched() {
        next = prepared(s, before_switch(s, next, turn));
        if std::ptr::eq(next, s.current()) {
            return;
        }
    }
    debug_assert!(!raised(), "an exception of the tasklet that stops would be raised in the next one");
    let (from, to) = (s.current().seat(), next.seat());
    from.looks.set(0);
    s.set_current(next);
    // SAFETY: both seats are in use by living tasklets of this thread, `to` is suspended; no Python
    // code runs between the two steps.
    unsafe {
        cpython::swap(from.state(), to.state());
        stack::switch(from.resume.as_ptr(), to.resume.get());
    }
}

/// Prepares the tasklet to switch to where the switch cannot be refused any more. Without memory for its stack the
/// running tasklet continues instead, with the error.
#[cold]
pub fn prepared(s: &'static Sched, next: TaskletRef) -> TaskletRef {
    if prepare(s, next).is_ok() {
        return next;
    }
    let bomb = bomb::of_raised();
    ring::deliver(s, s.current(), bomb);
    s.current()
}

/// Called when a switch has returned: the result of the pending call. A bomb is raised here.
#[inline(always)]
pub fn resumed(s: &'static Sched) -> Res<Obj> {
    let me = s.current();
    // If the tasklet is suspended again from here on (in a destructor), it no longer waits in that primitive.
    me.seat().pending.set(Pending::NONE);
    let value = me.tempval.replace(null_mut());
    s.drop_deferred();
    bomb::unpack(value)
}

/// Switches and returns what the pending call returns.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn switch_and_resume(s: &'static Sched, next: TaskletRef) -> Res<Obj> {
    // SAFETY: the caller's. The scheduler is still the same afterwards: tasklets do not change
    // threads while they have a stack.
    unsafe { switch(s, next, Turn::Over) };
    resumed(s)
}

/// As [`switch_and_resume`], for a transfer within a channel after which the partner continues.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn hand_over(s: &'static Sched, partner: TaskletRef) -> Res<Obj> {
    // SAFETY: as above.
    unsafe { switch(s, partner, Turn::HandOver) };
    resumed(s)
}
