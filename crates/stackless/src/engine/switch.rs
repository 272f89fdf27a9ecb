//! The switch: how one tasklet stops and another goes on.
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
//! A main tasklet runs on the thread's own stack; its seat lies on the heap and has no slot.
//!
//! There is no scheduler loop. A call that must wait decides who goes on ([`crate::thread::Sched`]
//! and the world's lists), swaps the thread state, and jumps:
//!
//! ```text
//!   tasklet A                        tasklet B
//!   ch.receive()                     (suspended inside a call of its own)
//!     plan: who goes on? B
//!     commit: A into the queue
//!     swap + switch ───────────────> returns from *its* switch
//!        ...                           resumed(): takes its tempval, drops what A left
//!                                      returns to its Python code
//! ```
//!
//! The order is always *plan, then commit*: everything that can fail (no stack for a fresh tasklet,
//! a switch that is not allowed here) is found out before anything has moved, so a failed call
//! leaves ring, queue and counters as they were.
//!
//! # References
//!
//! A tasklet that stands in a list (ring, queue, or the stack of watchdogs) is owned by it: one
//! reference for each list it is in. Moving from ring to queue hands the reference on. The
//! reference of a tasklet that leaves the ring for nowhere (paused or ended) is dropped by whoever
//! runs next, since it may be the last one: [`Sched::drop_later`].
//!
//! No Rust destructor, owned reference or borrow may be alive in a C frame across [`switch`]: it is
//! not unwound when a tasklet ends elsewhere.

use crate::engine::run_limits;
use crate::model::bomb;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::parking::stacks::prepare;
use crate::python::objects::*;
use crate::scheduler::callbacks::announce_switch;
use crate::scheduler::hooks::{CALLBACK, LIMIT, TIMED, WATCHERS};
use crate::scheduler::{hooks, ring, timers};
use stackless_core::Turn;
use stackless_cpython::{self as cpython, Pending};
use stackless_stack::{self as stack};
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

/// A switch from the running tasklet to `next`, which heads the ring, is about to happen: everybody
/// who watches is told. The answer is who runs instead; it may have lost its stack, and is to be prepared
/// again.
#[cold]
pub fn before_switch(s: &'static Sched, mut next: TaskletRef, turn: Turn) -> TaskletRef {
    let watchers = WATCHERS.load(Relaxed);
    if watchers & TIMED != 0 {
        timers::before_switch(s);
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
    if let Some(recorder) = hooks::recorder() {
        recorder.switched(s, next);
    }
    next
}

/// From how many tasklets in a ring on it pays to [`foresee`].
pub const MANY: u32 = 64;

/// With many tasklets in the ring, what the next ones need has left the processor's nearest cache:
/// asks for the object of the one after the next two, and for the seat and the stack of the one
/// after the next, on the guess that it was left at the same depth as the next. As many lines as one
/// that calls `schedule` in a loop touches: others would be in the way of these.
pub fn foresee(next: TaskletRef) {
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

/// Stops the running tasklet and continues `next`, which is prepared. The world's lists agree
/// already. Comes back when somebody continues the caller. A limit of `run()` may continue somebody
/// else than `next`.
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

/// The one to switch to, where it is too late to give up: without a stack for it the running tasklet goes on
/// with the error.
#[cold]
pub fn prepared(s: &'static Sched, next: TaskletRef) -> TaskletRef {
    if prepare(s, next).is_ok() {
        return next;
    }
    let bomb = bomb::of_raised();
    ring::deliver(s, s.current(), bomb);
    s.current()
}

/// After a switch came back: what the pending call returns. Bombs explode here.
#[inline(always)]
pub fn resumed(s: &'static Sched) -> Res<Obj> {
    let me = s.current();
    // From here on it is not the primitive that it waits in, if it is suspended again (in a destructor).
    me.seat().pending.set(Pending::NONE);
    let value = me.tempval.replace(null_mut());
    s.settle();
    bomb::unpack(value)
}

/// Switches and returns what the pending call returns.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn switch_and_resume(s: &'static Sched, next: TaskletRef) -> Res<Obj> {
    // SAFETY: the caller's. The scheduler is the same when we come back: tasklets do not change
    // threads while they have a stack.
    unsafe { switch(s, next, Turn::Over) };
    resumed(s)
}

/// The same for a transfer within a channel, whose partner goes on.
///
/// # Safety
/// As [`switch`].
#[inline(always)]
pub unsafe fn hand_over(s: &'static Sched, partner: TaskletRef) -> Res<Obj> {
    // SAFETY: as above.
    unsafe { switch(s, partner, Turn::HandOver) };
    resumed(s)
}
