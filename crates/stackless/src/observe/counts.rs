//! Numbers about the whole process and about switches, for the module `stackless.scheduler`; the ages of tasklets.

use crate::model::allocation::last_serial;
use crate::model::channel::ChannelRef;
use crate::model::classes;
use crate::model::primitive::Primitive;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{find_ident, world};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::{entry, hooks};
use pyo3_ffi::*;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The observer: counts a switch that is about to happen, and keeps its time if that is wanted.
pub fn observe(s: &'static Sched, next: TaskletRef, watchers: u16) {
    count_switch(s, next);
    if watchers & hooks::AGES != 0 {
        keep_time(s.current(), next);
    }
}

/// Counts a switch to `next`.
fn count_switch(s: &'static Sched, next: TaskletRef) {
    s.switches.set(s.switches.get() + 1);
    next.switches.set(next.switches.get() + 1);
    if s.current().flags.get().ended && note_time(s.current(), c"_end") {
        s.completed.set(s.completed.get() + 1);
    }
    let begins = !next.args.get().is_null() && !next.has_bomb();
    if begins {
        note_time(next, c"_start");
    }
}

/// The class whose instances get the times when they begin and end: owned, or null.
static TIMED_CLASS: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// Sets a slot of a tasklet to the time, if its class is the one that keeps times. Returns true if it is.
/// No Python code runs: the slots are member descriptors, and their values are integers.
fn note_time(t: TaskletRef, slot: &CStr) -> bool {
    let told = TIMED_CLASS.load(Relaxed);
    // SAFETY: living types, a tasklet, and NUL-terminated text; owned references are dropped.
    unsafe {
        if told.is_null() || PyObject_TypeCheck(t.obj(), told.cast()) == 0 {
            return false;
        }
        saving_exception(|| {
            let (name, time) = (PyUnicode_InternFromString(slot.as_ptr()), number(stackless_reactor::now()));
            let set = if name.is_null() || time.is_null() {
                -1
            } else {
                PyObject_GenericSetAttr(t.obj(), name, time)
            };
            drop_ref(name);
            drop_ref(time);
            if set < 0 {
                write_unraisable(t.obj());
            }
        });
    }
    true
}

/// The moment at which the time that [`time`] returns is 0.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since a moment in the past.
pub fn time() -> u64 {
    START.elapsed().as_nanos() as u64
}

/// Keeps the time of a switch: one tasklet stops, the other begins to run.
fn keep_time(stops: TaskletRef, begins: TaskletRef) {
    let now = time();
    stops.since.set(now);
    begins.since.set(now);
}

/// Times before this one belong to an earlier period in which times were kept.
static KEPT_FROM: AtomicU64 = AtomicU64::new(u64::MAX);

/// Seconds since a tasklet last began or stopped to run, if that is known.
pub fn age(t: TaskletRef, now: u64) -> Option<f64> {
    let since = t.since.get();
    (since >= KEPT_FROM.load(Relaxed)).then(|| now.saturating_sub(since) as f64 / 1e9)
}

// `_keep_ages(on)`.
function!(keep_ages, |args| args::one_argument("_keep_ages", args).and_then(|on| {
    let on = is_true(on)?;
    hooks::set_flags(hooks::AGES, on);
    match (on, KEPT_FROM.load(Relaxed)) {
        (true, u64::MAX) => KEPT_FROM.store(time(), Relaxed),
        (true, _) => {}
        (false, _) => KEPT_FROM.store(u64::MAX, Relaxed),
    }
    Ok(none())
}));

fn number(n: u64) -> Obj {
    int_obj(n as i64)
}

/// The channels in which tasklets wait, except those that are being destroyed.
fn waited_for() -> impl Iterator<Item = ChannelRef> {
    let all = world(|w| w.channels_in_use()).into_iter().map(|c| world(|w| w.channel_payload(c)));
    let all = all.filter(|ch| Primitive::behind(ch).is_none());
    // SAFETY: a channel's memory is there until the world has forgotten it.
    all.filter(|ch| unsafe { Py_REFCNT(ch.obj()) } > 0)
}

