//! `sleep()`, and amounts of time as arguments.

use crate::args;
use crate::kernel::{depart, plan_departure, unlink_running};
use crate::module;
use crate::py::*;
use crate::thread;
use crate::throw;
use crate::types;
use crate::waits::{self, Moment, What};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use stackless_reactor::now;

/// Nanoseconds from a number of seconds; None for None. More than some 500 years are no limit either,
/// but still a time.
pub fn time(seconds: Obj, name: &str) -> Res<Option<u64>> {
    let Some(seconds) = some(seconds) else { return Ok(None) };
    // SAFETY: a living object.
    if unsafe { PyNumber_Check(seconds) } == 0 {
        return Err(type_error(&format!("{name} must be a number (of seconds), not {}", type_name(seconds))));
    }
    // SAFETY: a living object.
    let value = unsafe { PyFloat_AsDouble(seconds) };
    if value == -1.0 && raised() {
        return Err(Raised);
    }
    if value.is_nan() || value < 0.0 {
        return Err(raise(Exc::Value, &format!("{name} must not be negative or NaN")));
    }
    Ok(Some((value * 1e9) as u64)) // saturates
}

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

/// For so many nanoseconds.
pub fn sleep_for(time: u64, call: Pending) -> Res<Obj> {
    let entered = thread::enter()?;
    let s = entered.s;
    throw::raise_pending(s.current())?;
    if time == 0 {
        waits::look(s, Moment::Running);
        return module::do_schedule(none_borrowed(), call);
    }
    let me = s.current();
    waits::arm(s, me, What::Time, Some(now().saturating_add(time)))?;
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

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method(
        "sleep",
        "sleep($module, seconds, /)\n--\n\nLet the calling tasklet rest; the others of its thread run meanwhile. Returns None.\n\n\
         With nobody else to run, the thread sleeps. 0 lets all runnable tasklets, and those whose\n\
         time has come, have a turn. Whoever inserts or runs the tasklet wakes it before its time.\n\
         Raises ValueError if seconds is negative or NaN, TypeError if it is no number, RuntimeError\n\
         where nothing can switch.",
        sleep,
    )]
}
