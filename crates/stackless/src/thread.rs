//! One scheduler for each thread: its beginning, its sleep and its end.

use crate::attributes;
use crate::hooks;
use crate::join;
use crate::kernel::{Seat, link, object, world};
use crate::lifetime;
use crate::memory;
use crate::park;
use crate::pickle_flags;
use crate::py::*;
use crate::readiness::{self, Readiness};
use crate::recording;
use crate::tasklet::{T, Tasklet};
use crate::tasklet_type;
use crate::types;
use crate::waits::{self, Moment, Waits};
use crate::watchdog::{self, Watch};
use pyo3_ffi::*;
use stackless_core::{RecordKind, ThreadId};
use stackless_cpython::{self as cpython, Alarm, Pending, Woken};
use stackless_stack::Pool;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};
use std::time::Instant;

/// A thread's share of the runtime.
pub struct Sched {
    pub ts: *mut PyThreadState,
    /// Nobody's while the scheduler is made.
    id: Cell<ThreadId>,
    /// Owned. Null only while the scheduler is made.
    main: Cell<*const Tasklet>,
    current: Cell<*const Tasklet>,
    main_seat: Cell<*mut Seat>,
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
    next: Cell<*const Tasklet>,
    pub pickle_flags: Cell<i64>,
    /// Switches in this thread, while they are counted.
    pub switches: Cell<u64>,
    /// How many tasklets have ended whose class keeps times: see [`crate::counts`].
    pub completed: Cell<u64>,
    pub watch: Watch,
    pub waits: Waits,
    /// Made when the first tasklet waits for a descriptor; owned.
    pub readiness: Cell<Option<&'static Readiness>>,
    asleep: Cell<bool>,
    /// Asleep, but a signal handler runs.
    in_handler: Cell<bool>,
    rung: Cell<bool>,
    alarm: Alarm,
}

/// Between two looks at whether anybody can still wake a sleeping thread.
const LOOK_MICROSECONDS: i64 = 100_000;

