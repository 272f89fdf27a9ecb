//! What the engine tells the recorder, and the beginning and the end of a recording.
//!
//! The engine calls the methods of [`Recorder`], which is implemented here, where something happens. The events go
//! to an [`EventLog`]. Without a recording, nothing is done.
//!
//! Only the functions whose names begin with `describe` may run Python code.

use crate::model::channel::{Channel, ChannelRef};
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::model::thread::Sched;
use crate::model::thread::begun;
use crate::model::world::{object, world};
use crate::model::{bomb, classes};
use crate::observe::describe::shortened;
use crate::observe::describe::{Text, describe};
use crate::observe::event_log::{EventLog, Fast, number, settings};
use crate::observe::inspect;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::scheduler::hooks::Recorder;
use crate::scheduler::{entry, hooks};
use pyo3_ffi::*;
use stackless_core::{ChannelId, Direction};
use stackless_record::{CUT, Event, Flags, Kind, Recording, State};
use std::cell::RefCell;
use std::collections::HashMap;

static EVENT_LOG: Gil<RefCell<Option<EventLog>>> = Gil::new(RefCell::new(None));

/// Calls `f`, which must not run Python code, with the event log if there is one.
fn log<R>(f: impl FnOnce(&mut EventLog) -> R) -> Option<R> {
    EVENT_LOG.borrow_mut().as_mut().map(f)
}

/// True if a recording is under way.
pub fn is_on() -> bool {
    EVENT_LOG.borrow().is_some()
}

/// The recorder: puts what the engine tells into the event log, if there is one.
pub struct ToEventLog;

impl Recorder for ToEventLog {
    fn switched(&self, s: &'static Sched, next: TaskletRef) {
        if !std::ptr::eq(s.current(), next) {
            log(|log| log.switched(s, Some(next)));
        }
    }

    fn slept(&self, s: &'static Sched) {
        log(|log| log.switched(s, None));
    }

    fn woke(&self, s: &'static Sched) {
        if s.runs_next().is_some_and(|next| std::ptr::eq(next, s.current())) {
            log(|log| {
                let by = log.event(Some(s), Kind::Switch);
                log.link(s.current(), by, Flags::default());
                log.recorder.push(Event { tasklet: 0, stack: 0, other: by.tasklet, ..by });
            });
        }
    }

    fn linked(&self, t: TaskletRef) {
        log(|log| {
            let by = log.event(begun(), Kind::Link);
            let Some(owner) = t.scheduler() else { return };
            let thread = log.thread(owner);
            let new = !log.knows(t);
            if new {
                log.created(t, thread, by);
            }
            log.link(t, by, if new { Flags::CONTINUES } else { Flags::default() });
            log.met = None;
        });
    }

    fn moved(&self, t: TaskletRef) {
        log(|log| log.seen(t).in_ring = false);
        self.linked(t);
    }

    fn unlinked(&self, t: TaskletRef) {
        log(|log| {
            let by = log.event(begun(), Kind::Unlink);
            let state = inspect::state_of(t);
            log.seen(t).in_ring = false;
            let flags = Flags::of_state(state);
            log.recorder.push(Event { kind: Kind::Unlink, flags, other: number(t), ..by });
            if state.is_over() {
                log.forget(t);
            }
        });
    }

    fn gone(&self, t: TaskletRef) {
        log(|log| {
            if log.knows(t) {
                log.forget(t);
                let by = log.event(begun(), Kind::Unlink);
                let flags = Flags::of_state(State::Ended);
                log.recorder.push(Event { kind: Kind::Unlink, flags, other: number(t), ..by });
            }
        });
    }

    fn describe_sent(&self, s: &'static Sched, value: Obj) {
        let remember = |text: &Text| {
            log(|log| {
                let text = if log.values { log.text(text) } else { 0 };
                log.seen(s.current()).value = text;
            });
        };
        if value.is_null() {
            remember(&Text::None);
        } else if log(|log| log.values) == Some(true) {
            remember(&describe(value));
        } else {
            remember(&Text::Hidden);
        }
    }

    fn transferred(
        &self,
        s: &'static Sched,
        ch: ChannelRef,
        partner: TaskletRef,
        direction: Direction,
        value: Obj,
    ) {
        log(|log| {
            let event = log.event(Some(s), Kind::Transfer);
            let place = log.channel(ch, Flags::default());
            let (text, mut flags) = match direction {
                Direction::Send => (log.seen(s.current()).value, Flags::SENDS),
                Direction::Receive => (log.seen(partner).value, Flags::default()),
            };
            flags = flags.with(exception(value));
            log.recorder.push(Event { flags, other: number(partner), place, text, ..event });
            log.met = Some(partner);
        });
    }

