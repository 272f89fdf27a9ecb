//! How a tasklet ends, and which tasklet gets its uncaught exception.

use crate::engine::{deadlock, outcome, throw};
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::model::{bomb, classes, world};
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::scheduler::callbacks::ON_ERROR;
use crate::scheduler::hooks;
use crate::scheduler::idle::IdleAction;
use crate::scheduler::ring::{deliver, leave_value, link};
use crate::scheduler::{idle, limits, scopes};
use pyo3_ffi::*;
use stackless_cpython as cpython;
use std::cell::Cell;

/// Drops the values that a tasklet has in objects of `stackless.sync.local`.
pub type DropLocals = fn(TaskletRef);

static DROP_LOCALS: Gil<Cell<Option<DropLocals>>> = Gil::new(Cell::new(None));

/// Sets the function that drops them when a tasklet ends.
pub fn register_locals(drop: DropLocals) {
    DROP_LOCALS.set(Some(drop));
}

#[cold]
fn drop_locals(s: &'static Sched) {
    let me = s.current();
    me.set_flags(|f| f.has_locals = false);
    if let Some(drop) = DROP_LOCALS.get() {
        me.seat().call_back(|| drop(me));
    }
}

/// The running tasklet's function has returned, or raised. Removes the tasklet from all lists and
/// returns the tasklet that continues. The tasklet's own stack stays in use until then.
pub fn end(s: &'static Sched, returned: bool) -> TaskletRef {
    let mut bomb = if returned { None } else { uncaught(s) };
    while s.current().flags.get().has_locals {
        drop_locals(s); // destructors may use them again
    }
    // SAFETY: the running tasklet's own state. This may run Python code, which may do anything, even
    // replace this tasklet's object by another one: the current and the next tasklet are looked up afterwards.
    unsafe { cpython::finish(s.ts, s.current().seat().state()) };
    while !s.current().tempval.get().is_null() {
        clear(&s.current().tempval);
        // SAFETY: as above; the destructor may have left something there again.
        unsafe { cpython::finish(s.ts, s.current().seat().state()) };
    }
    let me = s.current();
    if me.extra.get() {
        limits::end_all(me);
        scopes::end_all(me);
    }
    outcome::ended(s, me);

    let watcher = || object(world(|w| w.watcher(s.id())));
    loop {
        if bomb.is_some() || world(|w| w.right_neighbour(me.id()) != me.id()) {
            break;
        }
        match idle::idle_action(s, me) {
            IdleAction::Resume(watcher) => link(watcher),
            IdleAction::Sleep => break,
            // Making the error may collect garbage: look again.
            IdleAction::Deadlock(watcher) => bomb = Some(stuck_bomb(s, watcher)),
        }
    }
    me.set_flags(|f| f.ended = true);
    // The watcher may be a tasklet of the ring: it stays in the ring when this one leaves.
    world(|w| w.unlink(me.id()));
    if let Some(bomb) = bomb {
        deliver(s, watcher(), bomb);
    }
    if s.runs_next().is_none() && s.sleep().is_err() {
        let bomb = bomb::of_raised();
        deliver(s, watcher(), bomb);
    }
    s.drop_later(me.obj());
    s.runs_next().expect("a tasklet continues")
}

/// The bomb for a watcher that waits in a channel, when the last tasklet that could wake it has ended.
fn stuck_bomb(s: &'static Sched, watcher: TaskletRef) -> Obj {
    let _raised = deadlock::stuck(s, watcher);
    bomb::of_raised()
}

/// An exception leaves the tasklet's function. Returns the bomb for the watcher, None if it gets none.
fn uncaught(s: &'static Sched) -> Option<Obj> {
    let mut exception = take_exception();
    if let Some(recorder) = hooks::recorder() {
        recorder.describe_failure(s, &exception);
    }
    if s.current().extra.get() {
        match outcome::failed_in_group(s.current(), exception) {
            Ok(()) => return None,
            Err(theirs) => exception = theirs,
        }
    }
    if !is_exit(&exception) {
        match outcome::failed(s.current(), exception).or_else(handle) {
            Ok(()) => return None,
            // The exception as it was, or the one that the handler raised: both go to the watcher.
            Err(theirs) => exception = theirs,
        }
    }
    if !is_exit(&exception) {
        let Raised = set_exception(exception);
        return Some(bomb::of_raised());
    }
    if is_subclass(exception[0], classes::tasklet_exit()) || !is_main_thread() {
        exception.into_iter().for_each(drop_ref);
    } else {
        exit_process(s, exception);
    }
    None
}

/// Adds a note to an exception that a tasklet did not catch: which tasklet that was.
pub type Note = fn(TaskletRef, Obj);

static NOTE: Gil<Cell<Option<Note>>> = Gil::new(Cell::new(None));

/// Sets the function that makes these notes.
pub fn register_note(note: Note) {
    NOTE.set(Some(note));
}

/// The running tasklet's function has raised the exception that is set: adds the note. Its seat still has the function.
#[cold]
pub fn add_note(s: &'static Sched) {
    let exception = take_exception();
    // SAFETY: the exception type exists. (KeyboardInterrupt, SystemExit and Cancelled are no errors of a tasklet.)
    let is_error = is_subclass(exception[0], unsafe { PyExc_Exception });
    if is_error && let Some(note) = NOTE.get() {
        note(s.current(), exception[1]);
    }
    let Raised = set_exception(exception);
}

/// True for SystemExit and TaskletExit, which is a subclass of it.
fn is_exit(exception: &[Obj; 3]) -> bool {
    // SAFETY: the exception type exists.
    is_subclass(exception[0], unsafe { PyExc_SystemExit })
}

/// True in the thread whose Python code handles signals.
pub fn is_main_thread() -> bool {
    unsafe extern "C" {
        // Exported by CPython, declared in its intrcheck.h.
        fn _PyOS_IsMainThread() -> i32;
    }
    // SAFETY: callable from anywhere.
    unsafe { _PyOS_IsMainThread() != 0 }
}

/// Offers the exception to the error handler. What the handler raises replaces it.
fn handle(exception: [Obj; 3]) -> Result<(), [Obj; 3]> {
    match ON_ERROR.offer(exception) {
        Err(exception) => Err(exception),
        Ok(Ok(())) => Ok(()),
        Ok(Err(Raised)) => Err(take_exception()),
    }
}

/// SystemExit in a tasklet of the process's main thread: the other tasklets are killed, and then the main one gets
/// the exception, so that the interpreter never exits on a tasklet's stack.
fn exit_process(s: &'static Sched, exception: [Obj; 3]) {
    let main = s.main();
    world::each_tasklet_of(s, |t| {
        if (t.started() || t.linked()) && !t.is_current() {
            throw::kill_later(t);
        }
    });
    let Raised = set_exception(exception);
    let bomb = bomb::of_raised();
    if world(|w| w.in_ring(main.id())) {
        // To the end of the ring, after those that are to die.
        world(|w| {
            w.unlink(main.id());
            w.link(main.id())
        });
        if let Some(recorder) = hooks::recorder() {
            recorder.moved(main);
        }
        leave_value(s, main, bomb);
    } else {
        throw::leave_for_later(main, bomb);
    }
}
