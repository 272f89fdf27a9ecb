//! A snapshot of all tasklets, as data in slices; and the reprs of tasklets and channels.
//!
//! Nothing here runs Python code or makes Python objects while it looks, so that nothing changes
//! meanwhile. The public functions are in the package, in `stackless.explain`.

use crate::model::channel::{Channel, ChannelRef};
use crate::model::primitive::Primitive;
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::model::world::{self, object, world};
use crate::observe::reasons::{self, Reason};
use crate::observe::{counts, inspect};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, objects, types};
use crate::scheduler::idle;
use pyo3_ffi::*;
use serde::Serialize;
use stackless_cpython::CodePosition;
use stackless_record::State;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The maximum number of calls shown: of deeper stacks the innermost ones.
const SHOWN: usize = 100;

/// The maximum number of calls looked at: of deeper stacks the tasklet's function is not looked for.
const DEEPEST: usize = 1000;

/// File, line, function.
type CallLine = (String, u32, String);

/// Some of the tasklets. Stacks and channels are given by their indices in the lists.
#[derive(Serialize, Default)]
struct Slice {
    /// Where the next slice begins; None after the last one.
    next: Option<usize>,
    /// The number of tasklet objects.
    objects: usize,
    tasklets: Vec<Row>,
    /// The calls, innermost first; and true if these are all of them.
    stacks: Vec<(Vec<CallLine>, bool)>,
    channels: Vec<Waited>,
}

#[derive(Serialize)]
struct Row {
    serial: u64,
    name: String,
    thread: u64,
    state: &'static str,
    detail: String,
    started: bool,
    channel: Option<usize>,
    stack: usize,
    switches: u64,
    /// Seconds since it last began or stopped to run, if that is known.
    age: Option<f64>,
}

#[derive(Serialize)]
struct Waited {
    address: usize,
    name: String,
    balance: i32,
    closing: bool,
    capacity: u32,
}

/// Collects one slice.
struct Collector {
    slice: Slice,
    stacks: HashMap<Vec<(usize, i32)>, usize>,
    channels: HashMap<usize, usize>,
    room: Vec<CodePosition>,
}

impl Collector {
    fn add(&mut self, t: TaskletRef, now: u64) {
        let state = inspect::state_of(t);
        if !t.is_owned() || (state.is_over() && state != State::Lost) {
            return;
        }
        let mut name = inspect::name_of(t);
        let stack = self.stack(t, &mut name);
        let reason = Reason::of(t);
        let shown = state.is_blocked()
            && reasons::joined(t).is_none()
            && reasons::joined_group(t).is_none()
            && Primitive::waited_for(t).is_none();
        let channel = world::waits(t).filter(|_| shown);
        let channel = channel.map(|(c, _)| self.channel(t, world(|w| w.channel_payload(c))));
        self.slice.tasklets.push(Row {
            serial: t.serial.get(),
            name,
            thread: t.scheduler().map_or(0, |s| s.ident()),
            state: reason.state,
            detail: reason.detail,
            started: t.started(),
            channel,
            stack,
            switches: t.switches.get(),
            age: counts::age(t, now),
        });
    }

    /// The index of the tasklet's stack, which gives the tasklet a name if it has none.
    fn stack(&mut self, t: TaskletRef, name: &mut String) -> usize {
        let mut room = std::mem::take(&mut self.room);
        let mut places = &*inspect::places(t, &mut room[..]);
        let whole = places.len() < DEEPEST;
        let begins;
        if !t.started() && !inspect::code_of(t).is_null() {
            begins = [CodePosition { code: inspect::code_of(t), at: 0 }];
            places = &begins;
        }
        if let Some(outermost) = places.last().filter(|_| whole && name.is_empty()) {
            // SAFETY: the frame keeps its code alive.
            *name = unsafe { inspect::name_of_code(outermost.code) };
        }
        let shown = &places[..places.len().min(SHOWN)];
        let key: Vec<_> = shown.iter().map(|place| (place.code.addr(), place.at)).collect();
        let number = *self.stacks.entry(key).or_insert_with(|| {
            let calls = shown.iter().map(call).collect();
            self.slice.stacks.push((calls, shown.len() == places.len()));
            self.slice.stacks.len() - 1
        });
        self.room = room;
        number
    }

    fn channel(&mut self, waiter: TaskletRef, ch: ChannelRef) -> usize {
        *self.channels.entry(ch.obj().addr()).or_insert_with(|| {
            let c = ch.id();
            self.slice.channels.push(Waited {
                address: ch.obj().addr(),
                name: inspect::variable_name(waiter, ch.obj()),
                balance: world(|w| w.balance(c)),
                closing: world(|w| w.closing(c)),
                capacity: world(|w| w.capacity(c)),
            });
            self.slice.channels.len() - 1
        })
    }
}

