//! Tasklets that wait for something besides a partner: for time, a descriptor, or a worker thread.
//!
//! Such a tasklet has a [`Wait`]. It is in no list of the world (asleep, a call on a worker thread), or
//! in a channel's queue as well (`receive(timeout=)`). The wait owns one reference to the tasklet.
//! *What makes the tasklet runnable ends the wait*: all paths that do so test `Tasklet::wait`. So the
//! pending call has nothing to clean up; what it returns or raises is its tempval.
//!
//! `with stackless.timeout()` is something else: a limit over a tasklet, whatever it does
//! meanwhile. See [`crate::scheduler::limits`]. Both kinds are *armed*: while one is, a tasklet of this thread
//! will become runnable by itself, and the thread sleeps when its ring is empty, instead of reporting a deadlock. A
//! `run()` does not return while one of a tasklet that is no daemon is armed.

use crate::model::bomb;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::{Due, Sched};
use crate::model::wait::{Undo, Wait, WaitKind};
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::{memory, types};
use crate::scheduler::hooks;
use pyo3_ffi::*;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// The number of armed waits and limits in all threads: while it is 0, no switch looks at the clock.
static ARMED: Gil<Cell<u32>> = Gil::new(Cell::new(0));

/// Counts one more, or one less, of a tasklet's waits and limits as armed.
pub fn count_armed(s: &'static Sched, t: TaskletRef, change: i32) {
    let add = |cell: &Cell<u32>| {
        cell.set(cell.get().checked_add_signed(change).expect("what is disarmed was armed"));
        cell.get()
    };
    add(&s.waits.armed);
    if !t.flags.get().daemon {
        add(&s.waits.foreground);
    }
    hooks::set_flags(hooks::TIMED, add(&ARMED) > 0);
}

/// The memory of waits that have ended, for new ones.
#[expect(clippy::vec_box, reason = "a tasklet keeps the address")]
static SPARE: Gil<UnsafeCell<Vec<Box<Wait>>>> = Gil::new(UnsafeCell::new(Vec::new()));
const SPARES: usize = 64;

fn spare<R>(f: impl FnOnce(&mut Vec<Box<Wait>>) -> R) -> R {
    // SAFETY: the GIL; no `f` here calls this function again or runs Python code.
    f(unsafe { &mut *SPARE.get() })
}

/// Begins a wait of the running tasklet, until this time at the latest. `undo` is called when the wait ends. If
/// the tasklet does not wait after all, call [`disarm`].
pub fn arm(
    s: &'static Sched,
    t: TaskletRef,
    kind: WaitKind,
    undo: Option<Undo>,
    until: Option<u64>,
) -> Res<()> {
    memory::enough()?;
    begin(s, t, kind, undo, until, true);
    Ok(())
}

/// As [`arm`], of which there is memory. If it is not `armed`, only other tasklets can end the wait: it owns no reference,
/// as the tasklet is in the queues of channels; and it does not keep the thread from finding a deadlock.
pub fn begin(
    s: &'static Sched,
    t: TaskletRef,
    kind: WaitKind,
    undo: Option<Undo>,
    until: Option<u64>,
    armed: bool,
) {
    debug_assert!(t.wait.get().is_null());
    let timer = until.map(|at| s.waits.timers.borrow_mut().start(at, Due::Wait(t)));
    let wait = Wait { timer, kind, undo, armed };
    let place = match spare(Vec::pop) {
        Some(mut place) => {
            *place = wait;
            place
        }
        None => Box::new(wait),
    };
    t.wait.set(Box::into_raw(place));
    if armed {
        new_ref(t.obj());
        count_armed(s, t, 1);
    }
}

/// Ends the wait of a tasklet, if it has one. The caller owns the tasklet.
#[inline(always)]
pub fn ends(t: TaskletRef) {
    if !t.wait.get().is_null() {
        disarm(t);
    }
}

#[cold]
pub fn disarm(t: TaskletRef) {
    // SAFETY: `arm` made it, and it is taken away.
    let place = unsafe { Box::from_raw(t.wait.replace(null_mut())) };
    let Wait { timer, kind, undo, armed } = *place;
    spare(|all| {
        if all.len() < SPARES {
            all.push(place);
        }
    });
    let s = t.scheduler().expect("a thread's end ends the waits of its tasklets");
    if let Some(timer) = timer {
        s.waits.timers.borrow_mut().stop(timer);
    }
    if let Some(undo) = undo {
        undo(t.id(), kind);
    }
    if armed {
        count_armed(s, t, -1);
        drop_ref(t.obj());
    }
}

/// True if it is in a wait that is armed.
pub fn is_armed(t: TaskletRef) -> bool {
    // SAFETY: a wait lives as long as the tasklet's pointer to it.
    unsafe { t.wait.get().as_ref() }.is_some_and(|wait| wait.armed)
}

/// True if it is in a wait of its thread, under a limit, or in the block of a scope.
pub fn is_tied(t: TaskletRef) -> bool {
    !t.wait.get().is_null() || t.limits.get() != 0 || t.is_in_block()
}

/// True if it waits for a worker thread.
pub fn waits_for_job(t: TaskletRef) -> bool {
    // SAFETY: a wait lives as long as the tasklet's pointer to it.
    unsafe { t.wait.get().as_ref() }.is_some_and(|wait| matches!(wait.kind, WaitKind::Job { .. }))
}

/// Raises `stackless.TimeoutError` with a text; its cause is an exception, borrowed.
pub fn raise_timeout(text: &str, cause: Obj) {
    let class = TIMEOUT_ERROR.load(Relaxed);
    let Ok(text) = str_obj(text) else { return };
    // SAFETY: a class, its argument, and an exception whose reference is handed over.
    unsafe {
        let error = PyObject_CallOneArg(class, text);
        drop_ref(text);
        if !error.is_null() {
            PyException_SetCause(error, new_ref(cause));
            PyErr_SetObject(class, error);
            drop_ref(error);
        }
    }
}

static TIMEOUT_ERROR: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
static TIMED_OUT: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// The bomb of a wait whose time is over: borrowed.
pub fn timed_out() -> Obj {
    TIMED_OUT.load(Relaxed)
}

/// Raises `stackless.TimeoutError`, for a wait whose time is 0.
pub fn raise_timed_out() -> Raised {
    bomb::raise_bomb(new_ref(timed_out()))
}

/// Makes `stackless.TimeoutError`, and puts it into the module.
pub fn ready(module: Obj) -> Res<()> {
    let doc =
        forever("The time for a wait is over. A subclass of the built-in TimeoutError and of RuntimeError.");
    // SAFETY: living classes; owned references go where they are said to go.
    unsafe {
        let bases = check(PyTuple_Pack(2, PyExc_TimeoutError, PyExc_RuntimeError))?;
        let made = PyErr_NewExceptionWithDoc(c"stackless.TimeoutError".as_ptr(), doc, bases, null_mut());
        drop_ref(bases);
        TIMEOUT_ERROR.store(check(made)?, Relaxed);
        let text = check(PyUnicode_FromString(c"timed out".as_ptr()))?;
        TIMED_OUT.store(bomb::new([new_ref(made), text, null_mut()])?, Relaxed);
        types::add_object(module, c"TimeoutError", made)
    }
}
