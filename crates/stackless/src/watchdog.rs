//! `run()`: who sits in it, what ends it early, and how a tasklet is interrupted.
//!
//! A limit is checked in two places. At every *switch* (the one flag test of [`hooks::watched`]) a
//! soft limit can hand over to the caller of `run()`. At every *tick* (`crates/cpython/src/ticks.c`)
//! a hard one can take the running tasklet out of the ring in the middle of its Python code. Programs
//! that set no limit have neither.

use crate::args;
use crate::attributes::nesting;
use crate::bomb;
use crate::hooks;
use crate::kernel::{
    Next, adopt_link, leave, leave_value, make_runnable, object, prepare, resumed, switch, unseat, world,
};
use crate::py::*;
use crate::sleep;
use crate::tasklet::T;
use crate::thread::{self, Entered, Sched};
use crate::throw;
use crate::types;
use crate::waits::{self, Moment};
use pyo3_ffi::*;
use stackless_core::{RunLimit, Turn};
use stackless_cpython::{self as cpython, Answer, OnTicks, Pending};
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// What a thread knows of the limit in force, besides what the world keeps.
pub struct Watch {
    /// Is there one?
    on: Cell<bool>,
    /// Which one: an interrupt that it left pending ends with it. Not 0.
    number: Cell<u32>,
    deadline: Cell<Option<Instant>>,
    /// May it interrupt at any nesting level?
    ignore_nesting: Cell<bool>,
    /// Was `run()` ever called here?
    used: Cell<bool>,
    /// For `get_thread_info`: the list that shows who sits in `run()`, owned. Null until somebody asks.
    shown: Cell<Obj>,
}

