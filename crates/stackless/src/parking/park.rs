//! Parking: a suspended tasklet that needs no C stack is kept as its frames alone.
//!
//! `crates/cpython/src/park.c` has the picture. A parked tasklet keeps a [`Seat`] of exactly its size,
//! on the heap instead of in a slot; before it continues it is woken, which is part of
//! [`crate::parking::stacks::prepare`]. A program cannot tell whether a tasklet is parked. It is done when
//! the tasklet is pickled or moves to another thread, when too many stacks are in use or it has waited long
//! ([`crate::parking::room`]), and when it ends without running any more ([`crate::types::tasklet_gc`]).

use crate::model::seat::Seat;
use crate::model::tasklet::{self, TaskletRef};
use crate::model::thread::Sched;
use crate::model::world::world;
use crate::parking::obstacle::{self, CallReturns, NO_PYTHON, Obstacle, because};
use crate::python::objects::*;
use crate::python::types;
use crate::scheduler::entry;
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, CallLayout, Evaluator, Unparked};
use stackless_stack::Slot;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Takes the stack of a tasklet that has not begun, unless it was given a trace
/// function, which is kept on the stack.
pub fn unseat(s: &'static Sched, t: TaskletRef) {
    // SAFETY: a suspended tasklet's.
    if has_not_begun(t) && unsafe { !cpython::is_traced(t.seat().state()) } {
        unseat_traced(s, t);
    }
}

/// Takes the stack of any tasklet that has not begun. The next tasklet to run drops its trace function.
pub fn unseat_traced(s: &'static Sched, t: TaskletRef) {
    let seat = t.seat();
    // SAFETY: the seat is the tasklet's, and nothing has run on it.
    unsafe {
        let [context, functions @ ..] = cpython::unload(seat.state());
        t.context.set(context);
        t.seat.set(null_mut());
        seat.owner.set(None);
        t.set_flags(|f| f.hard = false);
        s.stacks.borrow_mut().put(seat.slot.expect("main tasklets keep their seats"));
        functions.into_iter().filter(|o| !o.is_null()).for_each(|o| s.drop_later(o));
    }
}

/// True if it was given a stack, and nothing has run on it.
pub fn has_not_begun(t: TaskletRef) -> bool {
    t.started() && t.seat().slot.is_some() && !t.seat().woken.get() && !t.seat().begun.get()
}

/// For the collector: visits what the frames of a suspended tasklet hold.
///
/// # Safety
/// A garbage collection is under way.
pub unsafe fn traverse(t: TaskletRef, visit: visitproc, arg: *mut c_void) -> c_int {
    let seat = t.seat();
    let result = types::visit_all(seat.call.each_ref().map(std::cell::Cell::get), visit, arg);
    if result != 0 {
        return result;
    }
    // SAFETY: a suspended tasklet; one that can be parked waits in the call that its seat knows.
    unsafe {
        let top = if seat.parked() || (seat.woken.get() && !seat.begun.get()) {
            cpython::parked_values(seat.state())
        } else {
            examine(t).ok().flatten().map_or(-1, |found| found.values)
        };
        cpython::traverse(seat.state(), top, visit, arg)
    }
}

/// True if it is parked.
pub fn is_parked(t: TaskletRef) -> bool {
    t.started() && t.seat().parked()
}

/// Checks that it needs no C stack to continue. The error says why it does.
pub fn can_park(t: TaskletRef) -> Result<(), Obstacle> {
    examine(t).map(drop)
}

/// As [`can_park`]. Returns the call it waits in, if it has a C stack that it does not need.
fn examine(t: TaskletRef) -> Result<Option<CallLayout>, Obstacle> {
    if !t.started() {
        return Ok(None);
    }
    if t.is_main() {
        return because("the main tasklet of a thread stays on the thread's own stack");
    }
    if t.is_current() {
        return because("it is running");
    }
    if world(|w| w.in_ring(t.id())) && entry::enter_begun().is_some_and(|here| here.refused()) {
        return because("a callback is running, and a switch to it may be under way");
    }
    if tasklet::is_being_traced(t) {
        return because("its trace function is being set");
    }
    if world(|w| w.is_watchdog(t.id())) {
        return because("it waits in stackless.run() for the tasklets that it runs");
    }
    let seat = t.seat();
    if seat.parked() || !seat.begun.get() {
        return Ok(None);
    }
    let Some(s) = t.scheduler() else {
        return because("its thread has ended, and it had C state");
    };
    if entry::is_stranded(t) {
        return because("the interpreter exits, and its thread may not run any more");
    }
    // SAFETY: a living thread's, of this interpreter.
    if let Some(text) = unsafe { why_never(s.ts) } {
        return because(text);
    }
    if seat.calls_back() {
        return because("a destructor or a callback runs in it that stackless has called");
    }
    if !seat.evaluating() {
        return because(if seat.python.get() {
            "C code runs in it below its Python functions"
        } else {
            NO_PYTHON
        });
    }
    // SAFETY: a suspended tasklet on its stack, whose seat knows the pending call.
    unsafe { cpython::can_park(seat.state(), &seat.pending.get()) }.map(Some).map_err(Obstacle::At)
}

