//! The recorder's side of the engine: what is told to it, and when.
//!
//! Every function here is called at the point where something happens, by one line of code there,
//! and does nothing while nobody records. The lists of the world are not watched one by one: a
//! switch says where the one that stops has gone, and a tasklet that turns up in a ring was put
//! there since it was last seen.
//!
//! Only the functions whose names begin with `describe` may run Python code.

use crate::model::channel::{C, Channel};
use crate::model::tasklet::{T, Tasklet};
use crate::model::thread::Sched;
use crate::model::thread::begun;
use crate::model::world::{object, world};
use crate::model::{bomb, classes};
use crate::observe::describe::shortened;
use crate::observe::describe::{Text, describe};
use crate::observe::event_log::{Fast, Tape, number, settings};
use crate::observe::inspect;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::scheduler::hooks::Recorder;
use crate::scheduler::{entry, hooks};
use pyo3_ffi::*;
use stackless_core::Direction;
use stackless_record::{CUT, Event, Flags, Kind, Recording, State};
use std::cell::RefCell;
use std::collections::HashMap;

static TAPE: Gil<RefCell<Option<Tape>>> = Gil::new(RefCell::new(None));

/// `f` must not run Python code.
fn tape<R>(f: impl FnOnce(&mut Tape) -> R) -> Option<R> {
    TAPE.borrow_mut().as_mut().map(f)
}

/// Is a recording under way?
pub fn is_on() -> bool {
    TAPE.borrow().is_some()
}

/// What the engine tells goes to the tape, while there is one.
pub struct ToTape;

impl Recorder for ToTape {
    fn switched(&self, s: &'static Sched, next: T) {
        if !std::ptr::eq(s.current(), next) {
            tape(|tape| tape.switched(s, Some(next)));
        }
    }

    fn slept(&self, s: &'static Sched) {
        tape(|tape| tape.switched(s, None));
    }

    fn woke(&self, s: &'static Sched) {
        if s.runs_next().is_some_and(|next| std::ptr::eq(next, s.current())) {
            tape(|tape| {
                let by = tape.event(Some(s), Kind::Switch);
                tape.link(s.current(), by, Flags::default());
                tape.recorder.push(Event { tasklet: 0, stack: 0, other: by.tasklet, ..by });
            });
        }
    }

    fn linked(&self, t: T) {
        tape(|tape| {
            let by = tape.event(begun(), Kind::Link);
            let Some(owner) = t.scheduler() else { return };
            let thread = tape.thread(owner);
            let new = !tape.knows(t);
            if new {
                tape.created(t, thread, by);
            }
            tape.link(t, by, if new { Flags::CONTINUES } else { Flags::default() });
            tape.met = None;
        });
    }

    fn moved(&self, t: T) {
        tape(|tape| tape.seen(t).in_ring = false);
        self.linked(t);
    }

    fn unlinked(&self, t: T) {
        tape(|tape| {
            let by = tape.event(begun(), Kind::Unlink);
            let state = inspect::state_of(t);
            tape.seen(t).in_ring = false;
            let flags = Flags::of_state(state);
            tape.recorder.push(Event { kind: Kind::Unlink, flags, other: number(t), ..by });
            if state.is_over() {
                tape.forget(t);
            }
        });
    }

    fn gone(&self, t: T) {
        tape(|tape| {
            if tape.knows(t) {
                tape.forget(t);
                let by = tape.event(begun(), Kind::Unlink);
                let flags = Flags::of_state(State::Ended);
                tape.recorder.push(Event { kind: Kind::Unlink, flags, other: number(t), ..by });
            }
        });
    }

    fn describe_sent(&self, s: &'static Sched, value: Obj) {
        let remember = |text: &Text| {
            tape(|tape| {
                let text = if tape.values { tape.text(text) } else { 0 };
                tape.seen(s.current()).value = text;
            });
        };
        if value.is_null() {
            remember(&Text::None);
        } else if tape(|tape| tape.values) == Some(true) {
            remember(&describe(value));
        } else {
            remember(&Text::Hidden);
        }
    }

    fn transferred(&self, s: &'static Sched, ch: C, partner: T, direction: Direction, value: Obj) {
        tape(|tape| {
            let event = tape.event(Some(s), Kind::Transfer);
            let place = tape.channel(ch, Flags::default());
            let (text, mut flags) = match direction {
                Direction::Send => (tape.seen(s.current()).value, Flags::SENDS),
                Direction::Receive => (tape.seen(partner).value, Flags::default()),
            };
            if !value.is_null() && bomb::is_bomb(value) {
                flags = flags.with(Flags::EXCEPTION);
            }
            tape.recorder.push(Event { flags, other: number(partner), place, text, ..event });
            tape.met = Some(partner);
        });
    }

    fn channel_changed(&self, ch: C) {
        tape(|tape| {
            let event = tape.event(begun(), Kind::Channel);
            tape.channel(ch, Flags::default());
            let (place, text) = tape.channels[ch.cid().index()];
            tape.recorder.push(Event { flags: settings(ch), place, text, ..event });
        });
    }

    fn channel_gone(&self, ch: C) {
        tape(|tape| {
            let known = tape.channels.get_mut(ch.cid().index()).map(std::mem::take);
            if let Some((place, _)) = known.filter(|(number, _)| *number != 0) {
                tape.recorder.push(Event { kind: Kind::ChannelEnd, place, ..Event::default() });
            }
        });
    }

