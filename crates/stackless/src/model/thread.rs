//! The record of one thread that uses tasklets: data, and what can be answered from it alone.

use crate::model::readiness::Readiness;
use crate::model::scope::ScopeRef;
use crate::model::seat::Seat;
use crate::model::settings;
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::{TaskletId, ThreadId};
use stackless_cpython::{self as cpython, Alarm};
use stackless_reactor::{Timers, now};
use stackless_stack::Pool;
use std::cell::{Cell, RefCell};
use std::ptr::null_mut;
use std::time::Instant;

/// The scheduler of a thread: its share of the runtime.
pub struct Sched {
    pub ts: *mut PyThreadState,
    /// NONE while the scheduler is being made.
    pub id: Cell<ThreadId>,
    /// Owned. Null only while the scheduler is being made.
    pub main: Cell<*const Tasklet>,
    pub current: Cell<*const Tasklet>,
    pub main_seat: Cell<*mut Seat>,
    /// Free stacks, and where the ones in use are.
    pub stacks: RefCell<Pool>,
    /// Skip the search for tasklets to park while fewer stacks than this are in use; 0: do not skip it.
    pub park_at: Cell<usize>,
    /// The time from which on the thread looks again for tasklets that have waited long.
    pub park_next: Cell<u64>,
    /// Deferred decrefs, done by the next tasklet to run; nearly always at most one.
    dropped: Cell<Obj>,
    more_dropped: RefCell<Vec<Obj>>,
    /// `switch_trap`: a value other than 0 forbids switches.
    pub trap: Cell<i64>,
    pub in_channel_callback: Cell<bool>,
    /// The tasklet that a switch goes to, while code of the program runs in the middle of it; else null. Borrowed.
    pub next: Cell<*const Tasklet>,
    pub pickle_flags: Cell<i64>,
    /// The number of switches in this thread, while they are counted.
    pub switches: Cell<u64>,
    /// The number of ended tasklets whose class keeps times: see [`crate::observe::counts`].
    pub completed: Cell<u64>,
    /// Calls of tasklets that are threads which did not wait, since one of them let others run.
    pub calls: Cell<u32>,
    pub run_limit: RunLimitState,
    pub waits: Waits,
    /// Made when the first tasklet waits for a descriptor; owned.
    pub readiness: Cell<Option<&'static Readiness>>,
    pub asleep: Cell<bool>,
    /// True while a signal handler runs during the sleep.
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
    /// A scheduler without a main tasklet and an id, which it gets later.
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
            calls: Cell::new(0),
            run_limit: RunLimitState::new(),
            waits: Waits::new(),
            readiness: Cell::new(None),
            asleep: Cell::new(false),
            in_handler: Cell::new(false),
            rung: Cell::new(false),
            alarm,
        }
    }

    /// Called in its thread: from now on [`begun`] finds it there.
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

    /// True while a switch to this tasklet is under way.
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

    /// True in the scheduler's own thread.
    pub fn is_here(&self) -> bool {
        std::ptr::eq(self.ts, cpython::thread_state())
    }

    pub fn ident(&self) -> u64 {
        // SAFETY: a scheduler does not outlive its thread state.
        unsafe { cpython::ident_of(self.ts) }
    }

    /// Leaves a reference to be dropped by the next tasklet to run.
    #[inline(always)]
    pub fn drop_later(&self, o: Obj) {
        if self.dropped.get().is_null() {
            self.dropped.set(o);
        } else {
            self.more_dropped.borrow_mut().push(o);
        }
    }

    /// Drops a reference now if it is not the last one; else later.
    #[inline(always)]
    pub fn drop_soon(&self, o: Obj) {
        // SAFETY: a living object.
        if unsafe { Py_REFCNT(o) } > 1 { drop_ref(o) } else { self.drop_later(o) }
    }

    /// Drops the references that [`Self::drop_later`] has collected. May run Python code, which may switch.
    #[inline(always)]
    pub fn drop_deferred(&self) {
        let o = self.dropped.replace(null_mut());
        if !o.is_null() {
            self.drop_all_deferred(o);
        }
    }

    fn drop_all_deferred(&self, o: Obj) {
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

    /// Wakes the thread if it sleeps: its ring was empty, and a tasklet is in it now.
    pub fn wake(&self) {
        if self.asleep.get() && !self.rung.replace(true) {
            match self.readiness.get() {
                Some(readiness) => readiness.ring_bell(),
                None => self.alarm.ring(),
            }
        }
    }

    /// The poller is gone, and the state of its bell with it. From now on the alarm wakes the thread.
    pub fn forget_bell(&self) {
        self.rung.set(false);
    }
}

/// What a timer does when it is due.
pub enum Due {
    /// Ends the wait of this tasklet.
    Wait(TaskletRef),
    /// Reports that the limit with this number has been reached.
    Limit(usize),
    /// Cancels this scope.
    Scope(ScopeRef),
}

/// What a thread knows of the waits of its tasklets.
pub struct Waits {
    pub timers: RefCell<Timers<Due>>,
    /// The number of waits and limits that can still make a tasklet runnable ...
    pub armed: Cell<u32>,
    /// ... and of those whose tasklet is no daemon.
    pub foreground: Cell<u32>,
    /// The time of the last look at the clock between two switches, and the number of switches since.
    pub looked: Cell<u64>,
    pub switches: Cell<u32>,
    /// The number of switches for which tasklets whose time has come may go first: see [`crate::scheduler::timers`].
    pub ahead: Cell<u32>,
    /// The tasklet that was woken last because its time had come, until it is seen to run, and whether it went ahead.
    pub last_woken: Cell<Option<(TaskletId, bool)>>,
}

impl Waits {
    pub fn new() -> Self {
        Self {
            timers: RefCell::new(Timers::new()),
            armed: Cell::new(0),
            foreground: Cell::new(0),
            looked: Cell::new(0),
            switches: Cell::new(0),
            ahead: Cell::new(0),
            last_woken: Cell::new(None),
        }
    }

    /// True if something will make a tasklet of this thread runnable by itself.
    pub fn are_armed(&self) -> bool {
        self.armed.get() > 0
    }

    /// Nanoseconds until the first timer is due.
    pub fn time_left(&self) -> Option<u64> {
        self.timers.borrow().next().map(|at| at.saturating_sub(now()))
    }
}

/// What the running tasklet is doing when the clock is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is about to switch, and what its pending call returns is decided; or it has stopped.
    Leaving,
    /// It runs, and will look for an exception in its tempval.
    Running,
}

/// What a thread knows of the limit of `run()` in force, besides what the world keeps.
pub struct RunLimitState {
    /// True if a limit is in force.
    pub on: Cell<bool>,
    /// The number of the limit, not 0: an interrupt that is pending ends with its limit.
    pub number: Cell<u32>,
    pub deadline: Cell<Option<Instant>>,
    /// True if it may interrupt at any nesting level.
    pub ignore_nesting: Cell<bool>,
    /// True if `run()` was ever called in this thread.
    pub used: Cell<bool>,
    /// For `get_thread_info`: the list of the tasklets in `run()`, owned. Null until it is asked for.
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

    /// Takes out the list of [`Self::shown`], to be dropped.
    pub fn take_shown(&self) -> Obj {
        self.shown.replace(null_mut())
    }

    /// When a sleep must end because of the limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }
}