    fn buffered(&self, s: &'static Sched, ch: ChannelRef, sender: Option<TaskletRef>, value: Obj) {
        log(|log| {
            let event = log.event(Some(s), Kind::Buffer);
            let text = log.seen(sender.unwrap_or(s.current())).value;
            let mut flags = exception(value);
            if let Some(sender) = sender {
                flags = flags.with(Flags::CONTINUES);
                log.met = Some(sender);
            }
            log.buffered(ch, text, Event { flags, other: sender.map_or(0, number), ..event });
        });
    }

    fn unbuffered(&self, s: &'static Sched, ch: ChannelRef, value: Obj) {
        log(|log| {
            let event = log.event(Some(s), Kind::Unbuffer);
            let place = log.channel(ch, Flags::default());
            let text = log.buffers.get_mut(&place).and_then(|texts| texts.pop_front()).unwrap_or(0);
            log.recorder.push(Event { flags: exception(value), place, text, ..event });
        });
    }

    fn channel_changed(&self, ch: ChannelRef) {
        log(|log| {
            let event = log.event(begun(), Kind::Channel);
            log.channel(ch, Flags::default());
            let (place, text) = log.channels[ch.id().index()];
            log.recorder.push(Event { flags: settings(ch), place, text, ..event });
        });
    }

    fn channel_gone(&self, ch: ChannelRef) {
        log(|log| {
            let known = log.channels.get_mut(ch.id().index()).map(std::mem::take);
            if let Some((place, _)) = known.filter(|(number, _)| *number != 0) {
                log.buffers.remove(&place);
                log.recorder.push(Event { kind: Kind::ChannelEnd, place, ..Event::default() });
            }
        });
    }

    fn describe_bound(&self, t: TaskletRef) {
        if log(|log| log.values) != Some(true) {
            return;
        }
        let (func, args, kwargs) = (t.func.get(), t.args.get(), t.kwargs.get());
        if func.is_null() || args.is_null() {
            return;
        }
        let kept = [t.obj(), func, args].map(new_ref);
        let name = inspect::callable_name(func);
        let shown = describe(args).into_string();
        let inside = shown.strip_prefix('(').and_then(|s| s.strip_suffix(')')).unwrap_or("…");
        let inside = inside.strip_suffix(',').unwrap_or(inside);
        let more = match (kwargs.is_null(), inside.is_empty()) {
            (true, _) => "",
            (false, true) => "…",
            (false, false) => ", …",
        };
        let given = t.given_name();
        let label = if given.is_null() {
            shortened(&format!("{name}({inside}{more})"))
        } else {
            shortened(&text_of(given).unwrap_or_default())
        };
        log(|log| {
            let event = log.event(begun(), Kind::Label);
            let Some(owner) = t.scheduler() else { return };
            let thread = log.thread(owner);
            if !log.knows(t) {
                log.created(t, thread, event);
            }
            let text = log.recorder.texts.intern(&label);
            let flags = Flags::CONTINUES;
            log.recorder.push(Event { flags, thread, other: number(t), text, ..event });
        });
        kept.into_iter().for_each(drop_ref);
    }

    fn describe_bomb(&self, bomb: Obj) -> u32 {
        let Some(values) = log(|log| log.values) else { return 0 };
        let text = if values { describe(bomb) } else { Text::Hidden };
        log(|log| log.text(&text)).unwrap_or(0)
    }

    fn thrown(&self, t: TaskletRef, text: u32) {
        log(|log| {
            let event = log.event(begun(), Kind::Throw);
            log.recorder.push(Event { other: number(t), text, ..event });
        });
    }

    fn describe_failure(&self, s: &'static Sched, exception: &[Obj; 3]) {
        let Some(values) = log(|log| log.values) else { return };
        let kind = exception[0];
        // SAFETY: a class.
        let exits = is_subclass(kind, classes::tasklet_exit());
        let text = if values && !exits { describe(exception[1]) } else { Text::Other(class_name(kind)) };
        log(|log| {
            let text = log.text(&text);
            let state = if exits { State::Killed } else { State::Failed };
            log.failing.insert(number(s.current()), (state, text));
        });
    }

    fn thread_ended(&self, s: &'static Sched) {
        log(|log| {
            log.last_thread = (std::ptr::null(), 0);
            if let Some(thread) = log.threads.remove(&std::ptr::from_ref(s)) {
                log.recorder.tick();
                log.recorder.push(Event { kind: Kind::ThreadEnd, thread, ..Event::default() });
            }
        });
    }

    fn name_of(&self, o: Obj) -> Option<String> {
        let is = |of: *mut PyTypeObject| {
            // SAFETY: living types and a living object.
            unsafe {
                PyObject_TypeCheck(o, of) != 0
                    && (*type_of(o)).tp_repr.map(|f| f as usize) == (*of).tp_repr.map(|f| f as usize)
            }
        };
        if is(classes::CHANNEL.get()) {
            // SAFETY: checked just now.
            let ch = unsafe { Channel::from(o) };
            log(|log| log.name_of_channel(ch))
        } else if is(classes::tasklet_type()) {
            // SAFETY: checked just now.
            let t = unsafe { Tasklet::from(o) };
            log(|_| format!("tasklet#{}", number(t)))
        } else {
            None
        }
    }
}