fn call(place: &CodePosition) -> CallLine {
    // SAFETY: the frame, or the function, keeps its code alive.
    let (function, file, line) = unsafe { inspect::resolve(place.code, place.at as u32) };
    (file, line, function)
}

/// The tasklets from index `start` on, as many as can be looked at in this time.
fn slice(start: usize, time: Duration) -> Slice {
    let begun = Instant::now();
    let now = counts::time();
    let mut seen = Collector {
        slice: Slice { objects: world(|w| w.tasklet_count()), ..Slice::default() },
        stacks: HashMap::new(),
        channels: HashMap::new(),
        room: vec![CodePosition::NONE; DEEPEST],
    };
    let mut at = start;
    while let Some(t) = world(|w| w.tasklet_from(at)) {
        if at > start && begun.elapsed() >= time {
            seen.slice.next = Some(at);
            break;
        }
        seen.add(object(t), now);
        at = t.index() + 1;
    }
    seen.slice
}

// ---------------------------------------------------------------------- functions

/// `_explain_slice(start, seconds)`: JSON.
unsafe extern "C" fn explain_slice(_: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let args = unsafe { args::positional(args, count) };
    let &[start, seconds] = args else {
        let Raised = type_error("exactly 2 arguments are required");
        return std::ptr::null_mut();
    };
    // SAFETY: living objects.
    let (start, seconds) = unsafe { (PyLong_AsSsize_t(start), PyFloat_AsDouble(seconds)) };
    if raised() {
        return std::ptr::null_mut();
    }
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let slice = slice(start.max(0) as usize, time);
    let json = serde_json::to_vec(&slice).expect("texts and numbers have a JSON form");
    give(bytes_obj(&json))
}

// `_explain_servant(on)`: from now on the calling thread only answers questions, or no thread does.
function!(explain_servant, |args| args::one_argument("_explain_servant", args).and_then(|on| {
    idle::set_servant(is_true(on)?);
    Ok(none())
}));

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method("_explain_slice", "Some tasklets, as JSON: (start, seconds).", explain_slice),
        types::method(
            "_explain_servant",
            "This thread wakes no tasklet: it does not prevent deadlock errors.",
            explain_servant,
        ),
    ]
}

// ---------------------------------------------------------------------- reprs

/// The default repr with more text before its end.
///
/// # Safety
/// `o` is a living object.
unsafe fn default_with(o: Obj, more: &str) -> Obj {
    // SAFETY: the caller's; the base class has a repr, which looks at the type alone.
    let text = unsafe {
        let plain = (PyBaseObject_Type.tp_repr.expect("object has a repr"))(o);
        if plain.is_null() {
            return plain;
        }
        let text = objects::text_of(plain).unwrap_or_default();
        drop_ref(plain);
        text
    };
    let text = format!("{}: {more}>", text.strip_suffix('>').unwrap_or(&text));
    give(str_obj(&text))
}

/// `repr(tasklet)`.
pub unsafe extern "C" fn tasklet_repr(o: Obj) -> Obj {
    // SAFETY: a slot of a tasklet.
    let t = unsafe { Tasklet::from(o) };
    let state = inspect::state_of(t);
    let what = match state {
        State::Ended => "nothing to run".to_owned(),
        State::Runnable if !t.started() => "runnable, not started".to_owned(),
        _ => reasons::short(t),
    };
    let name = if state.is_over() { String::new() } else { inspect::display_name(t) };
    let more = if name.is_empty() { what } else { format!("{name}, {what}") };
    // SAFETY: as above.
    unsafe { default_with(o, &more) }
}

/// `repr(channel)`.
pub unsafe extern "C" fn channel_repr(o: Obj) -> Obj {
    // SAFETY: a slot of a channel.
    let c = unsafe { Channel::from(o) }.id();
    let (capacity, buffered, closing) = world(|w| (w.capacity(c), w.buffered(c), w.closing(c)));
    let balance = world(|w| w.balance(c));
    let waiting = match balance - buffered as i32 {
        0 if world(|w| w.either(c)).is_some() => "1 sending or receiving".to_owned(),
        0 if capacity > 0 => String::new(),
        0 => "no tasklet waits".to_owned(),
        n @ 1.. => format!("{n} sending"),
        n => format!("{} receiving", -n),
    };
    let mut more = if capacity > 0 { format!("{buffered} of {capacity} buffered") } else { String::new() };
    if !more.is_empty() && !waiting.is_empty() {
        more.push_str(", ");
    }
    more.push_str(&waiting);
    if closing {
        more.push_str(if world(|w| w.is_idle(c)) { ", closed" } else { ", closing" });
    }
    // SAFETY: as above.
    unsafe { default_with(o, &more) }
}
