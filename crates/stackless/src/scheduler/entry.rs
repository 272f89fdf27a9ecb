//! How a call enters the engine: the calling thread's scheduler, made at the first use.

use crate::model::allocation;
use crate::model::seat::Seat;
use crate::model::settings::exited;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{find, find_ident, world};
use crate::python::objects::*;
use crate::python::{memory, types};
use crate::scheduler::callbacks;
use pyo3_ffi::*;
use stackless_core::{RecordKind, ThreadId};
use stackless_cpython::{self as cpython, Alarm};
use std::cell::{Cell, UnsafeCell};

/// True if the interpreter exits and this is a tasklet of another thread. Such a thread may be stopped for ever, at
/// any point, even in the middle of its own end; then its state is freed, and its tasklets still name it.
pub fn is_stranded(t: TaskletRef) -> bool {
    exited() && t.scheduler().is_some_and(|s| !s.is_here())
}

/// The calling thread's scheduler, made at the first use. Each thread has one thread state
/// in the main interpreter, the only one that this module works in.
#[inline(always)]
pub fn current() -> Res<&'static Sched> {
    let s: *const Sched = cpython::word().cast();
    // SAFETY: the word is cleared before the scheduler is freed.
    if s.is_null() { begin(cpython::thread_state()) } else { Ok(unsafe { &*s }) }
}

/// The calling thread's scheduler for a call that may switch. It is an error while the running tasklet is leaving
/// the ring: in a signal handler during a sleep, and in a schedule callback.
#[inline(always)]
pub fn enter() -> Res<Entered> {
    let entered = enter_anywhere()?;
    entered.at_rest()?;
    Ok(entered)
}

/// As [`enter`], for a call that has something to do in those places as well.
#[inline(always)]
pub fn enter_anywhere() -> Res<Entered> {
    let (word, refused) = cpython::enter();
    let s: *const Sched = word.cast_const().cast();
    if s.is_null() {
        return Ok(Entered { s: begin(cpython::thread_state())?, refused: false });
    }
    // SAFETY: as above.
    Ok(Entered { s: unsafe { &*s }, refused })
}

/// As [`enter_anywhere`], but a thread that has not used tasklets does not get a scheduler.
#[inline(always)]
pub fn enter_begun() -> Option<Entered> {
    let (word, refused) = cpython::enter();
    let s: *const Sched = word.cast_const().cast();
    // SAFETY: as above.
    (!s.is_null()).then(|| Entered { s: unsafe { &*s }, refused })
}

/// A thread's scheduler, and whether a switch is refused now.
#[derive(Clone, Copy)]
pub struct Entered {
    pub s: &'static Sched,
    refused: bool,
}

impl Entered {
    pub fn refused(self) -> bool {
        self.refused
    }

    /// Checks that the running tasklet is in the ring.
    #[inline(always)]
    pub fn at_rest(self) -> Res<()> {
        if self.refused && !world(|w| w.in_ring(self.s.current().id())) {
            return Err(refuse_switch(self.s));
        }
        Ok(())
    }

    #[inline(always)]
    pub fn can_switch(self) -> bool {
        !self.refused
    }

    pub fn may_switch(self) -> Res<()> {
        if self.refused { Err(refuse_switch(self.s)) } else { Ok(()) }
    }
}

#[cold]
fn refuse_switch(s: &'static Sched) -> Raised {
    // SAFETY: the thread has begun.
    if unsafe { cpython::is_foreign() } {
        return runtime_error(
            "cannot switch tasklets inside a greenlet: its C stack is not the tasklet's own \
             (switch back to the greenlet that the tasklet began in first)",
        );
    }
    if s.trap.get() != 0 {
        return runtime_error("switch_trap");
    }
    runtime_error(
        "cannot switch tasklets here: this is a schedule callback, a signal handler while the thread \
         sleeps, or an audit hook of a call that sets a trace function",
    )
}

