//! `tasklet.join()`: waiting for the end of a tasklet. [`crate::engine::outcome`] has what it returns.

use crate::engine::outcome::outcome;
use crate::engine::{throw, transfer};
use crate::model::channel::{self, Channel};
use crate::model::classes;
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use pyo3_ffi::*;
use stackless_cpython::Pending;

unsafe extern "C" fn join(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    let (t, given) = unsafe { (Tasklet::from(o), args::named("join", ["timeout"], args, count, names)) };
    let call = Pending::call(join as _, args, args::arguments(count, names));
    give(given.and_then(|[timeout]| do_join(t, timeout, call)))
}

fn do_join(t: TaskletRef, timeout: Obj, call: Pending) -> Res<Obj> {
    let time = args::time(timeout, "timeout")?;
    throw::raise_pending(entry::enter()?.s.current())?;
    if t.is_main() {
        return Err(runtime_error("cannot join a main tasklet: it ends with its thread"));
    }
    if t.is_current() && !t.flags.get().ended {
        return Err(runtime_error("cannot join the current tasklet"));
    }
    if !t.alive() {
        return outcome(t);
    }
    let ch = match channel::of_end(t) {
        Some(ch) => ch,
        None => {
            // SAFETY: a type; the reference goes into the cell.
            let made = check(unsafe { PyObject_CallNoArgs(classes::CHANNEL.get().cast()) })?;
            if !t.alive() || channel::of_end(t).is_some() {
                drop_ref(made); // making it ran Python code
                return do_join(t, timeout, call);
            }
            channel::set_end(t, made);
            // SAFETY: a channel was just made.
            unsafe { Channel::from(made) }
        }
    };
    t.set_flags(|f| f.keeps_result = true);
    transfer::await_end(ch, time, call)
}

unsafe extern "C" fn keep_result(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a tasklet.
    unsafe { Tasklet::from(o) }.set_flags(|f| f.keeps_result = true);
    none()
}

pub fn methods() -> Vec<PyMethodDef> {
    vec![
        types::method_keywords(
            "join",
            "join($self, /, timeout=None)\n--\n\nWait until this tasklet has ended; return what its function returned.\n\n\
             An exception that its function did not catch is raised here, in all tasklets that wait in\n\
             join(), and nowhere else. A killed tasklet gives None, and so does one that had ended before the first\n\
             join(), unless run_tasklet() started it. If its exception went elsewhere since no tasklet\n\
             waited, that is a RuntimeError. timeout: seconds, None for no limit; TimeoutError is raised\n\
             when they are over. Works from any thread. Raises RuntimeError for the current tasklet, for\n\
             main ones, and where no tasklet is left that could end it (deadlock).",
            join,
        ),
        types::method_noargs("_keep_result", "Its result is kept for join().", keep_result),
    ]
}
