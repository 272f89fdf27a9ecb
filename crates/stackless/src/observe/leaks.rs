//! Leaked tasklets: they wait on a channel that nothing else can reach, and would wait for ever.
//!
//! The garbage collector finds them, since a tasklet that could be parked shows it all references that it
//! holds. They are ended with TaskletExit, so that their `finally` blocks run, and reported once. With
//! the reports off they are destroyed without running any more.

use crate::model::primitive::Primitive;
use crate::model::settings::REPORTS;
use crate::model::tasklet::TaskletRef;
use crate::model::world::{self, world};
use crate::observe::{inspect, primitives};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::hooks;
use pyo3_ffi::*;
use stackless_core::WaitsTo;
use stackless_cpython::CodePosition;
use std::ffi::CString;

/// Issues the warning about a leaked tasklet, which is about to be ended.
pub fn report(t: TaskletRef) {
    let Some((_, waits)) = world::waits(t) else { return };
    let doing = match waits {
        WaitsTo::Send => "send",
        WaitsTo::Receive | WaitsTo::Either => "receive",
        WaitsTo::Iterate => "iterate",
    };
    let place = Primitive::waited_for(t)
        .map_or_else(|| format!("to {doing} on a channel"), |p| format!("for {}", primitives::kind(p.obj())));
    let mut text = format!(
        "leaked tasklet {}: it waits {place} that nothing else can reach, and is ended with \
         TaskletExit\nTraceback of the tasklet (most recent call last):",
        inspect::display_name(t)
    );
    let mut room = [CodePosition::NONE; 64];
    for place in inspect::places(t, &mut room).iter().rev() {
        // SAFETY: the frame keeps its code alive.
        let (function, file, line) = unsafe { inspect::resolve(place.code, place.at as u32) };
        text += &format!("\n  File \"{file}\", line {line}, in {function}");
    }
    let text = CString::new(text.replace('\0', "?")).expect("without NUL");
    // SAFETY: a category and a text.
    if unsafe { PyErr_WarnEx(PyExc_ResourceWarning, text.as_ptr(), 1) } < 0 {
        write_unraisable(t.obj());
    }
}

/// Takes a waiting tasklet out of its queue, which gives up its reference.
pub fn leave_queue(t: TaskletRef) {
    if t.blocked() {
        world(|w| w.dequeue(t.id()));
        if let Some(recorder) = hooks::recorder() {
            recorder.unlinked(t);
        }
        drop_ref(t.obj());
    }
}

function!(enable_leak_reports, |args| args::one_argument("enable_leak_reports", args)
    .and_then(|flag| types::setting(&REPORTS, flag, "enable_leak_reports")));

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method(
        "enable_leak_reports",
        "enable_leak_reports($module, flag, /)\n--\n\nWhether leaked tasklets are ended and reported; returns the old value. None only asks.\n\n\
         A tasklet is leaked when it waits on a channel that nothing else can reach. The garbage\n\
         collector ends it with TaskletExit, so that its finally blocks run, and issues a\n\
         ResourceWarning with its traceback. With flag False it is destroyed, and no code of it runs.\n\
         The setting is the process's, True at first. Raises TypeError unless flag is None, a bool or\n\
         an int.",
        enable_leak_reports,
    )]
}