struct Threads(UnsafeCell<Vec<&'static Sched>>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Threads {}

static THREADS: Threads = Threads(UnsafeCell::new(Vec::new()));

fn threads<R>(f: impl FnOnce(&mut Vec<&'static Sched>) -> R) -> R {
    // SAFETY: the GIL; no `f` here runs Python code.
    f(unsafe { &mut *THREADS.0.get() })
}

/// The interpreter is going away: nothing runs in tasklets any more.
static EXITED: AtomicBool = AtomicBool::new(false);

pub fn exited() -> bool {
    EXITED.load(Relaxed)
}

/// Does the interpreter exit, and is this a tasklet of another thread? Such a thread may be stopped for good, in
/// the middle of anything, its own end included; then its state is freed, and its tasklets still name it.
pub fn is_stranded(t: T) -> bool {
    exited() && t.scheduler().is_some_and(|s| !s.is_here())
}

/// The calling thread's scheduler, made at the first use. Threads and thread states are one to one
/// in the main interpreter, the only one we work in.
#[inline(always)]
pub fn current() -> Res<&'static Sched> {
    let s: *const Sched = cpython::word().cast();
    // SAFETY: the word is cleared before the scheduler is freed.
    if s.is_null() { begin(cpython::thread_state()) } else { Ok(unsafe { &*s }) }
}

/// The same for a call that may switch. Refused outright while the running tasklet is on its way out
/// of the ring: in a signal handler during a sleep, and in a schedule callback.
#[inline(always)]
pub fn enter() -> Res<Entered> {
    let entered = enter_anywhere()?;
    entered.at_rest()?;
    Ok(entered)
}

/// The same for a call that has something to do there as well.
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

/// The same where the thread may not have begun, and does not begin by this.
#[inline(always)]
pub fn enter_begun() -> Option<Entered> {
    let (word, refused) = cpython::enter();
    let s: *const Sched = word.cast_const().cast();
    // SAFETY: as above.
    (!s.is_null()).then(|| Entered { s: unsafe { &*s }, refused })
}

/// A thread's scheduler, and whether a switch would be wrong now.
#[derive(Clone, Copy)]
pub struct Entered {
    pub s: &'static Sched,
    refused: bool,
}

impl Entered {
    pub fn refused(self) -> bool {
        self.refused
    }

    /// Does the running tasklet stand in the ring?
    #[inline(always)]
    pub fn at_rest(self) -> Res<()> {
        if self.refused && !world(|w| w.in_ring(self.s.current().tid())) {
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

/// The calling thread's scheduler, which exists.
pub fn of_running_tasklet() -> &'static Sched {
    let s: *const Sched = cpython::word().cast();
    assert!(!s.is_null(), "a tasklet runs in a thread with a scheduler");
    // SAFETY: as above.
    unsafe { &*s }
}

/// The state of the thread that only answers questions: it never wakes anybody.
static SERVANT: AtomicPtr<PyThreadState> = AtomicPtr::new(null_mut());

fn is_servant(ts: *mut PyThreadState) -> bool {
    std::ptr::eq(SERVANT.load(Relaxed), ts)
}

/// The calling thread is that one from now on, or there is none any more.
pub fn set_servant(on: bool) {
    SERVANT.store(if on { cpython::thread_state() } else { null_mut() }, Relaxed);
}

/// `f` must not run Python code.
pub fn each(f: impl FnMut(&'static Sched)) {
    threads(|all| all.iter().copied().for_each(f));
}

pub fn find(ts: *mut PyThreadState) -> Option<&'static Sched> {
    threads(|all| all.iter().copied().find(|s| std::ptr::eq(s.ts, ts)))
}

/// The scheduler of the thread with this identity.
pub fn find_ident(ident: u64) -> Option<&'static Sched> {
    threads(|all| all.iter().copied().find(|s| s.ident() == ident))
}

/// The same for any Python thread: one that has not used tasklets gets its scheduler now.
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
        Some(s) => s, // another thread has asked for it
        None => make(ts)?,
    };
    s.enter_thread();
    if hooks::ON_SCHEDULE.is_set() {
        hooks::announce_switch(s, None, s.main());
        s.settle();
    }
    Ok(s)
}

/// A collection in the middle would run finalisers that come back here.
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
    let s: &'static Sched = Box::leak(Box::new(Sched {
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
        pickle_flags: Cell::new(pickle_flags::default()),
        switches: Cell::new(0),
        completed: Cell::new(0),
        watch: Watch::new(),
        waits: Waits::new(),
        readiness: Cell::new(None),
        asleep: Cell::new(false),
        in_handler: Cell::new(false),
        rung: Cell::new(false),
        alarm,
    }));
    let made = guard_thread(s).and_then(|()| tasklet_type::allocate_plain(std::ptr::from_ref(s)));
    let Ok(main) = made else {
        // SAFETY: nobody has seen them. (The guard, if it was made, finds no scheduler to end.)
        unsafe {
            drop(Box::from_raw(seat));
            drop(Box::from_raw(std::ptr::from_ref(s).cast_mut()));
        }
        return Err(Raised);
    };
    main.seat.set(seat);
    s.main.set(main);
    s.current.set(main);
    s.id.set(world(|w| w.add_thread(main.tid())));
    new_ref(main.obj()); // for the ring, besides the one of `main`
    threads(|all| all.push(s));
    Ok(s)
}

impl Sched {
    /// In its thread: from now on that finds it.
    fn enter_thread(&'static self) {
        let word = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the thread's own state, and the seat that its main tasklet keeps.
        unsafe {
            let state = (*self.main_seat.get()).state();
            cpython::init_main(self.ts, state);
            cpython::begin_thread(word, self.ts, state);
        }
    }

    #[inline(always)]
    pub fn current(&self) -> T {
        // SAFETY: the ring or its own activity keeps the running tasklet alive.
        unsafe { &*self.current.get() }
    }

    #[inline(always)]
    pub fn set_current(&self, t: T) {
        self.current.set(t);
    }

