//! What runs on a fresh C stack: the body of a tasklet; when it ends, the next tasklet may take over the stack.

use crate::engine::{ending, nesting, outcome, switch};
use crate::model::seat::Seat;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::model::{bomb, thread};
use crate::parking::obstacle::CallReturns;
use crate::parking::park;
use crate::parking::stacks::take_seat;
use crate::python::objects::*;
use crate::scheduler::{hooks, ring};
use pyo3_ffi::*;
use stackless_core::Turn;
use stackless_cpython as cpython;
use stackless_stack as stack;
use std::cell::Cell;
use std::ptr::null_mut;

/// The first code on every fresh C stack. It runs tasklets one after the other: when one ends and
/// the next one has not begun yet, the next one takes over the stack.
pub unsafe extern "C" fn begin(_seat: *mut u8) -> ! {
    let s = thread::of_running_tasklet();
    loop {
        s.current().seat().begun.set(true);
        let value = s.current().tempval.replace(null_mut());
        s.drop_deferred(); // another tasklet object may have inherited the stack
        let woken = s.current().seat().woken.replace(false);
        let returned = if woken { continue_woken(s, value) } else { run_body(s.current(), value) };
        if !returned {
            ending::add_note(s);
        }
        s.current().seat().call.iter().for_each(clear);
        let next = ending::end(s, returned);
        pass_on(s, next);
    }
}

/// Calls the tasklet's function, unless `value`, its tempval, is a bomb. Returns true if the function returned; else
/// an exception is set. Meanwhile the seat owns the function and the arguments, not this frame, which may
/// be abandoned.
fn run_body(t: TaskletRef, value: Obj) -> bool {
    let seat = t.seat();
    seat.python.set(false);
    for (place, cell) in seat.call.iter().zip([&t.func, &t.args, &t.kwargs]) {
        place.set(cell.replace(null_mut()));
    }
    let [func, args, kwargs] = seat.call.each_ref().map(Cell::get);
    if cpython::traced_lately() && nesting::trace_as_threads_are().is_err() {
        drop_ref(value);
        return false;
    }
    // A bomb that was thrown into the tasklet before it began is raised instead of calling the function.
    match bomb::unpack(value) {
        Err(Raised) => false,
        Ok(value) if func.is_null() || args.is_null() => {
            drop_ref(value); // a schedule callback killed or rebound it before it began
            true
        }
        Ok(value) => {
            drop_ref(value);
            let result = call_body(seat, func, args, kwargs);
            outcome::returned(result);
            !result.is_null()
        }
    }
}

/// Calls a callable with a tuple, and a dict or null.
fn call_body(seat: &Seat, func: Obj, args: Obj, kwargs: Obj) -> Obj {
    // SAFETY: living objects of these types.
    unsafe {
        if !kwargs.is_null() || PyFunction_Check(func) == 0 {
            return call_slowly(seat, func, args, kwargs);
        }
        seat.python.set(true);
        let items = &raw const (*args.cast::<PyTupleObject>()).ob_item;
        seat.evaluating.set(1);
        let result = PyObject_Vectorcall(func, items.cast(), PyTuple_GET_SIZE(args) as usize, null_mut());
        seat.evaluating.set(0);
        result
    }
}

unsafe extern "C" {
    // Exported by CPython, declared in its classobject.h. Both functions return borrowed references.
    fn PyMethod_Function(method: Obj) -> Obj;
}

