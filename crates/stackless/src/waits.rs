//! Tasklets that wait for something besides a partner: for time, a descriptor, or a worker thread.
//!
//! Whoever waits so has a [`Wait`]: in no list of the world (asleep, a call on a worker thread), or
//! beside its place in a channel's queue (`receive(timeout=)`). The wait owns one reference to it.
//! *Whoever makes the tasklet runnable ends the wait*: all paths there test `Tasklet::wait`. So the
//! pending call has nothing to clean up; what it returns or raises is its tempval.
//!
//! `with stackless.timeout()` is something else: a limit that hangs over a tasklet, whatever it does
//! meanwhile. See [`crate::limits`]. Both kinds are *armed*: while one is, this thread has a future,
//! and a ring that is empty means sleeping instead of a deadlock. A `run()` goes on while one of a
//! tasklet that is no daemon is armed.

use crate::bomb;
use crate::hooks;
use crate::join;
use crate::kernel::{leave_value, make_runnable, object, world};
use crate::limits;
use crate::memory;
use crate::module;
use crate::pool::Job;
use crate::py::*;
use crate::readiness::{self, Way};
use crate::tasklet::T;
use crate::thread::Sched;
use pyo3_ffi::*;
use stackless_core::Idle;
use stackless_reactor::{TimerId, Timers, coarse, now};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// What a tasklet waits for.
#[derive(Clone, Copy)]
pub enum What {
    /// The time alone.
    Time,
    /// A partner in a channel, for so long.
    Partner,
    /// A call on a worker thread.
    Job(*const Job),
    /// A descriptor, until it is ready.
    Descriptor(c_int, Way),
    /// The same, and it is no error if the time is over before.
    DescriptorOrTime(c_int, Way),
}

pub struct Wait {
    timer: Option<TimerId>,
    what: What,
}

/// What a timer does when it is due.
pub enum Due {
    /// The wait of this tasklet is over.
    Wait(T),
    /// The limit of this number has been reached.
    Limit(usize),
}

