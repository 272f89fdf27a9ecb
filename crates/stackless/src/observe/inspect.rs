//! What people want to know of a tasklet: its state, its channel, its line, and its name.
//! Nothing here runs Python code or changes anything.

use crate::model::alt;
use crate::model::channel::ChannelRef;
use crate::model::tasklet::TaskletRef;
use crate::model::world::{fields, waits, world};
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::WaitsTo;
use stackless_cpython::{self as cpython, CodePosition};
use stackless_record::State;

/// The text for a state: one word or two.
pub fn state_text(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Runnable => "runnable",
        State::Sending => "sending",
        State::Receiving => "receiving",
        State::Iterating => "iterating",
        State::Paused => "paused",
        State::Watching => "in run()",
        State::Choosing => "in alt()",
        State::Fresh => "not started",
        State::Lost => "thread ended",
        State::Met => "about to run",
        State::Ended | State::Failed | State::Killed => "ended",
    }
}

/// What a tasklet is doing.
pub fn state_of(t: TaskletRef) -> State {
    if alt::of(t).is_some() {
        return State::Choosing;
    }
    if let Some((_, waits)) = waits(t) {
        return blocked(waits);
    }
    if t.scheduler().is_none() {
        return State::Lost;
    }
    if t.flags.get().ended {
        State::Ended
    } else if world(|w| w.in_ring(t.id())) {
        if t.is_current() { State::Running } else { State::Runnable }
    } else if t.started() {
        let watches = world(|w| w.is_watchdog(t.id()));
        if watches { State::Watching } else { State::Paused }
    } else if t.alive() || !t.func.get().is_null() {
        State::Fresh
    } else {
        State::Ended
    }
}

/// The channels in whose queues a tasklet waits, and for what in each.
pub fn all_waits(t: TaskletRef) -> Vec<(ChannelRef, WaitsTo)> {
    match alt::of(t) {
        Some(alt) => alt.entries.iter().filter_map(alt::Entry::queue).collect(),
        None => waits(t).map(|(c, waits)| (world(|w| w.channel_payload(c)), waits)).into_iter().collect(),
    }
}

/// The state of a blocked tasklet.
pub fn blocked(waits: WaitsTo) -> State {
    match waits {
        WaitsTo::Send => State::Sending,
        WaitsTo::Receive | WaitsTo::Either => State::Receiving,
        WaitsTo::Iterate => State::Iterating,
    }
}

/// The calls of a tasklet that has begun, innermost first, as many as fit: the part of `room` that
/// was filled. Empty for others, and for one that runs on another thread.
pub fn places(t: TaskletRef, room: &mut [CodePosition]) -> &mut [CodePosition] {
    let Some((ts, of)) = fields(t) else { return &mut [] };
    // SAFETY: the GIL is held.
    unsafe { cpython::positions(ts, of, room) }
}

/// The name of a variable of a tasklet's code that holds this object; empty if there is none.
pub fn variable_name(t: TaskletRef, o: Obj) -> String {
    let Some((ts, of)) = fields(t) else { return String::new() };
    // SAFETY: the GIL is held; the name is borrowed.
    let name = unsafe { cpython::variable_name(ts, of, o) };
    if name.is_null() { String::new() } else { text_of(name).unwrap_or_default() }
}

/// The name of a tasklet: that of [`name_of`], else of its outermost Python function once it has begun.
pub fn display_name(t: TaskletRef) -> String {
    let name = name_of(t);
    if !name.is_empty() {
        return name;
    }
    let mut room = vec![CodePosition::NONE; DEEPEST_NAME];
    let places = places(t, &mut room);
    match places.last() {
        // SAFETY: the frame keeps its code alive.
        Some(outermost) if places.len() < DEEPEST_NAME => unsafe { name_of_code(outermost.code) },
        _ => String::new(),
    }
}

/// The maximum number of calls among which the outermost one is looked for.
const DEEPEST_NAME: usize = 1000;

/// The name of a function by its code.
///
/// # Safety
/// `code` is a living code object.
pub unsafe fn name_of_code(code: Obj) -> String {
    // SAFETY: the caller's; the name is borrowed.
    let name = unsafe { cpython::code_names(code).0 };
    text_of(name).map_or_else(String::new, |name| short_qualified(&name))
}

/// The name of a tasklet: what it was given, or its function's name, for one that has not begun; "main" for main
/// tasklets; empty if it is not known any more.
pub fn name_of(t: TaskletRef) -> String {
    let given = t.given_name();
    if !given.is_null() {
        text_of(given).unwrap_or_default()
    } else if t.is_main() {
        "main".into()
    } else {
        callable_name(t.func.get())
    }
}

/// The code that a tasklet will begin with: borrowed, null if it is no Python function.
pub fn code_of(t: TaskletRef) -> Obj {
    let func = t.func.get();
    // SAFETY: a living object.
    if func.is_null() { func } else { unsafe { cpython::function(func) }.1 }
}

/// The name of what is called, without running Python code.
pub fn callable_name(callable: Obj) -> String {
    if callable.is_null() {
        return String::new();
    }
    // SAFETY: a living object whose type is checked; all answers are borrowed.
    unsafe {
        let (name, _) = cpython::function(callable);
        if !name.is_null() {
            text_of(name).map_or_else(String::new, |name| short_qualified(&name))
        } else if PyCFunction_Check(callable) != 0 {
            let function = callable.cast::<PyCFunctionObject>();
            let name = std::ffi::CStr::from_ptr((*(*function).m_ml).ml_name).to_string_lossy().into_owned();
            match some((*function).m_self) {
                Some(owner) if PyModule_Check(owner) == 0 => format!("{}.{name}", type_name(owner)),
                _ => name,
            }
        } else if PyType_Check(callable) != 0 {
            class_name(callable)
        } else {
            type_name(callable)
        }
    }
}

/// `outer.<locals>.inner` as `inner`.
pub fn short_qualified(name: &str) -> String {
    name.rsplit("<locals>.").next().unwrap_or_default().to_owned()
}

/// Function, file and line of a position in code.
///
/// # Safety
/// `code` is a living code object.
pub unsafe fn resolve(code: Obj, at: u32) -> (String, String, u32) {
    // SAFETY: the caller's.
    unsafe {
        let (name, file) = cpython::code_names(code);
        let text = |o: Obj| text_of(o).unwrap_or_default();
        (text(name), text(file), cpython::line_of(code, at as i32))
    }
}
