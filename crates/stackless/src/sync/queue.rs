//! How a caller waits for its turn at a primitive, and how it is given its turn.
//!
//! A caller waits in its tasklet, as in a channel; or, where its thread has not used tasklets or cannot switch, in the
//! system. The first that came is served first. What is waited for goes directly to it: a lock that is released with a
//! tasklet waiting is never free in between, so that no other caller can take it. The result of the waiting call is
//! its tempval, so that a tasklet that waits can be parked. If the tasklet does not continue with it (it is killed, or
//! dropped), what it was given goes to the next one: see `Grant` in [`crate::model::bomb`].

use crate::engine::departure::{depart, plan_departure};
use crate::engine::ending::is_main_thread;
use crate::engine::schedule::give_way;
use crate::engine::throw;
use crate::model::bomb::{self, TakeBack};
use crate::model::primitive::{Native, Primitive, PrimitiveRef};
use crate::model::settings::exited;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::begun;
use crate::model::wait::WaitKind;
use crate::model::world::{object, world};
use crate::python::memory;
use crate::python::objects::*;
use crate::scheduler::entry::{self, Entered};
use crate::scheduler::ring::{adopt_link, leave_value};
use crate::scheduler::waits::{arm, disarm};
use crate::scheduler::{alts, hooks, idle};
use pyo3_ffi::*;
use stackless_core::{Direction, WaitsTo};
use stackless_cpython::{Alarm, Pending, Woken, is_finalizing};
use stackless_reactor::now;
use std::ffi::c_int;
use std::ptr::null_mut;

/// The caller's tasklet, if the caller can wait in it. (Under `switch_trap` it can, and the call fails.)
fn tasklet_here() -> Option<Entered> {
    entry::enter_begun().filter(|entered| !exited() && (entered.can_switch() || entered.s.trap.get() != 0))
}

/// True if nothing can switch here, and a tasklet of this thread holds the lock: it would not be released.
#[cold]
pub fn belongs_here(p: PrimitiveRef) -> bool {
    let refused = |entered: &Entered| entered.refused() && entered.s.trap.get() == 0;
    let Some(Entered { s, .. }) = entry::enter_begun().filter(refused) else { return false };
    let own = world(|w| w.tasklets_of(s.id()));
    own.into_iter().any(|t| entry::owner(s, object(t)) == p.owner.get())
}

/// The start of a wait: raises an exception that was left for the tasklet. May run Python code, so that the caller
/// looks afterwards whether it still has to wait.
pub fn begin() -> Res<()> {
    tasklet_here().map_or(Ok(()), |entered| throw::raise_pending(entered.s.current()))
}

/// Waits for the turn, at most `time` nanoseconds. Returns what [`serve`] gives: the item, or True; or `over`, which
/// is borrowed and lives for ever, once the time is over. `note` is taken over: [`serve`] returns it. `back` is for
/// what was given to a thread that cannot continue with it.
pub fn wait(
    p: PrimitiveRef,
    time: Option<u64>,
    over: Obj,
    note: Obj,
    back: Option<TakeBack>,
    call: Pending,
) -> Res<Obj> {
    match tasklet_here() {
        Some(entered) => wait_in_tasklet(entered, p, time, over, note, call),
        None if time.is_none() && p.owner.get() != 0 && belongs_here(p) => {
            drop_ref(note);
            Err(runtime_error(
                "cannot wait for a lock here: a tasklet of this thread holds it, and nothing can switch",
            ))
        }
        None => wait_in_thread(p, time, over, note, back),
    }
}