    fn describe_bound(&self, t: T) {
        if tape(|tape| tape.values) != Some(true) {
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
        let label = shortened(&format!("{name}({inside}{more})"));
        tape(|tape| {
            let event = tape.event(begun(), Kind::Label);
            let Some(owner) = t.scheduler() else { return };
            let thread = tape.thread(owner);
            if !tape.knows(t) {
                tape.created(t, thread, event);
            }
            let text = tape.recorder.texts.intern(&label);
            let flags = Flags::CONTINUES;
            tape.recorder.push(Event { flags, thread, other: number(t), text, ..event });
        });
        kept.into_iter().for_each(drop_ref);
    }

    fn describe_bomb(&self, bomb: Obj) -> u32 {
        let Some(values) = tape(|tape| tape.values) else { return 0 };
        let text = if values { describe(bomb) } else { Text::Hidden };
        tape(|tape| tape.text(&text)).unwrap_or(0)
    }

    fn thrown(&self, t: T, text: u32) {
        tape(|tape| {
            let event = tape.event(begun(), Kind::Throw);
            tape.recorder.push(Event { other: number(t), text, ..event });
        });
    }

    fn describe_failure(&self, s: &'static Sched, exception: &[Obj; 3]) {
        let Some(values) = tape(|tape| tape.values) else { return };
        let kind = exception[0];
        // SAFETY: a class.
        let exits = is_subclass(kind, classes::tasklet_exit());
        let text = if values && !exits { describe(exception[1]) } else { Text::Other(class_name(kind)) };
        tape(|tape| {
            let text = tape.text(&text);
            let state = if exits { State::Killed } else { State::Failed };
            tape.failing.insert(number(s.current()), (state, text));
        });
    }

    fn thread_ended(&self, s: &'static Sched) {
        tape(|tape| {
            tape.last_thread = (std::ptr::null(), 0);
            if let Some(thread) = tape.threads.remove(&std::ptr::from_ref(s)) {
                tape.recorder.tick();
                tape.recorder.push(Event { kind: Kind::ThreadEnd, thread, ..Event::default() });
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
            tape(|tape| {
                let number = tape.channel(ch, Flags::default());
                let label = tape.recorder.texts.get(tape.channels[ch.cid().index()].1);
                format!("{}#{number}", if label.is_empty() { "channel" } else { label })
            })
        } else if is(classes::tasklet_type()) {
            // SAFETY: checked just now.
            let t = unsafe { Tasklet::from(o) };
            tape(|_| format!("tasklet#{}", number(t)))
        } else {
            None
        }
    }
}

/// The running tasklet printed this.
pub fn printed(text: &str, flags: Flags) {
    tape(|tape| {
        let event = tape.event(begun(), Kind::Output);
        tape.recorder.print(Event { flags, ..event }, text);
    });
}

/// The running tasklet begins a line, calls a function, or remarks something.
pub fn reached(kind: Kind, text: &str) {
    tape(|tape| {
        let event = tape.event(begun(), kind);
        let text = tape.recorder.texts.intern(text);
        tape.recorder.push(Event { text, ..event });
    });
}

/// The running tasklet returns a value from the innermost function.
pub fn describe_returned(value: Obj) {
    let Some(values) = tape(|tape| tape.values) else { return };
    let text = if values { describe(value) } else { Text::Hidden };
    tape(|tape| {
        let event = tape.event(begun(), Kind::Return);
        let text = tape.text(&text);
        tape.recorder.push(Event { text, ..event });
    });
}

// ---------------------------------------------------------------------- beginning and end

/// Begins a recording of at most `limit` events.
pub fn start(limit: usize, values: bool) -> Res<()> {
    if is_on() {
        return Err(runtime_error("a recording is under way already"));
    }
    let s = entry::current()?;
    let sent = if values { describe_waiting() } else { HashMap::default() };
    if is_on() {
        return Err(runtime_error("a recording is under way already")); // a repr has begun it
    }
    let mut new = Tape::new(limit, values);
    new.take_stock(s, &sent);
    *TAPE.borrow_mut() = Some(new);
    hooks::watch(hooks::RECORDER, true);
    Ok(())
}

/// What the senders that wait are sending.
fn describe_waiting() -> HashMap<u32, Text, Fast> {
    let all: Vec<T> = world(|w| w.tasklets()).into_iter().map(object).collect();
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

/// Ends the recording. Places in the files for which `hidden` says so are left out.
pub fn stop(hidden: impl Fn(&str) -> bool) -> Res<Recording> {
    let Some(tape) = take() else { return Err(runtime_error("no recording is under way")) };
    let lost = tape.recorder.texts.lost + tape.recorder.stacks.lost;
    let mut recording = tape.recorder.finish(|code, at| {
        if code == CUT {
            return Some(stackless_record::SourceLine {
                function: "…".into(), file: String::new(), line: 0
            });
        }
        // SAFETY: the tape owned a reference to each code on its stacks, which is dropped below.
        let (function, file, line) =
            unsafe { inspect::resolve(std::ptr::with_exposed_provenance_mut(code), at) };
        (!hidden(&file)).then_some(stackless_record::SourceLine { function, file, line })
    });
    recording.lost = lost;
    tape.codes.into_iter().for_each(|code| drop_ref(std::ptr::with_exposed_provenance_mut(code)));
    Ok(recording)
}

fn take() -> Option<Tape> {
    hooks::watch(hooks::RECORDER, false);
    TAPE.borrow_mut().take()
}

/// Forgets the recording: in a child process after a fork.
pub fn forget() {
    if let Some(tape) = take() {
        tape.codes.into_iter().for_each(|code| drop_ref(std::ptr::with_exposed_provenance_mut(code)));
    }
}

/// How many events there are, and how many were dropped.
pub fn counts() -> Option<(usize, u64)> {
    tape(|tape| (tape.recorder.len(), tape.recorder.dropped()))
}