/// What a thread knows of its waits.
pub struct Waits {
    pub timers: RefCell<Timers<Due>>,
    /// Waits and limits that can still make somebody runnable ...
    armed: Cell<u32>,
    /// ... of tasklets that are no daemons.
    foreground: Cell<u32>,
    /// When they were last looked at between two switches, and how many switches ago.
    looked: Cell<u64>,
    switches: Cell<u32>,
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

/// Counts what is armed in all threads: between switches, nobody looks at the clock without it.
struct Armed(Cell<u32>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Armed {}

static ARMED: Armed = Armed(Cell::new(0));

/// One more of a tasklet's waits and limits is armed, or one less.
pub fn count_armed(s: &'static Sched, t: T, change: i32) {
    let add = |cell: &Cell<u32>| {
        cell.set(cell.get().checked_add_signed(change).expect("what is disarmed was armed"));
        cell.get()
    };
    add(&s.waits.armed);
    if !t.flags.get().daemon {
        add(&s.waits.foreground);
    }
    hooks::watch(hooks::TIMED, add(&ARMED.0) > 0);
}

/// The running tasklet is about to wait, until this time at the longest. If nothing comes of it, call
/// [`disarm`].
pub fn arm(s: &'static Sched, t: T, what: What, until: Option<u64>) -> Res<()> {
    memory::enough()?;
    debug_assert!(t.wait.get().is_null());
    let timer = until.map(|at| s.waits.timers.borrow_mut().start(at, Due::Wait(t)));
    t.wait.set(Box::into_raw(Box::new(Wait { timer, what })));
    new_ref(t.obj());
    count_armed(s, t, 1);
    Ok(())
}

/// The wait of a tasklet is over, if it has one. Somebody else owns the tasklet.
#[inline(always)]
pub fn ends(t: T) {
    if !t.wait.get().is_null() {
        disarm(t);
    }
}

#[cold]
pub fn disarm(t: T) {
    // SAFETY: `arm` made it, and it is taken away.
    let wait = unsafe { Box::from_raw(t.wait.replace(null_mut())) };
    let s = t.scheduler().expect("a thread's end ends the waits of its tasklets");
    if let Some(timer) = wait.timer {
        s.waits.timers.borrow_mut().stop(timer);
    }
    match wait.what {
        // SAFETY: a job lives until the worker thread has reported to its wait.
        What::Job(job) => unsafe { (*job).abandon() },
        What::Descriptor(descriptor, way) | What::DescriptorOrTime(descriptor, way) => {
            readiness::forget(s, t, descriptor, way);
        }
        What::Time | What::Partner => {}
    }
    count_armed(s, t, -1);
    drop_ref(t.obj());
}

/// Is it in a wait of its thread, or under a limit?
pub fn is_tied(t: T) -> bool {
    !t.wait.get().is_null() || t.limits.get() != 0
}

/// A tasklet ends without running any more: nothing is left of its waits, and those who wait for its
/// end go on.
pub fn abandon(t: T) {
    ends(t);
    limits::end_all(t);
    if let Some(s) = t.scheduler() {
        join::ended(s, t);
    }
}

/// Does it wait for a worker thread?
pub fn waits_for_job(t: T) -> bool {
    // SAFETY: a wait lives as long as the tasklet's pointer to it.
    unsafe { t.wait.get().as_ref() }.is_some_and(|wait| matches!(wait.what, What::Job(_)))
}

/// A tasklet becomes a daemon, or is none any more.
pub fn set_daemon(t: T, on: bool) {
    let armed = i32::from(!t.wait.get().is_null()) + limits::armed_of(t) as i32;
    let s = t.scheduler().filter(|_| armed > 0);
    for change in [-armed, armed] {
        if let Some(s) = s {
            count_armed(s, t, change);
        }
        t.set_flags(|f| f.daemon = on);
    }
}

/// Makes a tasklet runnable that waits for something, and leaves it the result, taken over.
pub fn wake(s: &'static Sched, t: T, value: Obj) {
    leave_value(s, t, value);
    make_runnable(t);
}

/// Where the running tasklet is when somebody looks at the clock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is about to switch, and what its pending call returns is decided; or it has stopped.
    Leaving,
    /// It runs, and will look for an exception in its tempval.
    Running,
}

/// Makes all those runnable whose time has come: at the end of the ring.
pub fn look(s: &'static Sched, moment: Moment) {
    readiness::look(s);
    if s.waits.timers.borrow().next().is_none() {
        return;
    }
    let now = now();
    loop {
        let Some(due) = s.waits.timers.borrow_mut().pop(now) else { return };
        match due {
            Due::Wait(t) => {
                // SAFETY: a timer is stopped before its wait goes.
                let what = unsafe { (*t.wait.get()).what };
                let asleep = matches!(what, What::Time | What::DescriptorOrTime(..));
                wake(s, t, if asleep { null_mut() } else { new_ref(timed_out()) });
            }
            Due::Limit(number) => limits::reached(s, number, now, moment),
        }
    }
}

/// So many switches may pass without a look at the clock's fine hand.
const SWITCHES: u32 = 64;

/// A switch is about to happen, and something is armed somewhere: looks, but not each time.
pub fn before_switch(s: &'static Sched) {
    let waits = &s.waits;
    if waits.armed.get() == 0 {
        return;
    }
    let switches = waits.switches.get() + 1;
    waits.switches.set(switches);
    let tick = coarse();
    if switches < SWITCHES && tick == waits.looked.get() {
        return;
    }
    waits.switches.set(0);
    waits.looked.set(tick);
    look(s, Moment::Leaving);
}

// ---------------------------------------------------------------------- nobody is left to run

/// What becomes of a thread whose ring is empty.
pub enum Rest {
    Resume(T),
    Sleep,
    /// This one should go on, and waits for a partner that cannot come.
    Deadlock(T),
}

/// The same when `leaving`, the only one in its ring, is about to leave it.
pub fn rest(s: &'static Sched, leaving: T) -> Rest {
    let armed = s.waits.are_armed();
    match world(|w| w.when_idle(leaving.tid())) {
        Idle::Resume(watcher) if goes_on_waiting(s, object(watcher)) => Rest::Sleep,
        Idle::Resume(watcher) => Rest::Resume(object(watcher)),
        Idle::Wait(_) if armed || s.others_may_come() => Rest::Sleep,
        Idle::Stuck(_) if armed || s.others_can_act() => Rest::Sleep,
        Idle::Wait(watcher) => Rest::Resume(object(watcher)),
        Idle::Stuck(watcher) => Rest::Deadlock(object(watcher)),
    }
}

/// Does this one, which should go on when the ring is empty, wait for what is armed instead? A
/// sleeping main tasklet does, and a `run()` while a tasklet that is no daemon waits.
pub fn goes_on_waiting(s: &'static Sched, watcher: T) -> bool {
    if !watcher.wait.get().is_null() {
        return true;
    }
    let returns = watcher.flags.get().impatient && world(|w| w.is_watchdog(watcher.tid()));
    !returns && are_in_foreground(s, watcher)
}

/// Does a tasklet that is no daemon wait? Limits over those who sit in `run()`, and over `watcher`,
/// who does or is about to, do not count.
pub fn are_in_foreground(s: &'static Sched, watcher: T) -> bool {
    let foreground = s.waits.foreground.get();
    if foreground == 0 {
        return false;
    }
    let mut sitting = world(|w| w.watchdogs(s.hid()));
    if !sitting.contains(&watcher.tid()) {
        sitting.push(watcher.tid());
    }
    let own = |t: T| if t.flags.get().daemon { 0 } else { limits::armed_of(t) };
    foreground > sitting.into_iter().map(|t| own(object(t))).sum()
}

/// Whose `run()` returns in a thread that sleeps, since nobody is left whom it waits for.
pub fn ends_sleep(s: &'static Sched) -> Option<T> {
    let (watcher, for_threads) = world(|w| (w.watcher(s.hid()), w.waiting(s.hid()).is_some()));
    let in_run = world(|w| w.is_watchdog(watcher));
    let watcher = object(watcher);
    let sits = !watcher.linked() && (in_run || !std::ptr::eq(watcher, s.current()));
    (sits && !for_threads && !goes_on_waiting(s, watcher)).then_some(watcher)
}

// ---------------------------------------------------------------------- beginnings and ends

/// The tasklets of a thread that ends wait no more, and no limit hangs over them. They are still
/// its tasklets; the caller owns them.
pub fn end_all(tasklets: &[T]) {
    for t in tasklets {
        ends(t);
        limits::end_all(t);
    }
}

static TIMEOUT_ERROR: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
static TIMED_OUT: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// The bomb of a wait whose time is over: borrowed.
pub fn timed_out() -> Obj {
    TIMED_OUT.load(Relaxed)
}

/// Raises `stackless.TimeoutError`, for a wait of no time at all.
pub fn raise_timed_out() -> Raised {
    bomb::explode(new_ref(timed_out()))
}

/// Makes the exception.
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
        module::add_object(module, c"TimeoutError", made)
    }
}
