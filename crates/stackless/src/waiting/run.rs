//! `run()` and `run_n_tasklets()`, and the list of the tasklets that are inside them.

use crate::engine::departure::{Departure, leave};
use crate::engine::interrupts::{interrupt, must_raise, settled, throw_in, tick};
use crate::engine::run_limits::{Run, begin_limit, end_limit};
use crate::engine::switch::resumed;
use crate::engine::throw;
use crate::model::thread::{Moment, Sched};
use crate::model::world::{object, world};
use crate::parking::stacks::prepare;
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::ring::adopt_link;
use crate::scheduler::{entry, idle, scopes, timers};
use pyo3_ffi::*;
use stackless_core::RunLimit;
use stackless_cpython::{self as cpython, OnTicks};
use std::ptr::null_mut;
use std::time::Duration;

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
    // Infinity becomes the largest number: it is no limit.
    let time = args::time(seconds, "seconds")?.filter(|&time| time < u64::MAX).map(Duration::from_nanos);
    let limited = ticks > 0 || time.is_some();
    let ticks = if ticks > 0 { ticks as u64 } else { u64::MAX };
    let limit = limited.then_some(RunLimit { ticks, total, soft, ..RunLimit::NONE });
    let impatient = !block.is_null() && !is_true(block)?;
    Ok(Run { waits, limit, time, ignore_nesting, impatient })
}

function!(run_n_tasklets, |args| args::one_argument("run_n_tasklets", args).and_then(|n| {
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
}));

fn do_run(run: Run) -> Res<Obj> {
    let entered = entry::enter()?;
    let s = entered.s;
    s.run_limit.used.set(true);
    if run.needs_ticks() {
        // SAFETY: the GIL is held, no exception is set.
        let started =
            unsafe { cpython::start_ticks(OnTicks { tick, interrupt, settled, must_raise, throw_in }) };
        if !started {
            return Err(Raised);
        }
    }
    timers::wake_due(s, Moment::Running);
    let me = s.current();
    throw::raise_pending(me)?;
    let next = world(|w| w.payload(w.right_neighbour(me.id())));
    let alone = std::ptr::eq(next, me);
    me.set_flags(|f| f.impatient = run.impatient);
    let waits = (run.waits && s.others_may_come()) || (!run.impatient && idle::are_in_foreground(s, me));
    if alone && !waits {
        return Ok(none());
    }
    scopes::refuse(me)?;
    entered.may_switch()?;
    let next = if alone {
        Departure::Sleep
    } else {
        prepare(s, next)?;
        Departure::Switch(next)
    };
    // The ring's reference belongs to the watchdogs from here on.
    if world(|w| w.enter_run(me.id(), run.waits, run.limit)) {
        begin_limit(s, &run);
    }
    show_watchdogs(s);
    // SAFETY: nothing is owned in this frame.
    unsafe { leave(s, next) };
    let me = s.current(); // another tasklet object may have inherited the stack
    let (found, inner) = world(|w| w.leave_run(me.id()));
    if s.run_limit.on.get() && world(|w| w.timer(s.id()).is_none()) {
        end_limit(s);
    }
    for t in inner.into_iter().map(object) {
        // The run() calls of these tasklets return as well, one after the other.
        if world(|w| w.is_linked(t.id())) {
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

/// The list of watchdogs, which is kept up to date: first the tasklet that a limit wakes, or None; then the
/// tasklets in `run()`, outermost first. None before the thread's first `run()`.
pub fn shown_watchdogs(s: &'static Sched) -> Res<Obj> {
    if !s.run_limit.used.get() {
        return Ok(none());
    }
    if s.run_limit.shown.get().is_null() {
        // SAFETY: no precondition.
        s.run_limit.shown.set(check(unsafe { PyList_New(0) })?);
        show_watchdogs(s);
    }
    Ok(new_ref(s.run_limit.shown.get()))
}

/// Brings the list up to date. The running tasklet may be in no list itself, so the next tasklet to run drops what
/// the program has put into this list.
fn show_watchdogs(s: &'static Sched) {
    let list = s.run_limit.shown.get();
    if list.is_null() {
        return;
    }
    let (timer, watchdogs) = world(|w| (w.timer(s.id()), w.watchdogs(s.id())));
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
             for a worker thread do, unless they are daemons. With block=False none does: run() never\n\
             sleeps then. An uncaught exception of a tasklet is\n\
             raised here; the others stay in the queue. May be nested: the innermost call returns first.\n\n\
             timeout: the running tasklet is interrupted when it has not switched for this number of ticks; 0 for\n\
             no limit. A turn of a loop or a Python call is 5 ticks. The\n\
             interrupted tasklet is paused, and returned. seconds: the same, for a time since the\n\
             call. totaltimeout: the ticks of all tasklets count, from the call on. soft: no tasklet is\n\
             interrupted; at the next switch after the limit run() returns None. ignore_nesting:\n\
             interrupt also where C code has called back into Python. Only the outermost limit counts.\n\n\
             threadblock: when the queue is empty, wait until another thread makes a tasklet of this one\n\
             runnable, instead of returning.\n\n\
             Raises TypeError and ValueError for arguments that make no sense, RuntimeError if ticks cannot\n\
             be counted since all sys.monitoring tools are in use. (Reference, section 7.)",
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