/// Acquires what `take` takes, if it is there; else waits for the turn, at most `time`. Returns whether it was acquired.
#[inline(always)]
pub fn acquire(
    p: PrimitiveRef,
    time: Option<u64>,
    take: impl Fn(PrimitiveRef) -> Res<bool>,
    back: TakeBack,
    call: Pending,
) -> Res<Obj> {
    if take(p)? {
        return Ok(bool_obj(true));
    }
    if time == Some(0) {
        // Conditions find out in this way whether the caller holds a lock: it does not ask another thread.
        if p.owner.get() == entry::running_owner() {
            return Ok(bool_obj(false));
        }
        give_way()?;
        return take(p).map(bool_obj);
    }
    begin()?;
    if take(p)? {
        return Ok(bool_obj(true));
    }
    // SAFETY: False exists.
    wait(p, time, unsafe { Py_False() }, null_mut(), Some(back), call)
}

fn wait_in_tasklet(
    entered: Entered,
    p: PrimitiveRef,
    time: Option<u64>,
    over: Obj,
    note: Obj,
    call: Pending,
) -> Res<Obj> {
    let s = entered.s;
    let me = s.current();
    let refused = |Raised| {
        drop_ref(note);
        Raised
    };
    if me.flags.get().block_trap {
        return Err(refused(runtime_error("this tasklet does not like to be blocked.")));
    }
    // A main tasklet without others waits as its thread would: what ends its wait may be a signal handler or a thread
    // of C code, of which nothing is known. So it is no deadlock. Neither is it if the program handles signals: main
    // programs of services wait for an event that a handler sets, with workers that wait for jobs.
    let armed =
        time.is_some() || idle::is_alone(s) || (me.is_main() && is_main_thread() && handles_signals());
    if armed {
        let until = time.map(|time| now().saturating_add(time));
        arm(s, me, WaitKind::Turn(over), None, until).map_err(refused)?;
    }
    let next = match plan_departure(entered, Some((p.channel(), WaitsTo::Receive))) {
        Ok(next) => next,
        Err(raised) => {
            if armed {
                disarm(me);
            }
            return Err(refused(raised));
        }
    };
    leave_value(s, me, note);
    me.seat().pending.set(call);
    world(|w| {
        w.unlink(me.id());
        w.enqueue(p.channel().id(), me.id(), WaitsTo::Receive);
    });
    // SAFETY: nothing is owned in this frame any more.
    unsafe { depart(s, next) }
}

/// True if the program has a handler for one of the signals that end, pause or inform a process. (Python itself handles
/// SIGINT.)
fn handles_signals() -> bool {
    const SIGNALS: [c_int; 10] = [
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGCHLD,
        libc::SIGQUIT,
        libc::SIGCONT,
        libc::SIGTSTP,
        libc::SIGPROF,
    ];
    SIGNALS.into_iter().any(|signal| {
        // SAFETY: asks for the action of a valid signal.
        unsafe {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            libc::sigaction(signal, std::ptr::null(), &mut action) == 0
                && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
        }
    })
}

/// The maximum time of one wait in the system, in microseconds: a day.
const LONGEST: u64 = 86_400_000_000;