/// As [`call_body`], for methods, keyword arguments and C code. A Python function is called with an argument vector
/// that `seat.call` owns, so that this frame owns nothing during the call.
#[cold]
unsafe fn call_slowly(seat: &Seat, mut func: Obj, args: Obj, kwargs: Obj) -> Obj {
    // SAFETY: the caller's.
    unsafe {
        let mut me = null_mut();
        if std::ptr::eq(type_of(func), &raw const PyMethod_Type) {
            (me, func) = (PyMethod_Self(func), PyMethod_Function(func));
        }
        if PyFunction_Check(func) == 0 {
            let func = seat.call[0].get();
            let result = PyObject_Call(func, args, kwargs);
            if result.is_null() && !raised() {
                // Not every path through PyObject_Call checks that.
                let text = format!("{} returned NULL without setting an exception", type_name(func));
                let Raised = raise(Exc::System, &text);
            }
            return result;
        }
        // All values in one tuple, which the seat owns from here on: self, positional ones, keyword ones.
        let given = PyTuple_GET_SIZE(args);
        let named = if kwargs.is_null() { 0 } else { PyDict_Size(kwargs) };
        let first = Py_ssize_t::from(!me.is_null());
        let all = PyTuple_New(first + given + named);
        let names = if named == 0 { null_mut() } else { PyTuple_New(named) };
        if all.is_null() || (names.is_null() && named != 0) {
            drop_ref(all);
            drop_ref(names);
            return null_mut();
        }
        if !me.is_null() {
            PyTuple_SET_ITEM(all, 0, new_ref(me));
        }
        for i in 0..given {
            PyTuple_SET_ITEM(all, first + i, new_ref(PyTuple_GET_ITEM(args, i)));
        }
        let mut texts = true;
        let (mut at, mut i, mut name, mut value) = (0, 0, null_mut(), null_mut());
        while named > 0 && PyDict_Next(kwargs, &mut at, &mut name, &mut value) != 0 {
            PyTuple_SET_ITEM(names, i, new_ref(name));
            texts &= PyUnicode_Check(name) != 0;
            PyTuple_SET_ITEM(all, first + given + i, new_ref(value));
            i += 1;
        }
        if !texts {
            drop_ref(all);
            drop_ref(names);
            let Raised = type_error("keywords must be strings");
            return null_mut();
        }
        seat.call[1].set(all);
        seat.call[2].set(names);
        drop_ref(args);
        drop_ref(kwargs);
        seat.python.set(true);
        let items = &raw const (*all.cast::<PyTupleObject>()).ob_item;
        seat.evaluating.set(1);
        let result = PyObject_Vectorcall(func, items.cast(), (first + given) as usize, names);
        seat.evaluating.set(0);
        result
    }
}

/// Continues a parked tasklet on the stack of one that has ended. Without memory for that, the watcher continues
/// with a MemoryError, and the parked tasklet stays in the ring.
fn wake_here(s: &'static Sched, next: TaskletRef, seat: &'static Seat) -> TaskletRef {
    if park::wake_on(s, next, seat).is_ok() {
        return next;
    }
    let watcher = object(world(|w| w.watcher(s.id())));
    let bomb = bomb::of_raised();
    ring::deliver(s, watcher, bomb);
    watcher
}

/// The running tasklet has ended. If `next` has not begun, it takes over the stack and this
/// function returns; else `next` continues where it was suspended, and this function never returns.
fn pass_on(s: &'static Sched, mut next: TaskletRef) {
    let ended = s.current();
    let seat = ended.seat();
    if hooks::watched() {
        next = switch::before_switch(s, next, Turn::Over);
        // The callback may have left a context, or a trace function.
        // SAFETY: the running tasklet's own state.
        s.during_switch(next, || unsafe { cpython::finish(s.ts, seat.state()) });
    }
    ended.seat.set(null_mut());
    seat.owner.set(None);
    ended.set_flags(|f| (f.ended, f.hard, f.interrupt_pending) = (false, false, 0));
    if !next.started() {
        take_seat(s, next, seat);
    } else if next.seat().parked() {
        next = wake_here(s, next, seat);
    }
    s.set_current(next);
    if std::ptr::eq(next.seat(), seat) {
        // SAFETY: the running code stays on its stack, and the state is new.
        unsafe { cpython::load(seat.state()) };
        return;
    }
    let slot = seat.slot.expect("main tasklets do not end here");
    let to = next.seat();
    let mut nowhere = null_mut();
    // SAFETY: `next` is suspended. This code still runs on the slot that is put back, until the switch,
    // which is the next thing that happens; nothing returns to this frame.
    unsafe {
        s.stacks.borrow_mut().put(slot);
        cpython::load(to.state());
        stack::switch(&mut nowhere, to.resume.get());
    }
    unreachable!("an ended tasklet does not continue");
}

/// The running tasklet was woken: continues its frames. Returns true if its function returned; else an exception
/// is set.
pub fn continue_woken(s: &'static Sched, value: Obj) -> bool {
    let seat = s.current().seat();
    let after = seat.returns.get();
    let value = match bomb::unpack(value) {
        Ok(value) if after == CallReturns::Nothing as u8 => {
            drop_ref(value);
            none()
        }
        Ok(value) => value,
        Err(Raised) => null_mut(),
    };
    seat.python.set(true);
    // SAFETY: the running tasklet's state, which was woken on this very stack.
    let result = unsafe { cpython::resume(s.ts, seat.state(), value, seat.evaluating.as_ptr()) };
    // SAFETY: no frame is left in it.
    unsafe { Seat::free(seat.woken_from.replace(null_mut())) };
    outcome::returned(result);
    !result.is_null()
}
