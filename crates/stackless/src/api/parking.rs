//! Functions about parking, for the Python code of the package.

use crate::model::classes;
use crate::model::tasklet::TaskletRef;
use crate::parking::obstacle::Obstacle;
use crate::parking::park::{can_park, is_parked, park, why_never};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use pyo3_ffi::*;
use stackless_cpython as cpython;

function!(park_function, |args| tasklet_argument("_park", args).and_then(|t| {
    park(t).map_err(Obstacle::raise)?;
    entry::current()?.drop_deferred();
    Ok(none())
}));

function!(is_parked_function, |args| tasklet_argument("_is_parked", args).map(|t| bool_obj(is_parked(t))));

function!(why_not, |args| tasklet_argument("_why_not_parked", args).and_then(|t| match can_park(t) {
    Ok(()) if t.flags.get().hard => str_obj("it was started with soft switching off"),
    Ok(()) => Ok(none()),
    Err(obstacle) => str_obj(&obstacle.text()),
}));

function!(how_to_park, |args| tasklet_argument("_how_to_park", args).and_then(|t| match can_park(t) {
    Ok(()) => Ok(none()),
    Err(obstacle) => str_obj(obstacle.remedy()),
}));

unsafe extern "C" fn why_never_function(_: Obj, _: Obj) -> Obj {
    // SAFETY: the calling thread's.
    let why = unsafe { why_never(cpython::thread_state()) };
    give(why.map_or_else(|| Ok(none()), str_obj))
}

fn tasklet_argument(name: &str, args: &[Obj]) -> Res<TaskletRef> {
    let o = args::one_argument(name, args)?;
    classes::as_tasklet(o)
        .ok_or_else(|| type_error(&format!("{name}() needs a tasklet, not {}", type_name(o))))
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method("_park", "Parks a suspended tasklet: it gives back its C stack.", park_function),
        types::method("_is_parked", "True if this tasklet has no C stack at the moment.", is_parked_function),
        types::method_noargs(
            "_why_never_parked",
            "Why no tasklet can be parked, or None.",
            why_never_function,
        ),
        types::method("_why_not_parked", "Why a tasklet cannot be parked, or None.", why_not),
        types::method(
            "_how_to_park",
            "What to change so that a tasklet can be parked, or None.",
            how_to_park,
        ),
    ]
}
