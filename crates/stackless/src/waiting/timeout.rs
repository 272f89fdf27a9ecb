//! The functions behind `with stackless.timeout()`; [`crate::scheduler::limits`] has the rules.

use crate::engine::throw;
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use crate::scheduler::limits::{TIMEOUT_EXIT, start, stop};
use pyo3_ffi::*;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;

function!(limit_start, |args| {
    let [owner, seconds] = args else { return Err(type_error("an owner and seconds are required")) };
    args::time(*seconds, "seconds").and_then(|time| {
        throw::raise_pending(entry::current()?.current())?;
        let Some(time) = time else { return Ok(none()) };
        start(*owner, time).map(|number| int_obj(number as i64))
    })
});

function!(limit_stop, |args| args::one_argument("_limit_stop", args).and_then(|number| {
    // SAFETY: a living object.
    let number = unsafe { PyLong_AsSize_t(number) };
    if number == usize::MAX && raised() {
        return Err(Raised);
    }
    stop(number);
    Ok(none())
}));

/// Makes `stackless.TimeoutExit`, and puts it into the module.
pub fn ready(module: Obj) -> Res<()> {
    let doc = forever(
        "Raised inside a `with stackless.timeout()` block whose time is over; the block turns it into\n\
         TimeoutError. A BaseException, so that `except Exception` in between does not stop it.",
    );
    // SAFETY: a living class; the reference is kept for ever.
    unsafe {
        let made = check(PyErr_NewExceptionWithDoc(
            c"stackless.TimeoutExit".as_ptr(),
            doc,
            PyExc_BaseException,
            null_mut(),
        ))?;
        TIMEOUT_EXIT.store(made, Relaxed);
        types::add_object(module, c"TimeoutExit", made)
    }
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method("_limit_start", "Begins a limit over the running tasklet.", limit_start),
        types::method("_limit_stop", "Ends a limit.", limit_stop),
    ]
}
