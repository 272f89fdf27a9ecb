//! Stacks for tasklets: a fresh tasklet gets its first stack, a parked one gets a stack again.

use crate::model::seat::Seat;
use crate::model::settings;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::parking::park::wake_on;
use crate::parking::room;
use crate::python::memory;
use crate::python::objects::*;
use stackless_cpython as cpython;
use stackless_stack::{Slot, StackError};
use std::ptr::null_mut;

/// Prepares a tasklet for a switch to it: gives a fresh or a parked one its stack.
#[inline(always)]
pub fn prepare(s: &'static Sched, t: TaskletRef) -> Res<()> {
    if !t.started() {
        seat(s, t)
    } else if t.seat().resume.get().is_null() && t.seat().parked() {
        wake(s, t)
    } else {
        Ok(())
    }
}

pub fn seat(s: &'static Sched, t: TaskletRef) -> Res<()> {
    let slot = new_stack(s)?;
    // SAFETY: no other code uses the slot now.
    take_seat(s, t, unsafe { Seat::in_slot(slot) });
    Ok(())
}

/// A stack from the pool. If too many are in use, or there are no more, other tasklets are parked first.
pub fn new_stack(s: &'static Sched) -> Res<Slot> {
    let used = s.stacks.borrow().used();
    if used >= room::most_stacks() {
        room::make_room(s, used);
    }
    let at_hand = s.stacks.borrow_mut().at_hand();
    at_hand.map_or_else(|| refilled_stack(s), Ok)
}

#[cold]
fn refilled_stack(s: &'static Sched) -> Res<Slot> {
    let refill = || memory::strictly(|| s.stacks.borrow_mut().refill());
    refill().or_else(|error| {
        if room::park_waiting(s, 64) == 0 {
            return Err(no_stack(error));
        }
        let at_hand = s.stacks.borrow_mut().at_hand();
        at_hand.map_or_else(|| refill().map_err(no_stack), Ok)
    })
}

/// Assigns a free seat to a fresh tasklet.
pub fn take_seat(s: &'static Sched, t: TaskletRef, seat: &'static Seat) {
    let slot = seat.slot.expect("main tasklets keep their seats");
    let end = slot.top().wrapping_add(slot.room());
    // SAFETY: the slot's room reaches from its top to `end`.
    unsafe { cpython::init(s.ts, seat.state(), end, slot.size(), t.context.replace(null_mut())) };
    t.assign(seat);
    if !settings::soft_switching() {
        t.set_flags(|f| f.hard = true);
    }
}

#[cold]
fn no_stack(error: StackError) -> Raised {
    raise(Exc::Memory, &format!("no C stack for another tasklet: {error}"))
}

/// Gives a parked tasklet a stack again.
#[cold]
pub fn wake(s: &'static Sched, t: TaskletRef) -> Res<()> {
    let slot = new_stack(s)?;
    // SAFETY: no other code uses the slot.
    let seat = unsafe { Seat::in_slot(slot) };
    wake_on(s, t, seat).inspect_err(|_| {
        // SAFETY: nothing has run on it.
        unsafe { s.stacks.borrow_mut().put(slot) }
    })
}