unsafe extern "C" fn channels(_: Obj, _: Obj) -> Obj {
    give(list_of(waited_for().map(|ch| new_ref(ch.obj())).collect()))
}

unsafe extern "C" fn channel_count(_: Obj, _: Obj) -> Obj {
    number(waited_for().count() as u64)
}

unsafe extern "C" fn tasklet_count(_: Obj, _: Obj) -> Obj {
    number(world(|w| w.tasklet_count()) as u64)
}

unsafe extern "C" fn all_time_count(_: Obj, _: Obj) -> Obj {
    number(last_serial())
}

unsafe extern "C" fn thread_count(_: Obj, _: Obj) -> Obj {
    number(world(|w| w.thread_count()) as u64)
}

// `_count_switches(told=None)`.
function!(count_switches, |args| args::at_most("_count_switches", 1, args.len()).and_then(|()| {
    if let Some(&told) = args.first() {
        // SAFETY: a living object.
        if unsafe { PyType_Check(told) } == 0 {
            return Err(type_error("_count_switches() takes a class"));
        }
        drop_ref(TIMED_CLASS.swap(new_ref(told), Relaxed));
    }
    hooks::set_flags(hooks::COUNT, true);
    Ok(none())
}));

unsafe extern "C" fn completed(_: Obj, _: Obj) -> Obj {
    give(entry::current().map(|s| number(s.completed.get())))
}

function!(switches, |args| match args {
    [] => entry::current().map(|s| number(s.switches.get())),
    [o] if let Some(t) = classes::as_tasklet(*o) => Ok(number(t.switches.get())),
    _ => Err(type_error("_switches() takes a tasklet or nothing")),
});

// `_thread_activity(ident)`: the number of the tasklet that runs in a thread, the number of switches there, and whether
// it keeps others from running: it is not asleep, and there are others. None for a thread without tasklets.
function!(thread_activity, |args| args::one_argument("_thread_activity", args).and_then(|asked| {
    // SAFETY: a living object.
    let asked = unsafe { PyLong_AsUnsignedLongLong(asked) };
    if asked == u64::MAX && raised() {
        return Err(Raised);
    }
    let Some(s) = find_ident(asked) else { return Ok(none()) };
    let others = s.waits.are_armed() || world(|w| w.run_count(s.id()) > 1 || w.any_blocked(s.id()));
    let keeps = bool_obj(others && !s.is_asleep());
    let (serial, switches) = (s.current().serial.get(), s.switches.get());
    // SAFETY: the format describes the arguments; N hands one over.
    check(unsafe { Py_BuildValue(c"(KKN)".as_ptr(), serial, switches, keeps) })
}));

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method_noargs("_channels", "The channels in which tasklets wait.", channels),
        types::method_noargs(
            "_channel_count",
            "The number of channels in which tasklets wait.",
            channel_count,
        ),
        types::method_noargs("_tasklet_count", "How many tasklet objects there are.", tasklet_count),
        types::method_noargs("_all_time_count", "How many tasklets were ever made.", all_time_count),
        types::method_noargs("_thread_count", "How many threads use tasklets.", thread_count),
        types::method(
            "_count_switches",
            "From now on, switches are counted, and instances of a class, if given, get their times in _start and _end.",
            count_switches,
        ),
        types::method_noargs(
            "_completed",
            "How many instances of the class given to _count_switches have ended in the calling thread.",
            completed,
        ),
        types::method(
            "_keep_ages",
            "Sets whether switches are counted and their times kept. (on)",
            keep_ages,
        ),
        types::method("_thread_activity", "What a thread's tasklets do now: (ident).", thread_activity),
        types::method(
            "_switches",
            "Switches to a tasklet since it was bound; without one, in the calling thread.",
            switches,
        ),
    ]
}
