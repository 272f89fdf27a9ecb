//! The list of all tasklets that is printed after a fatal signal. Nothing here allocates, locks or drops anything.

use crate::model::world::{self, object, world};
use crate::observe::inspect::{self, state_text};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use pyo3_ffi::*;
use stackless_cpython::crash;

/// The maximum number of tasklets shown.
const SHOWN: usize = 500;

extern "C" fn list() {
    crash::write("\nTasklets (most recent call first):\n");
    let (mut at, mut shown) = (0, 0);
    while let Some(tid) = world(|w| w.tasklet_from(at)) {
        at = tid.index() + 1;
        let t = object(tid);
        let state = inspect::state_of(t);
        if state.is_over() {
            continue;
        }
        shown += 1;
        if shown > SHOWN {
            crash::write("\n... and more\n");
            return;
        }
        crash::write("\nTasklet ");
        crash::write_number(t.serial.get(), 10);
        crash::write(if t.is_main() { " (main): " } else { ": " });
        crash::write(state_text(state));
        if let Some((c, _)) = world::waits(t) {
            crash::write(", channel at 0x");
            crash::write_number(world(|w| w.channel_payload(c)).obj().addr() as u64, 16);
        }
        crash::write("\n");
        if let Some((ts, of)) = world::fields(t) {
            // SAFETY: the thread holds the GIL.
            unsafe { crash::write_calls(ts, of) }
        }
    }
}

// `_dump_on_crash(descriptor)`.
function!(dump_on_crash, |args| args::one_argument("_dump_on_crash", args).and_then(|descriptor| {
    // SAFETY: a living object.
    let descriptor = unsafe { PyLong_AsLong(descriptor) };
    if raised() {
        return Err(Raised);
    }
    if !crash::install(descriptor as i32, list) {
        // SAFETY: the exception type exists; errno is set.
        return check(unsafe { PyErr_SetFromErrno(PyExc_OSError) });
    }
    Ok(none())
}));

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method("_dump_on_crash", "All tasklets after a fatal signal: (descriptor).", dump_on_crash)]
}
