//! `sleep()`: the calling tasklet waits for a time.

use crate::engine::departure::{depart, plan_departure};
use crate::engine::{schedule, throw};
use crate::model::thread::Moment;
use crate::model::wait::WaitKind;
use crate::python::args::{function, time};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::ring::unlink_running;
use crate::scheduler::{entry, timers, waits};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use stackless_reactor::{now, set_virtual};

unsafe extern "C" fn sleep(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let (call, args) = unsafe { (Pending::call(sleep as _, args, count), args::positional(args, count)) };
    give(args::one_argument("sleep", args).and_then(|seconds| do_sleep(seconds, call)))
}

fn do_sleep(seconds: Obj, call: Pending) -> Res<Obj> {
    let Some(time) = time(seconds, "the time to sleep")? else {
        return Err(type_error("sleep() needs a number of seconds, not None"));
    };
    sleep_for(time, call)
}

/// Sleeps for `time` nanoseconds; 0 lets other tasklets run.
pub fn sleep_for(time: u64, call: Pending) -> Res<Obj> {
    let entered = entry::enter()?;
    let s = entered.s;
    throw::raise_pending(s.current())?;
    if time == 0 {
        timers::wake_due(s, Moment::Running);
        return schedule::do_schedule(none_borrowed(), call);
    }
    let me = s.current();
    waits::arm(s, me, WaitKind::Time, None, Some(now().saturating_add(time)))?;
    let next = match plan_departure(entered, None) {
        Ok(next) => next,
        Err(raised) => {
            waits::disarm(me);
            return Err(raised);
        }
    };
    me.seat().pending.set(call);
    unlink_running(s);
    // SAFETY: nothing is owned in this frame.
    unsafe { depart(s, next) }
}

function!(clock, |args| {
    args::no_arguments("clock", args)?;
    // SAFETY: no precondition.
    check(unsafe { PyFloat_FromDouble(now() as f64 / 1e9) })
});

function!(set_virtual_clock, |args| {
    let at = args::one_argument("set_virtual_clock", args)?;
    set_virtual(time(at, "the time")?);
    Ok(none())
});

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "clock",
            "clock($module, /)\n--\n\nReturn the time by which the calling thread's tasklets sleep and wait, in seconds.\n\n\
             That is time.monotonic(), unless set_virtual_clock() has put another clock in its place.",
            clock,
        ),
        types::method(
            "set_virtual_clock",
            "set_virtual_clock($module, now, /)\n--\n\nFor tests: stop the clock of the calling thread's tasklets at `now`, in seconds.\n\n\
             Where the thread would sleep until a timer is due, the clock jumps to that time. None puts the\n\
             real clock back. What waits already keeps its time. Raises TypeError unless now is a number or\n\
             None, ValueError if it is negative or NaN.",
            set_virtual_clock,
        ),
        types::method(
            "sleep",
            "sleep($module, seconds, /)\n--\n\nSuspend the calling tasklet for a time; the others of its thread run meanwhile. Returns None.\n\n\
         With no other tasklet to run, the thread sleeps. 0 lets all runnable tasklets, and those whose\n\
         time has come, have a turn. insert() and run() wake the tasklet before its time.\n\
         Raises ValueError if seconds is negative or NaN, TypeError if it is no number, RuntimeError\n\
         where nothing can switch.",
            sleep,
        ),
    ]
}