/// The owner of a lock that this tasklet holds: its serial number; for a main tasklet the identity of its thread, which
/// owned locks before it used tasklets. These are addresses, so that the two do not overlap.
pub fn owner(s: &'static Sched, t: TaskletRef) -> u64 {
    if std::ptr::eq(s.main(), t) { s.ident() } else { t.serial.get() }
}

/// The owner of locks that are acquired now. A thread that has not used tasklets does not get a scheduler.
pub fn running_owner() -> u64 {
    match enter_begun() {
        Some(Entered { s, .. }) => owner(s, s.current()),
        // SAFETY: the calling thread's state.
        None => unsafe { cpython::ident_of(cpython::thread_state()) },
    }
}

/// The scheduler of any Python thread: a thread that has not used tasklets gets one now.
pub fn of_ident(ident: u64) -> Res<Option<&'static Sched>> {
    if let Some(s) = find_ident(ident) {
        return Ok(Some(s));
    }
    // SAFETY: the GIL is held, and the states of other threads stay as they are.
    let ts = unsafe { cpython::thread_states().find(|&ts| cpython::ident_of(ts) == ident) };
    ts.map(make).transpose()
}

/// The calling thread uses tasklets for the first time: its execution becomes the main tasklet.
#[cold]
fn begin(ts: *mut PyThreadState) -> Res<&'static Sched> {
    // SAFETY: the calling thread's state.
    if unsafe { cpython::has_ended(ts) } {
        return Err(runtime_error("this thread is ending, and its tasklets have ended"));
    }
    let s = match find(ts) {
        Some(s) => s, // another thread has made it
        None => make(ts)?,
    };
    s.enter_thread();
    if callbacks::ON_SCHEDULE.is_set() {
        callbacks::announce_switch(s, None, s.main());
        s.drop_deferred();
    }
    Ok(s)
}

/// Without garbage collection, whose finalisers would call this again.
fn make(ts: *mut PyThreadState) -> Res<&'static Sched> {
    without_collection(|| make_now(ts))
}

fn make_now(ts: *mut PyThreadState) -> Res<&'static Sched> {
    let room = || memory::strictly(|| world(|w| w.make_room(RecordKind::Thread)));
    memory::enough()?;
    if !world(|w| w.has_room(RecordKind::Thread)) && !room() {
        return Err(memory::no_memory());
    }
    let alarm = Alarm::new().ok_or_else(memory::no_memory)?;
    let seat = Box::into_raw(Seat::of_main());
    let s: &'static Sched = Box::leak(Box::new(Sched::new(ts, seat, alarm)));
    let made = guard_thread(s).and_then(|()| allocation::allocate_plain(ThreadId::NONE));
    let Ok(main) = made else {
        // SAFETY: no other code has seen them. (The guard, if it was made, finds no scheduler to end.)
        unsafe {
            drop(Box::from_raw(seat));
            drop(Box::from_raw(std::ptr::from_ref(s).cast_mut()));
        }
        return Err(Raised);
    };
    main.seat.set(seat);
    s.main.set(main);
    s.current.set(main);
    s.id.set(world(|w| w.add_thread(main.id(), s)));
    new_ref(main.obj()); // for the ring, besides the one of `main`
    Ok(s)
}

/// Is in the thread state's dict: CPython destroys it when the thread ends, in that thread.
#[repr(C)]
pub struct Guard {
    head: UnsafeCell<PyObject>,
    pub sched: Cell<*const Sched>,
}

pub static GUARD: types::TypeCell = types::TypeCell::new();

fn guard_thread(s: &'static Sched) -> Res<()> {
    // SAFETY: the type is ready; the dict is borrowed.
    unsafe {
        let dict = check(cpython::thread_dict(s.ts))?;
        let t = GUARD.get();
        let guard = check((*t).tp_alloc.expect("inherited")(t, 0))?;
        (*guard.cast::<Guard>()).sched.set(s);
        let result = PyDict_SetItemString(dict, c"stackless".as_ptr(), guard);
        drop_ref(guard);
        if result < 0 { Err(Raised) } else { Ok(()) }
    }
}