/// Why no tasklet can be parked at the moment.
///
/// # Safety
/// A living thread's state.
pub unsafe fn why_never(ts: *mut PyThreadState) -> Option<&'static str> {
    // SAFETY: the caller's.
    match unsafe { cpython::evaluator(ts) } {
        Evaluator::Interpreter => obstacle::why_not_here(),
        Evaluator::Compiler => Some("the interpreter compiles code (its JIT is on)"),
        Evaluator::Other => Some("another package evaluates frames (PEP 523)"),
    }
}

/// Parks a suspended tasklet. The next tasklet to run drops what its C stack held.
pub fn park(t: TaskletRef) -> Result<(), Obstacle> {
    let found = examine(t)?;
    if has_not_begun(t) {
        if let Some(s) = t.scheduler() {
            unseat(s, t);
        }
        return if t.started() { because("it was given a trace function before it began") } else { Ok(()) };
    }
    if !t.started() || t.seat().parked() {
        return Ok(());
    }
    let seat = t.seat();
    let slot = seat.slot.expect("main tasklets are not parked");
    // SAFETY: it can be parked, as was just found out; nothing has run since. The new seat is of the
    // size that its state needs, or the one that it was woken from, if that is not much too large.
    unsafe {
        let size = cpython::parked_size(seat.state());
        let rest = seat.woken_from.replace(null_mut());
        let fits = |room: usize| (size..=2 * size).contains(&room);
        let mut new = rest;
        if rest.is_null() || !fits(cpython::parked_room((*rest).state())) {
            new = Seat::allocate(size);
        }
        if new.is_null() {
            seat.woken_from.set(rest);
            return Err(Obstacle::Memory);
        }
        cpython::park(seat.state(), found.as_ref(), (*new).state(), size);
        if !std::ptr::eq(new, rest) {
            Seat::free(rest);
        }
        // A tasklet that was woken, and has not continued, knows already what its call returns.
        (*new).returns.set(match found {
            Some(_) if seat.pending.get().gives_none() => CallReturns::Nothing as u8,
            Some(_) => CallReturns::Value as u8,
            None => seat.returns.get(),
        });
        t.assign(&*new);
        let s = t.scheduler().expect("as was just found out");
        for o in seat.call.iter().map(|cell| cell.replace(null_mut())).filter(|o| !o.is_null()) {
            s.drop_later(o);
        }
        seat.owner.set(None);
        s.stacks.borrow_mut().put(slot);
    }
    Ok(())
}

/// Gives a parked tasklet this free seat, with its stack.
pub fn wake_on(s: &'static Sched, t: TaskletRef, seat: &'static Seat) -> Res<()> {
    let old = t.seat.get();
    let slot: Slot = seat.slot.expect("main tasklets are not parked");
    let end = slot.top().wrapping_add(slot.room());
    // SAFETY: the slot's room reaches from its top to `end`; the old seat is a parked one.
    unsafe {
        match cpython::wake(s.ts, seat.state(), end, slot.size(), (*old).state()) {
            Unparked::NoMemory => {
                return Err(raise(Exc::Memory, "no memory for the frames of a parked tasklet"));
            }
            Unparked::Kept => seat.woken_from.set(old),
            Unparked::Moved => {}
        }
        seat.woken.set(true);
        seat.returns.set((*old).returns.get());
        t.assign(seat);
        if seat.woken_from.get().is_null() {
            Seat::free(old);
        }
    }
    Ok(())
}

/// True if a tasklet that is not running may be destroyed without running any more code of its own, by section 10 of
/// the contract: it was not started with soft switching off, and there is no C code among its frames.
pub fn is_soft(t: TaskletRef) -> bool {
    !t.flags.get().hard && can_park(t).is_ok()
}
