//! The record of one thread that uses tasklets: data, and what can be answered from it alone.

use crate::model::readiness::Readiness;
use crate::model::seat::Seat;
use crate::model::settings;
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::ThreadId;
use stackless_cpython::{self as cpython, Alarm};
use stackless_reactor::{Timers, now};
use stackless_stack::Pool;
use std::cell::{Cell, RefCell};
use std::ptr::null_mut;
use std::time::Instant;

/// A thread's share of the runtime.
pub struct Sched {
    pub ts: *mut PyThreadState,
    /// Nobody's while the scheduler is made.
    pub id: Cell<ThreadId>,
    /// Owned. Null only while the scheduler is made.
    pub main: Cell<*const Tasklet>,
    pub current: Cell<*const Tasklet>,
    pub main_seat: Cell<*mut Seat>,
    /// Stacks that no tasklet uses.
    pub stacks: RefCell<Pool>,
    /// Below so many stacks in use there is no point in looking whom to park.
    pub park_at: Cell<usize>,
    /// Not before this time it looks who has waited long.
    pub park_next: Cell<u64>,
    /// What whoever runs next drops: one reference, nearly always, and the rest.
    dropped: Cell<Obj>,
    more_dropped: RefCell<Vec<Obj>>,
    /// `switch_trap`: not 0 forbids switches.
    pub trap: Cell<i64>,
    pub in_channel_callback: Cell<bool>,
    /// Whom a switch goes to, while code of the program runs in the midst of it; else null. Borrowed.
    pub next: Cell<*const Tasklet>,
    pub pickle_flags: Cell<i64>,
    /// Switches in this thread, while they are counted.
    pub switches: Cell<u64>,
    /// How many tasklets have ended whose class keeps times: see [`crate::observe::counts`].
    pub completed: Cell<u64>,
    pub run_limit: RunLimitState,
    pub waits: Waits,
    /// Made when the first tasklet waits for a descriptor; owned.
    pub readiness: Cell<Option<&'static Readiness>>,
    pub asleep: Cell<bool>,
    /// Asleep, but a signal handler runs.
    pub in_handler: Cell<bool>,
    pub rung: Cell<bool>,
    pub alarm: Alarm,
}

/// The calling thread's scheduler, if the thread has used tasklets.
#[inline(always)]
pub fn begun() -> Option<&'static Sched> {
    let s: *const Sched = cpython::word().cast();
    // SAFETY: the word is cleared before the scheduler is freed.
    (!s.is_null()).then(|| unsafe { &*s })
}

/// The calling thread's scheduler, which exists.
pub fn of_running_tasklet() -> &'static Sched {
    begun().expect("a tasklet runs in a thread with a scheduler")
}

impl Sched {
    /// A scheduler whose main tasklet and id are still to come.
    pub fn new(ts: *mut PyThreadState, seat: *mut Seat, alarm: Alarm) -> Self {
        Self {
            ts,
            id: Cell::new(ThreadId::NONE),
            main: Cell::new(std::ptr::null()),
            current: Cell::new(std::ptr::null()),
            main_seat: Cell::new(seat),
            stacks: RefCell::new(Pool::new()),
            park_at: Cell::new(0),
            park_next: Cell::new(0),
            dropped: Cell::new(null_mut()),
            more_dropped: RefCell::new(Vec::new()),
            trap: Cell::new(0),
            in_channel_callback: Cell::new(false),
            next: Cell::new(std::ptr::null()),
            pickle_flags: Cell::new(settings::default()),
            switches: Cell::new(0),
            completed: Cell::new(0),
            run_limit: RunLimitState::new(),
            waits: Waits::new(),
            readiness: Cell::new(None),
            asleep: Cell::new(false),
            in_handler: Cell::new(false),
            rung: Cell::new(false),
            alarm,
        }
    }

    /// In its thread: from now on that finds it.
    pub fn enter_thread(&'static self) {
        let word = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the thread's own state, and the seat that its main tasklet keeps.
        unsafe {
            let state = (*self.main_seat.get()).state();
            cpython::init_main(self.ts, state);
            cpython::begin_thread(word, self.ts, state);
        }
    }

    #[inline(always)]
    pub fn current(&self) -> TaskletRef {
        // SAFETY: the ring or its own activity keeps the running tasklet alive.
        unsafe { &*self.current.get() }
    }

    #[inline(always)]
    pub fn set_current(&self, t: TaskletRef) {
        self.current.set(t);
    }

    /// Is a switch to this tasklet of ours under way?
    pub fn goes_to(&self, t: TaskletRef) -> bool {
        std::ptr::eq(self.next.get(), t)
    }