/// The flag for a value that is an exception.
fn exception(value: Obj) -> Flags {
    if !value.is_null() && bomb::is_bomb(value) { Flags::EXCEPTION } else { Flags::default() }
}

/// The running tasklet printed this.
pub fn printed(text: &str, flags: Flags) {
    log(|log| {
        let event = log.event(begun(), Kind::Output);
        log.recorder.print(Event { flags, ..event }, text);
    });
}

/// The running tasklet begins a line, calls a function, or makes a note.
pub fn reached(kind: Kind, text: &str) {
    log(|log| {
        let event = log.event(begun(), kind);
        let text = log.recorder.texts.intern(text);
        log.recorder.push(Event { text, ..event });
    });
}

/// The running tasklet returns a value from the innermost function.
pub fn describe_returned(value: Obj) {
    let Some(values) = log(|log| log.values) else { return };
    let text = if values { describe(value) } else { Text::Hidden };
    log(|log| {
        let event = log.event(begun(), Kind::Return);
        let text = log.text(&text);
        log.recorder.push(Event { text, ..event });
    });
}

// ---------------------------------------------------------------------- beginning and end

/// Begins a recording of at most `limit` events.
pub fn start(limit: usize, values: bool) -> Res<()> {
    if is_on() {
        return Err(runtime_error("a recording is under way already"));
    }
    let s = entry::current()?;
    let (sent, kept) = if values { (describe_waiting(), describe_kept()) } else { Default::default() };
    if is_on() {
        return Err(runtime_error("a recording is under way already")); // a repr has begun it
    }
    let mut new = EventLog::new(limit, values);
    new.take_stock(s, &sent, &kept);
    *EVENT_LOG.borrow_mut() = Some(new);
    hooks::set_flags(hooks::RECORDER, true);
    Ok(())
}

/// The texts of what the waiting senders send, by the tasklets' numbers.
fn describe_waiting() -> HashMap<u32, Text, Fast> {
    let all: Vec<TaskletRef> = world(|w| w.tasklets()).into_iter().map(object).collect();
    let sending = all.into_iter().filter(|t| inspect::state_of(t) == State::Sending);
    let values: Vec<(u32, Obj)> =
        sending.map(|t| (number(t), some(t.tempval.get()).map_or_else(none, new_ref))).collect();
    values
        .into_iter()
        .map(|(number, value)| {
            let text = describe(value);
            drop_ref(value);
            (number, text)
        })
        .collect()
}

/// The texts of the values in the buffers of channels.
fn describe_kept() -> HashMap<ChannelId, Vec<Text>, Fast> {
    let mut values = Vec::new();
    for cid in world(|w| w.channels_with_values()) {
        let mut these = Vec::new();
        world(|w| w.channel_payload(cid))
            .each_value(|value| these.push(some(value).map_or_else(none, new_ref)));
        values.push((cid, these));
    }
    let texts = |these: Vec<Obj>| {
        let text = |value| {
            let text = describe(value);
            drop_ref(value);
            text
        };
        these.into_iter().map(text).collect()
    };
    values.into_iter().map(|(cid, these)| (cid, texts(these))).collect()
}

/// Ends the recording. Lines in files for which `hidden` is true are left out.
pub fn stop(hidden: impl Fn(&str) -> bool) -> Res<Recording> {
    let Some(log) = take() else { return Err(runtime_error("no recording is under way")) };
    let lost = log.recorder.texts.lost + log.recorder.stacks.lost;
    let mut recording = log.recorder.finish(|code, at| {
        if code == CUT {
            return Some(stackless_record::SourceLine {
                function: "…".into(), file: String::new(), line: 0
            });
        }
        // SAFETY: the event log owned a reference to each code on its stacks, which is dropped below.
        let (function, file, line) =
            unsafe { inspect::resolve(std::ptr::with_exposed_provenance_mut(code), at) };
        (!hidden(&file)).then_some(stackless_record::SourceLine { function, file, line })
    });
    recording.lost = lost;
    log.codes.into_iter().for_each(|code| drop_ref(std::ptr::with_exposed_provenance_mut(code)));
    Ok(recording)
}

fn take() -> Option<EventLog> {
    hooks::set_flags(hooks::RECORDER, false);
    EVENT_LOG.borrow_mut().take()
}

/// Discards the recording: in a child process after a fork.
pub fn forget() {
    if let Some(log) = take() {
        log.codes.into_iter().for_each(|code| drop_ref(std::ptr::with_exposed_provenance_mut(code)));
    }
}

/// The number of events, and of dropped events.
pub fn counts() -> Option<(usize, u64)> {
    log(|log| (log.recorder.len(), log.recorder.dropped()))
}