/// The calling thread blocks in the system, without the GIL. Signal handlers run meanwhile, as in a lock of `threading`.
#[cold]
fn wait_in_thread(
    p: PrimitiveRef,
    time: Option<u64>,
    over: Obj,
    note: Obj,
    back: Option<TakeBack>,
) -> Res<Obj> {
    let Some(alarm) = memory::enough().ok().and_then(|()| Alarm::new()) else {
        drop_ref(note);
        return Err(if raised() { Raised } else { memory::no_memory() });
    };
    let native: &'static Native = Box::leak(Box::new(Native::new(p, alarm, entry::running_owner(), note)));
    new_ref(p.obj());
    p.push(native);
    let until = time.map(|time| now().saturating_add(time));
    let mut rung = false;
    let ended = loop {
        let left = until.map_or(LONGEST, |at| (at.saturating_sub(now()) / 1000 + 1).min(LONGEST));
        // SAFETY: the GIL is held before and after; the record stays until this thread frees it.
        let woken = unsafe {
            let ts = PyEval_SaveThread();
            let woken = native.alarm.wait(left as i64);
            PyEval_RestoreThread(ts);
            woken
        };
        rung |= woken == Woken::ByAlarm;
        // SAFETY: the GIL is held.
        if !native.served.get() && woken == Woken::BySignal && unsafe { PyErr_CheckSignals() } < 0 {
            break Err(Raised);
        }
        p.renew(native);
        if native.served.get() || until.is_some_and(|at| at <= now()) {
            break Ok(());
        }
    };
    p.remove(native);
    let item = Primitive::take(native);
    let served = native.served.get();
    if served && !rung {
        native.alarm.wait(-1); // it rang after the wait had ended: an alarm must not be freed like that
    }
    // SAFETY: it was leaked above, and is in no list any more.
    drop(unsafe { Box::from_raw(std::ptr::from_ref(native).cast_mut()) });
    let result = match (ended, served) {
        (Ok(()), true) if item.is_null() => Ok(bool_obj(true)),
        (Ok(()), true) => bomb::unpack(item),
        (Ok(()), false) => {
            drop_ref(item);
            bomb::unpack(new_ref(over))
        }
        (Err(Raised), served) => {
            saving_exception(|| match back {
                Some(back) if served => back(p.obj(), item),
                _ => drop_ref(item),
            });
            Err(Raised)
        }
    };
    drop_ref(p.obj());
    result
}

/// One that waits.
#[derive(Clone, Copy)]
pub enum Waiter {
    Tasklet(TaskletRef),
    Thread(&'static Native),
}

impl Waiter {
    /// The owner of a lock that it is given.
    pub fn owner(self) -> u64 {
        match self {
            Self::Tasklet(t) => t.scheduler().map_or(0, |s| entry::owner(s, t)),
            Self::Thread(native) => native.ident,
        }
    }
}

/// The one whose turn it is. Tasklets whose thread has ended cannot continue: they leave the queue, and are paused.
pub fn next(p: PrimitiveRef) -> Option<Waiter> {
    loop {
        // At exit the other threads do not continue, but those of `atexit` wait for some of them before.
        let native = if is_finalizing() { None } else { p.first_native() };
        let Some(t) = world(|w| w.first_waiting(p.channel().id())).map(object) else {
            return native.map(Waiter::Thread);
        };
        if let Some(native) = native.filter(|native| p.is_turn_of(native)) {
            return Some(Waiter::Thread(native));
        }
        if t.scheduler().is_some() && !entry::is_stranded(t) {
            return Some(Waiter::Tasklet(t));
        }
        world(|w| w.dequeue(t.id()));
        if let Some(recorder) = hooks::recorder() {
            recorder.unlinked(t);
        }
        match begun() {
            Some(s) => s.drop_later(t.obj()),
            None => drop_ref(t.obj()),
        }
    }
}

/// Gives one that waits its turn, with an item, which is taken over, or null for True. It is in no queue then, and
/// runs when its turn in the ring comes. `back` takes back what it does not continue with. Returns its note, or null.
/// The error is that there is no memory: nothing has happened.
pub fn serve(p: PrimitiveRef, waiter: Waiter, item: Obj, back: Option<TakeBack>) -> Res<Obj> {
    match waiter {
        Waiter::Tasklet(t) => {
            let value = match back {
                Some(back) => bomb::of_grant(p.obj(), item, back)?,
                None if item.is_null() => bool_obj(true),
                None => item,
            };
            p.count_turn();
            // It may wait by one of its cases in alt(): what was found in the queue is not the tasklet itself then.
            let s = t.scheduler().expect("`next` has looked");
            let first = world(|w| w.first_waiting(p.channel().id()));
            let found = first.filter(|&found| std::ptr::eq(object(found), t)).unwrap_or(t.id());
            let (t, note) = alts::claim(s, found, Direction::Send, value);
            adopt_link(t);
            Ok(note)
        }
        Waiter::Thread(native) => {
            p.remove(native);
            let note = native.item.replace(item);
            native.served.set(true);
            native.alarm.ring();
            Ok(note)
        }
    }
}