    pub fn main(&self) -> TaskletRef {
        // SAFETY: owned by the scheduler.
        unsafe { &*self.main.get() }
    }

    #[inline(always)]
    pub fn id(&self) -> ThreadId {
        self.id.get()
    }

    /// Is it the calling thread's?
    pub fn is_here(&self) -> bool {
        std::ptr::eq(self.ts, cpython::thread_state())
    }

    pub fn ident(&self) -> u64 {
        // SAFETY: a scheduler does not outlive its thread state.
        unsafe { cpython::ident_of(self.ts) }
    }

    /// Whoever runs next drops this reference.
    #[inline(always)]
    pub fn drop_later(&self, o: Obj) {
        if self.dropped.get().is_null() {
            self.dropped.set(o);
        } else {
            self.more_dropped.borrow_mut().push(o);
        }
    }

    /// Drops what was left to drop. May run Python code, which may switch.
    #[inline(always)]
    pub fn settle(&self) {
        let o = self.dropped.replace(null_mut());
        if !o.is_null() {
            self.settle_all(o);
        }
    }

    fn settle_all(&self, o: Obj) {
        // SAFETY: it stays while code runs on it; null at the thread's end.
        let seat = unsafe { self.current().seat.get().as_ref() };
        let drop_one = |o| seat.map_or_else(|| drop_ref(o), |seat| seat.call_back(|| drop_ref(o)));
        drop_one(o);
        loop {
            let Some(o) = self.more_dropped.borrow_mut().pop() else { return };
            drop_one(o);
        }
    }

    pub fn is_asleep(&self) -> bool {
        self.asleep.get()
    }

    /// Somebody made a tasklet of this thread runnable, whose ring was empty.
    pub fn wake(&self) {
        if self.asleep.get() && !self.rung.replace(true) {
            match self.readiness.get() {
                Some(readiness) => readiness.ring(),
                None => self.alarm.ring(),
            }
        }
    }

    /// The poller is gone, and with it what rang there. From now on it is the alarm again.
    pub fn forget_ring(&self) {
        self.rung.set(false);
    }
}

/// What a timer does when it is due.
pub enum Due {
    /// The wait of this tasklet is over.
    Wait(TaskletRef),
    /// The limit of this number has been reached.
    Limit(usize),
}

/// What a thread knows of its waits.
pub struct Waits {
    pub timers: RefCell<Timers<Due>>,
    /// Waits and limits that can still make somebody runnable ...
    pub armed: Cell<u32>,
    /// ... of tasklets that are no daemons.
    pub foreground: Cell<u32>,
    /// When they were last looked at between two switches, and how many switches ago.
    pub looked: Cell<u64>,
    pub switches: Cell<u32>,
}

impl Waits {
    pub fn new() -> Self {
        Self {
            timers: RefCell::new(Timers::new()),
            armed: Cell::new(0),
            foreground: Cell::new(0),
            looked: Cell::new(0),
            switches: Cell::new(0),
        }
    }

    /// Will something make a tasklet of this thread runnable by itself?
    pub fn are_armed(&self) -> bool {
        self.armed.get() > 0
    }

    /// Nanoseconds until the first timer is due.
    pub fn time_left(&self) -> Option<u64> {
        self.timers.borrow().next().map(|at| at.saturating_sub(now()))
    }
}

/// Where the running tasklet is when somebody looks at the clock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is about to switch, and what its pending call returns is decided; or it has stopped.
    Leaving,
    /// It runs, and will look for an exception in its tempval.
    Running,
}

/// What a thread knows of the limit in force, besides what the world keeps.
pub struct RunLimitState {
    /// Is there one?
    pub on: Cell<bool>,
    /// Which one: an interrupt that it left pending ends with it. Not 0.
    pub number: Cell<u32>,
    pub deadline: Cell<Option<Instant>>,
    /// May it interrupt at any nesting level?
    pub ignore_nesting: Cell<bool>,
    /// Was `run()` ever called here?
    pub used: Cell<bool>,
    /// For `get_thread_info`: the list that shows who sits in `run()`, owned. Null until somebody asks.
    pub shown: Cell<Obj>,
}

impl RunLimitState {
    pub fn new() -> Self {
        Self {
            on: Cell::new(false),
            number: Cell::new(1),
            deadline: Cell::new(None),
            ignore_nesting: Cell::new(false),
            used: Cell::new(false),
            shown: Cell::new(null_mut()),
        }
    }

    /// The list that [`shown_watchdogs`] made, to be dropped.
    pub fn take_shown(&self) -> Obj {
        self.shown.replace(null_mut())
    }

    /// When a sleep must end.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }
}