    /// Runs code of the program in the midst of a switch to `next`. It must not switch. Whatever it does,
    /// `next` heads the ring afterwards; but it may have no stack any more.
    pub fn amid_switch(&self, next: T, f: impl FnOnce()) {
        new_ref(next.obj());
        let seat = self.current().seat();
        let pending = seat.pending.get();
        self.next.set(next);
        cpython::forbid(1);
        f();
        cpython::forbid(-1);
        self.next.set(std::ptr::null());
        seat.pending.set(pending);
        if world(|w| !w.in_ring(next.tid())) {
            link(next);
        }
        world(|w| w.run_now(next.tid()));
        self.drop_later(next.obj());
    }

    /// Is a switch to this tasklet of ours under way?
    pub fn goes_to(&self, t: T) -> bool {
        std::ptr::eq(self.next.get(), t)
    }

    pub fn main(&self) -> T {
        // SAFETY: owned by the scheduler.
        unsafe { &*self.main.get() }
    }

    #[inline(always)]
    pub fn hid(&self) -> ThreadId {
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

    /// The tasklet that the ring runs.
    pub fn runs_next(&self) -> Option<T> {
        world(|w| w.head(self.hid()).map(|t| w.payload(t)))
    }

    /// Could another Python thread still make a tasklet of this one runnable? One that was woken and
    /// has not got the GIL yet could.
    pub fn others_can_act(&self) -> bool {
        // SAFETY: the GIL is held.
        unsafe { cpython::thread_states() }
            .any(|ts| !std::ptr::eq(ts, self.ts) && !is_servant(ts) && find(ts).is_none_or(Sched::can_act))
    }

    /// Is there a reason for `run(threadblock=True)` to wait: another thread that could act, or one
    /// that is stuck in a channel, and will find out that this is a deadlock?
    pub fn others_may_come(&self) -> bool {
        let stuck = |s: &Sched| !s.can_act() && world(|w| w.waiting(s.hid())).is_none();
        self.others_can_act() || threads(|all| all.iter().any(|s| !std::ptr::eq(*s, self) && stuck(s)))
    }

    fn can_act(&self) -> bool {
        !self.asleep.get() || self.in_handler.get() || self.runs_next().is_some() || self.waits.are_armed()
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

    /// Sleeps, without the GIL, until this thread's ring is not empty. An exception is set if
    /// nobody is left who could change that, or if a signal handler raised it.
    pub fn sleep(&'static self) -> Res<()> {
        self.asleep.set(true);
        cpython::forbid(1); // for signal handlers
        recording::slept(self);
        let result = self.sleep_on();
        recording::woke(self);
        cpython::forbid(-1);
        self.asleep.set(false);
        result
    }

    fn sleep_on(&'static self) -> Res<()> {
        let mut looks = park::LOOKS;
        while self.runs_next().is_none() {
            waits::look(self, Moment::Leaving);
            if self.runs_next().is_some() {
                break;
            }
            if let Some(t) = watchdog::ends_sleep(self).or_else(|| waits::ends_sleep(self)) {
                link(t);
                break;
            }
            let hopeless = !self.waits.are_armed() && !self.others_can_act();
            if hopeless && world(|w| w.waiting(self.hid())).is_none() {
                return Err(crate::deadlock::deadlock(self, None));
            }
            if looks > 0 && park::park_idle(self, &mut looks) {
                continue; // that took time
            }
            let limit = self.watch.deadline().map(|at| at.saturating_duration_since(Instant::now()));
            let limit = limit.map_or(u128::MAX, |left| left.as_micros());
            let timer = self.waits.time_left().map_or(u128::MAX, |left| (left / 1000).into());
            let longest = limit.min(timer).saturating_add(1).min(LOOK_MICROSECONDS as u128) as i64;
            // SAFETY: the GIL is held before and after, and nothing of Python is touched between.
            let woken = unsafe {
                let ts = PyEval_SaveThread();
                let woken = match self.readiness.get() {
                    Some(readiness) => readiness.sleep(longest).map(|()| Woken::ByAlarm),
                    None => Ok(self.alarm.wait(longest)),
                };
                PyEval_RestoreThread(ts);
                woken
            };
            match woken {
                Ok(Woken::ByAlarm) => self.rung.set(false),
                Ok(_) => {}
                Err(_) => readiness::lose(self), // those who wait for descriptors get the error
            }
            if let Some(readiness) = self.readiness.get() {
                readiness.go_on();
            }
            self.in_handler.set(true);
            // SAFETY: the GIL is held.
            let handled = unsafe { PyErr_CheckSignals() };
            self.in_handler.set(false);
            if handled < 0 {
                return Err(Raised);
            }
        }
        if self.rung.replace(false) && self.readiness.get().is_none() {
            // It rang between the last wait and here: silence it for the next time.
            self.alarm.wait(-1);
        }
        Ok(())
    }
}

// ---------------------------------------------------------------------- the end of a thread

/// Lies in the thread state's dict: CPython destroys it when the thread ends, in that thread.
#[repr(C)]
struct Guard {
    head: UnsafeCell<PyObject>,
    sched: Cell<*const Sched>,
}

static GUARD: types::TypeCell = types::TypeCell::new();

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

unsafe extern "C" fn guard_dealloc(o: Obj) {
    // SAFETY: the last reference to a guard is gone.
    unsafe {
        let sched = (*o.cast::<Guard>()).sched.get();
        if let Some(s) = threads(|all| all.iter().copied().find(|s| std::ptr::eq(*s, sched))) {
            aside(|| end(s));
        }
        types::free(o);
    }
}

/// A thread has ended: its tasklets are killed, and what is left of them belongs to no thread.
fn end(s: &'static Sched) {
    // After a fork, the child destroys the states of threads that exist in the parent only.
    let mine = std::ptr::eq(s.ts, cpython::thread_state());
    let old_main = s.main();
    if mine && cpython::word().is_null() {
        s.enter_thread();
    }
    if mine && !exited() {
        if let Ok(main) = tasklet_type::allocate_plain(std::ptr::from_ref(s)) {
            new_ref(main.obj());
            world(|w| w.replace_main(s.hid(), main.tid()));
            main.seat.set(old_main.seat.replace(null_mut()));
            s.main.set(main);
            s.current.set(main);
            recording::gone(old_main);
            drop_ref(old_main.obj()); // the ring's
            old_main.orphan();
            stop_soft_ones(s);
            kill_all(s, park::is_soft);
            drop_ref(old_main.obj());
        } else {
            write_unraisable(null_mut());
        }
    }
    watchdog::end_limit(s);
    drop_ref(s.watch.take_shown());
    let own: Vec<T> = world(|w| w.tasklets_of(s.hid())).into_iter().map(object).collect();
    let owned: Vec<Obj> = own.iter().filter(|t| t.is_owned()).map(|t| new_ref(t.obj())).collect();
    waits::end_all(&own);
    let main = s.main();
    // The state of the tasklet that ran last is in the thread state, not in its seat.
    s.current().seat.set(null_mut());
    main.seat.set(null_mut());
    for t in world(|w| w.tasklets_of(s.hid())).into_iter().map(object) {
        if t.started() && (!park::is_soft(t) || park::park(t).is_err()) {
            t.seat().last_level.set(attributes::nesting(t).min(u16::MAX.into()) as u16);
            t.set_flags(|f| f.zombie = true);
            // SAFETY: it is suspended; the thread state is being taken apart, and still there.
            unsafe { cpython::outlive(s.ts, t.seat().state()) };
        }
        join::ended(s, t);
        t.orphan();
    }
    let in_ring = world(|w| w.forget_thread(s.hid()));
    threads(|all| all.retain(|other| !std::ptr::eq(*other, s)));
    recording::thread_ended(s);
    if mine {
        // SAFETY: the thread's own state; it has no tasklets any more.
        unsafe { cpython::end_thread(s.ts) };
    }
    in_ring.into_iter().for_each(|t| drop_ref(object(t).obj()));
    owned.into_iter().for_each(drop_ref);
    s.settle();
    drop_ref(main.obj());
    if mine {
        readiness::end(s);
        // SAFETY: nobody refers to the scheduler any more: its tasklets were orphaned, and it is
        // in no table. Of a thread that a fork left behind, the lock may be in any state: leak it.
        unsafe {
            drop(Box::from_raw(s.main_seat.get()));
            drop(Box::from_raw(std::ptr::from_ref(s).cast_mut()));
        }
    }
}

/// Ends this thread's tasklets with TaskletExit; those that never began do not begin any more, and those that
/// are `left` and in no ring stay as they are. The caller is the thread's main. Cleaning up may take turns, and
/// may wait: a tasklet that waits is asked again a few times, and one that still runs after a hundred turns is,
/// too. After a thousand, they stay.
pub fn kill_all(s: &'static Sched, left: fn(T) -> bool) {
    for turn in 0..1000 {
        let mut started = 0;
        each_tasklet_of(s, |t| {
            let in_ring = world(|w| w.in_ring(t.tid()));
            if t.started() && !in_ring && left(t) {
                return;
            }
            if t.started() {
                started += 1;
                if turn % 100 == 0 || (turn < 10 && !in_ring) {
                    crate::throw::kill_later(t);
                }
            } else if in_ring {
                world(|w| w.unlink(t.tid()));
                recording::unlinked(t);
                drop_ref(t.obj());
            }
        });
        if started == 0 {
            return;
        }
        match crate::module::do_schedule(null_mut(), Pending::NONE) {
            Ok(me) => drop_ref(me),
            Err(Raised) => {
                write_unraisable(null_mut());
                if cpython::enter().1 {
                    return; // nothing can switch here
                }
            }
        }
    }
}

/// Those of this thread's tasklets that have no C state leave the ring: no code of them runs any more.
fn stop_soft_ones(s: &'static Sched) {
    each_tasklet_of(s, |t| {
        if t.started()
            && world(|w| w.in_ring(t.tid()))
            && !t.has_bomb()
            && !t.is_current()
            && park::is_soft(t)
        {
            world(|w| w.unlink(t.tid()));
            recording::unlinked(t);
            drop_ref(t.obj());
        }
    });
}

/// Calls `f` with all tasklets of a thread but the main one: see [`each_tasklet`].
pub fn each_tasklet_of(s: &'static Sched, f: impl FnMut(T)) {
    each_tasklet(|t| std::ptr::eq(t.sched.get(), s) && !t.is_main(), f);
}

/// Calls `f` with all tasklets that are `wanted`; not with those that are just being destroyed, or made
/// meanwhile: `f` may run Python code. There may be no memory for a list of them.
fn each_tasklet(wanted: impl Fn(T) -> bool, mut f: impl FnMut(T)) {
    let (mut at, end) = (0, world(|w| w.tasklet_end()));
    while let Some(tid) = world(|w| w.tasklet_from(at)).filter(|tid| tid.index() < end) {
        at = tid.index() + 1;
        let t = object(tid);
        if wanted(t) && t.is_owned() {
            new_ref(t.obj());
            f(t);
            drop_ref(t.obj());
        }
    }
}

/// Called when the interpreter exits, before it takes anything apart: the main thread's tasklets are ended,
/// with or without C state, and what those of ended threads hold is released.
pub fn at_exit() -> Res<()> {
    let s = current()?;
    if std::ptr::eq(s.current(), s.main()) {
        kill_all(s, |_| false);
    }
    each_tasklet(|t| t.started() && t.scheduler().is_none(), lifetime::release_frames);
    EXITED.store(true, Relaxed);
    crate::pool::close();
    Ok(())
}

/// Makes the guard's type. Nobody sees it.
pub fn ready(module: Obj) -> Res<()> {
    let slots = types::Slots::new().slot(Py_tp_dealloc, guard_dealloc as destructor as *mut c_void);
    types::add(module, &GUARD, c"stackless._ThreadGuard", size_of::<Guard>(), 0, slots)
}