impl Watch {
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

/// In how many threads a limit is in force.
struct Limited(Cell<u32>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Limited {}

static LIMITED: Limited = Limited(Cell::new(0));

/// How a `run()` was asked to run.
#[derive(Default)]
struct Run {
    /// Does an empty ring mean waiting for other threads?
    waits: bool,
    limit: Option<RunLimit>,
    time: Option<Duration>,
    ignore_nesting: bool,
    /// It does not wait for tasklets that sleep, or wait for something else than a partner.
    impatient: bool,
}

impl Run {
    fn needs_ticks(&self) -> bool {
        self.limit.is_some_and(|limit| limit.ticks < u64::MAX || (self.time.is_some() && !limit.soft))
    }
}

unsafe extern "C" fn run(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    if count == 0 && names.is_null() {
        return give(do_run(Run::default()));
    }
    if args::at_most("run", 5, count as usize).is_err() {
        return null_mut();
    }
    let parameters = ["timeout", "threadblock", "soft", "ignore_nesting", "totaltimeout", "seconds", "block"];
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let given = unsafe { args::named("run", parameters, args, count, names) };
    give(given.and_then(run_arguments).and_then(do_run))
}

fn run_arguments([timeout, flags @ .., seconds, block]: [Obj; 7]) -> Res<Run> {
    let mut ticks = 0;
    if !timeout.is_null() {
        // SAFETY: a living object.
        if unsafe { PyIndex_Check(timeout) } == 0 {
            return Err(type_error(&format!(
                "the timeout of run() is a number of ticks, an integer, not {}; seconds=... sets a limit in time",
                type_name(timeout)
            )));
        }
        // SAFETY: a living object.
        ticks = unsafe { PyLong_AsLongLong(timeout) };
        if ticks == -1 && raised() {
            return Err(Raised);
        }
    }
    let mut truths = [false; 4];
    for (flag, truth) in flags.into_iter().zip(&mut truths) {
        *truth = is_true(flag)?;
    }
    let [waits, soft, ignore_nesting, total] = truths;
    // Infinity, which saturates, is no limit.
    let time = sleep::time(seconds, "seconds")?.filter(|&time| time < u64::MAX).map(Duration::from_nanos);
    let limited = ticks > 0 || time.is_some();
    let ticks = if ticks > 0 { ticks as u64 } else { u64::MAX };
    let limit = limited.then_some(RunLimit { ticks, total, soft, ..RunLimit::NONE });
    let impatient = !block.is_null() && !is_true(block)?;
    Ok(Run { waits, limit, time, ignore_nesting, impatient })
}

unsafe extern "C" fn run_n_tasklets(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let args = unsafe { args::positional(args, count) };
    give(args::one_argument("run_n_tasklets", args).and_then(|n| {
        // SAFETY: a living object.
        if unsafe { PyIndex_Check(n) } == 0 {
            return Err(type_error(&format!("the number of turns must be an integer, not {}", type_name(n))));
        }
        // SAFETY: a living object.
        let turns = unsafe { PyLong_AsLongLong(n) };
        if turns == -1 && raised() {
            return Err(Raised);
        }
        if turns < 0 {
            return Err(raise(Exc::Value, "the number of turns must not be negative"));
        }
        if turns == 0 {
            return Ok(none());
        }
        let limit = RunLimit { turns: turns as u64, soft: true, ..RunLimit::NONE };
        do_run(Run { limit: Some(limit), ..Run::default() })
    }))
}

fn do_run(run: Run) -> Res<Obj> {
    let entered = thread::enter()?;
    let s = entered.s;
    s.watch.used.set(true);
    if run.needs_ticks() {
        // SAFETY: the GIL is held, no exception is set.
        let started =
            unsafe { cpython::start_ticks(OnTicks { tick, interrupt, settled, must_raise, throw_in }) };
        if !started {
            return Err(Raised);
        }
    }
    waits::look(s, Moment::Running);
    let me = s.current();
    throw::raise_pending(me)?;
    let next = world(|w| w.payload(w.right_neighbour(me.tid())));
    let alone = std::ptr::eq(next, me);
    me.set_flags(|f| f.impatient = run.impatient);
    let waits = (run.waits && s.others_may_come()) || (!run.impatient && waits::are_in_foreground(s, me));
    if alone && !waits {
        return Ok(none());
    }
    entered.may_switch()?;
    let next = if alone {
        Next::Sleep
    } else {
        prepare(s, next)?;
        Next::Switch(next)
    };
    // The ring's reference is the watchdogs' from here on.
    if world(|w| w.enter_run(me.tid(), run.waits, run.limit)) {
        begin_limit(s, &run);
    }
    show_watchdogs(s);
    // SAFETY: nothing is owned in this frame.
    unsafe { leave(s, next) };
    let me = s.current(); // an heir may have taken over the stack
    let (found, inner) = world(|w| w.leave_run(me.tid()));
    if s.watch.on.get() && world(|w| w.timer(s.hid()).is_none()) {
        end_limit(s);
    }
    for t in inner.into_iter().map(object) {
        // Their run() calls return as well, in turn.
        if world(|w| w.is_linked(t.tid())) {
            s.drop_later(t.obj());
        } else {
            adopt_link(t);
        }
    }
    if found {
        s.drop_later(me.obj());
    }
    show_watchdogs(s);
    resumed(s)
}

// ---------------------------------------------------------------------- limits

fn begin_limit(s: &'static Sched, run: &Run) {
    s.watch.on.set(true);
    s.watch.number.set(s.watch.number.get().wrapping_add(1).max(1));
    s.watch.deadline.set(run.time.and_then(|time| Instant::now().checked_add(time)));
    s.watch.ignore_nesting.set(run.ignore_nesting);
    LIMITED.0.set(LIMITED.0.get() + 1);
    hooks::watch(hooks::LIMIT, true);
    if run.needs_ticks() {
        // SAFETY: the thread's own state.
        unsafe { cpython::show_ticks(s.ts, true) };
    }
}

pub fn end_limit(s: &'static Sched) {
    if !s.watch.on.replace(false) {
        return;
    }
    s.watch.deadline.set(None);
    LIMITED.0.set(LIMITED.0.get() - 1);
    hooks::watch(hooks::LIMIT, LIMITED.0.get() > 0);
    if std::ptr::eq(s.ts, cpython::thread_state()) {
        // SAFETY: the thread's own state.
        unsafe { cpython::show_ticks(s.ts, false) };
    }
}

/// Is the time up? Then the world knows.
fn look_at_clock(s: &'static Sched) {
    if s.watch.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
        world(|w| w.expire(s.hid()));
    }
}

/// A switch to `next`, which heads the ring, is about to happen: the answer is who runs instead.
pub fn before_switch(s: &'static Sched, next: T, turn: Turn) -> T {
    if !s.watch.on.get() {
        return next;
    }
    look_at_clock(s);
    let owner = world(|w| w.timer(s.hid())).map(object);
    let linked = owner.is_some_and(|t| t.linked());
    match world(|w| w.turn(s.hid(), turn, interrupt_pending(s, next))).map(object) {
        None => next,
        Some(owner) => {
            if !linked {
                new_ref(owner.obj()); // for the ring
            }
            unseat(s, next);
            owner
        }
    }
}

/// The running tasklet yields, alone in the ring: a turn is over, and with it maybe a soft limit. Then
/// the answer is who goes on.
#[cold]
pub fn yields_alone(s: &'static Sched) -> Option<T> {
    if !s.watch.on.get() || !world(|w| w.limit_is_soft(s.hid())) {
        return None;
    }
    let me = s.current();
    let next = before_switch(s, me, Turn::Over);
    (!std::ptr::eq(next, me)).then_some(next)
}

/// Who goes on when a thread has slept long enough: the one whose time is up, or the one that waits
/// for other threads when there are none left.
pub fn ends_sleep(s: &'static Sched) -> Option<T> {
    look_at_clock(s);
    let (due, waits) = world(|w| (w.expired(s.hid()), w.waiting(s.hid())));
    due.or_else(|| waits.filter(|_| !s.others_may_come())).map(object)
}

// ---------------------------------------------------------------------- interrupts

/// The calling thread, if a limit is in force in it.
fn limited() -> Option<Entered> {
    if LIMITED.0.get() == 0 {
        return None;
    }
    thread::enter_begun().filter(|entered| entered.s.watch.on.get())
}

unsafe extern "C" fn tick(count: c_int) -> Answer {
    let Some(entered) = limited() else { return Answer::Nothing };
    let s = entered.s;
    if entered.refused() && s.trap.get() == 0 {
        return Answer::Nothing; // a callback, or somebody else's stack: not the tasklet's own time
    }
    look_at_clock(s);
    world(|w| w.tick(s.hid(), count as u64));
    if !world(|w| w.due(s.hid())) {
        return Answer::Nothing;
    }
    let me = s.current();
    let now = may_interrupt(entered);
    let nested = !now && !interrupt_pending(s, me) && nesting(me) > 0;
    me.set_flags(|f| f.interrupt_pending = if now { 0 } else { s.watch.number.get() });
    match (now, nested) {
        (true, _) => Answer::Now,
        (_, true) => Answer::Later,
        _ => Answer::Nothing,
    }
}

unsafe extern "C" fn interrupt(can_raise: c_int) -> c_int {
    let Some(entered) = limited() else { return 0 };
    if !try_interrupt(entered) {
        return 0;
    }
    let me = thread::of_running_tasklet().current();
    if can_raise != 0 || !me.has_bomb() {
        return if explode(me).is_ok() { 0 } else { -1 };
    }
    me.set_flags(|f| f.must_raise = true);
    1
}

unsafe extern "C" fn settled() -> c_int {
    limited().is_none_or(|entered| !world(|w| w.due(entered.s.hid())) || may_interrupt(entered)).into()
}

unsafe extern "C" fn must_raise() -> c_int {
    thread::enter_begun().is_some_and(|entered| entered.s.current().flags.get().must_raise).into()
}

unsafe extern "C" fn throw_in() {
    let me = thread::of_running_tasklet().current();
    me.set_flags(|f| f.must_raise = false);
    if explode(me).is_ok() {
        let Raised = runtime_error("an exception was thrown into the tasklet, and taken away again");
    }
}

/// What an interrupted tasklet finds when it goes on is dropped, or raised.
fn explode(me: T) -> Res<()> {
    bomb::unpack(me.tempval.replace(null_mut())).map(drop_ref)
}

fn may_interrupt(entered: Entered) -> bool {
    let s = entered.s;
    let me = s.current();
    let flags = me.flags.get();
    !flags.atomic
        && !entered.refused()
        && !s.in_channel_callback.get()
        && world(|w| w.in_ring(me.tid()))
        && (flags.ignore_nesting || s.watch.ignore_nesting.get() || nesting(me) == 0)
}

/// Was an interrupt of it put off under the limit in force?
fn interrupt_pending(s: &'static Sched, t: T) -> bool {
    t.flags.get().interrupt_pending == s.watch.number.get()
}

/// If the running tasklet's time is up and nothing forbids it, it is interrupted. What it finds when
/// it goes on is still its tempval.
fn try_interrupt(entered: Entered) -> bool {
    let s = entered.s;
    let me = s.current();
    if !world(|w| w.due(s.hid())) || !may_interrupt(entered) {
        return false;
    }
    me.set_flags(|f| f.interrupt_pending = 0);
    let Some(owner) = world(|w| w.timer(s.hid())).map(object) else { return false };
    if owner.has_bomb() {
        // It wakes with an exception instead, and could not take the interrupted one.
        make_runnable(owner);
        world(|w| w.run_now(owner.tid()));
    } else {
        let linked = owner.linked();
        if world(|w| w.interrupt(me.tid())).is_none() {
            return false;
        }
        if !linked {
            new_ref(owner.obj()); // for the ring
        }
        leave_value(s, owner, me.obj()); // the ring's reference to the interrupted one
    }
    me.seat().pending.set(Pending::interrupted());
    // SAFETY: nothing is owned in this frame.
    unsafe { switch(s, owner, Turn::Over) };
    s.settle();
    true
}

/// What forbade an interrupt of the running tasklet may be over: then it happens now.
pub fn retry() -> Res<()> {
    let Some(entered) = limited() else { return Ok(()) };
    if interrupt_pending(entered.s, entered.s.current()) && try_interrupt(entered) {
        return explode(thread::of_running_tasklet().current());
    }
    Ok(())
}

// ---------------------------------------------------------------------- for get_thread_info

/// The list of watchdogs, kept up to date for whoever has it: whom a limit wakes, or None; then who
/// sits in `run()`, outermost first. None before the thread's first `run()`.
pub fn shown_watchdogs(s: &'static Sched) -> Res<Obj> {
    if !s.watch.used.get() {
        return Ok(none());
    }
    if s.watch.shown.get().is_null() {
        // SAFETY: no precondition.
        s.watch.shown.set(check(unsafe { PyList_New(0) })?);
        show_watchdogs(s);
    }
    Ok(new_ref(s.watch.shown.get()))
}

/// Brings the list up to date. The running tasklet may be in no list itself: what the program has put there
/// is dropped by whoever runs next.
fn show_watchdogs(s: &'static Sched) {
    let list = s.watch.shown.get();
    if list.is_null() {
        return;
    }
    let (timer, watchdogs) = world(|w| (w.timer(s.hid()), w.watchdogs(s.hid())));
    let mut all = vec![timer.map_or_else(none, |t| new_ref(object(t).obj()))];
    all.extend(watchdogs.into_iter().map(|t| new_ref(object(t).obj())));
    let shown = without_collection(|| {
        let new = list_of(all)?;
        // SAFETY: two lists, and a new one.
        unsafe {
            let size = PyList_GET_SIZE(list);
            let old = PyList_GetSlice(list, 0, size);
            let done = if old.is_null() { -1 } else { PyList_SetSlice(list, 0, size, new) };
            drop_ref(new);
            if !old.is_null() {
                s.drop_later(old);
            }
            if done < 0 { Err(Raised) } else { Ok(()) }
        }
    });
    if shown.is_err() {
        write_unraisable(list);
    }
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method_keywords(
            "run",
            "run($module, /, timeout=0, threadblock=False, soft=False, ignore_nesting=False, totaltimeout=False, *, seconds=None, block=True)\n--\n\n\
             Run tasklets until none is left in this thread's run queue, or until a limit is reached.\n\n\
             Blocked and paused tasklets do not keep it waiting; those that sleep, wait with a timeout or\n\
             for a worker thread do, unless they are daemons. With block=False nobody does: run() never\n\
             sleeps then. An uncaught exception of a tasklet is\n\
             raised here; the others stay in the queue. May be nested: the innermost call returns first.\n\n\
             timeout: the running tasklet is interrupted when it has not switched for so many ticks; 0 for\n\
             no limit. A turn of a loop or a Python call is 5 ticks. The\n\
             interrupted tasklet is paused, and returned. seconds: the same, for so much time since the\n\
             call. totaltimeout: the ticks of all tasklets count, from the call on. soft: nobody is\n\
             interrupted; at the next switch after the limit run() returns None. ignore_nesting:\n\
             interrupt also where C code has called back into Python. Only the outermost limit counts.\n\n\
             threadblock: when the queue is empty, wait until another thread makes a tasklet of this one\n\
             runnable, instead of returning.\n\n\
             Raises TypeError and ValueError for arguments that make no sense, RuntimeError if ticks cannot\n\
             be counted since all sys.monitoring tools are in use. (Stackless contract, section 7.)",
            run,
        ),
        types::method(
            "run_n_tasklets",
            "run_n_tasklets($module, n, /)\n--\n\nRun at most n turns of tasklets, as run() does; a turn ends at a switch. Returns None.\n\n\
             Raises ValueError if n is negative.",
            run_n_tasklets,
        ),
    ]
}
