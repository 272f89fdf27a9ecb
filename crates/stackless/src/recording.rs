//! The recorder's side of the engine: what is told to it, and when.
//!
//! Every function here is called at the point where something happens, by one line of code there,
//! and does nothing while nobody records. The lists of the world are not watched one by one: a
//! switch says where the one that stops has gone, and a tasklet that turns up in a ring was put
//! there since it was last seen.
//!
//! Only the functions whose names begin with `describe` may run Python code.

use crate::bomb;
use crate::channel::{C, Channel};
use crate::describe::{self, Text, describe};
use crate::hooks;
use crate::inspect;
use crate::kernel::{object, world};
use crate::module;
use crate::py::*;
use crate::tasklet::{T, Tasklet};
use crate::thread::{self, Sched};
use pyo3_ffi::*;
use stackless_core::{Cid, Direction};
use stackless_cpython::{self as cpython, Of, Place};
use stackless_record::{CUT, Event, Flags, Kind, Recorder, Recording, State, Texts};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Deeper stacks are cut: so many of the innermost calls are kept.
const DEEPEST: usize = 200;

/// A recording that is under way.
struct Tape {
    recorder: Recorder,
    /// By the world's numbers.
    tasklets: Vec<Seen>,
    /// Their numbers, 0 for not seen yet, and labels; by the world's numbers.
    channels: Vec<(u32, u32)>,
    threads: HashMap<*const Sched, u16, Fast>,
    /// The one that was looked up last.
    last_thread: (*const Sched, u16),
    /// How many channels and threads have been seen.
    numbers: (u32, u16),
    /// The code objects on recorded stacks: owned.
    codes: HashSet<usize, Fast>,
    room: Vec<Place>,
    /// Is this the state before the recording?
    taking_stock: bool,
    /// Are values shown at all?
    values: bool,
    /// Who has left a queue in a transfer, and is not in its ring yet as far as the recording knows.
    met: Option<T>,
    /// How the tasklet that is ending in a thread ends: by which exception.
    failing: HashMap<u32, (State, u32), Fast>,
}

type Fast = rustc_hash::FxBuildHasher;

/// What the recording says of a tasklet so far.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Whom this is about: the world uses its numbers again.
    number: u32,
    in_ring: bool,
    /// The text of what it sends.
    value: u32,
}

struct Taped(RefCell<Option<Tape>>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Taped {}

static TAPE: Taped = Taped(RefCell::new(None));

/// `f` must not run Python code.
fn tape<R>(f: impl FnOnce(&mut Tape) -> R) -> Option<R> {
    TAPE.0.borrow_mut().as_mut().map(f)
}

/// Is a recording under way?
pub fn is_on() -> bool {
    TAPE.0.borrow().is_some()
}

/// The calling thread's scheduler, if it has used tasklets.
fn here() -> Option<&'static Sched> {
    let s: *const Sched = cpython::word().cast();
    // SAFETY: the word is cleared before the scheduler is freed.
    (!s.is_null()).then(|| unsafe { &*s })
}

fn number(t: T) -> u32 {
    t.serial.get() as u32
}

impl Tape {
    #[inline]
    fn text(&mut self, text: &Text) -> u32 {
        match text {
            Text::Hidden => 0,
            Text::None => Texts::NONE,
            Text::True => Texts::TRUE,
            Text::False => Texts::FALSE,
            Text::Integer(value) => self.recorder.texts.integer(*value),
            Text::Other(text) => self.recorder.texts.intern(text),
        }
    }

    /// An event of the tasklet that runs in this thread.
    fn event(&mut self, s: Option<&'static Sched>, kind: Kind) -> Event {
        self.recorder.tick();
        let Some(s) = s else { return Event { kind, ..Event::default() } };
        let thread = self.thread(s);
        let me = self.known(s.current(), thread);
        Event { kind, thread, tasklet: me, stack: self.stack(s.current()), ..Event::default() }
    }

    /// The call stack of a tasklet.
    fn stack(&mut self, t: T) -> u32 {
        let mut room = std::mem::take(&mut self.room);
        let places = inspect::places(t, &mut room[..]);
        let cut = places.len() == DEEPEST;
        let outermost = if cut { self.recorder.stacks.push(0, CUT, 0, || ()) } else { 0 };
        let stack = places.iter().rev().fold(outermost, |at, place| self.push_place(at, *place));
        self.room = room;
        stack
    }

    #[inline]
    fn push_place(&mut self, parent: u32, Place { code, at }: Place) -> u32 {
        let codes = &mut self.codes;
        self.recorder.stacks.push(parent, code.addr(), at as u32, || {
            if codes.insert(code.expose_provenance()) {
                new_ref(code);
            }
        })
    }

    fn thread(&mut self, s: &'static Sched) -> u16 {
        if std::ptr::eq(self.last_thread.0, s) {
            return self.last_thread.1;
        }
        let thread = match self.threads.get(&std::ptr::from_ref(s)) {
            Some(&known) => known,
            None => self.new_thread(s),
        };
        self.last_thread = (s, thread);
        thread
    }

    fn new_thread(&mut self, s: &'static Sched) -> u16 {
        let before = if self.taking_stock { Flags::BEFORE } else { Flags::default() };
        self.numbers.1 += 1;
        let thread = self.numbers.1;
        self.threads.insert(s, thread);
        let main = s.main();
        self.seen(main).in_ring = true;
        let text = self.recorder.texts.intern(&format!("thread {thread}"));
        self.recorder.push(Event {
            kind: Kind::Thread,
            flags: before,
            thread,
            tasklet: number(main),
            text,
            ..Event::default()
        });
        let text = self.recorder.texts.intern("main");
        let flags = before.with(Flags::CONTINUES);
        self.recorder.push(Event {
            kind: Kind::Label,
            flags,
            thread,
            other: number(main),
            text,
            ..Event::default()
        });
        thread
    }

    /// The number of a tasklet, which the recording knows from now on.
    fn known(&mut self, t: T, thread: u16) -> u32 {
        if !self.knows(t) {
            self.created(t, thread, Event::default());
        }
        number(t)
    }

    fn knows(&self, t: T) -> bool {
        self.tasklets.get(t.tid().index()).is_some_and(|seen| seen.number == number(t))
    }

    fn forget(&mut self, t: T) {
        if self.knows(t) {
            self.tasklets[t.tid().index()] = Seen::default();
        }
    }

    fn created(&mut self, t: T, thread: u16, by: Event) {
        let text = self.recorder.texts.intern(&inspect::name_of(t));
        *self.seen(t) = Seen { number: number(t), ..Seen::default() };
        let code = inspect::code_of(t);
        let place = if code.is_null() { 0 } else { self.push_place(0, Place { code, at: 0 }) };
        self.recorder.push(Event { kind: Kind::Create, thread, other: number(t), place, text, ..by });
    }

    fn seen(&mut self, t: T) -> &mut Seen {
        let at = t.tid().index();
        if at >= self.tasklets.len() {
            self.tasklets.resize(at + 1, Seen::default());
        }
        let seen = &mut self.tasklets[at];
        if seen.number != number(t) {
            *seen = Seen { number: number(t), ..Seen::default() };
        }
        seen
    }

    fn channel(&mut self, ch: C, flags: Flags) -> u32 {
        match self.channels.get(ch.cid().index()) {
            Some(&(number, _)) if number != 0 => number,
            _ => self.new_channel(ch, flags),
        }
    }

    #[cold]
    fn new_channel(&mut self, ch: C, flags: Flags) -> u32 {
        self.numbers.0 += 1;
        let number = self.numbers.0;
        // SAFETY: the calling thread's state; the name is borrowed.
        let name = unsafe { cpython::variable_name(cpython::thread_state(), Of::Running, ch.obj()) };
        let name = if name.is_null() { None } else { describe::text_of(name) };
        let text = self.recorder.texts.intern(&name.unwrap_or_default());
        let at = ch.cid().index();
        if at >= self.channels.len() {
            self.channels.resize(at + 1, (0, 0));
        }
        self.channels[at] = (number, text);
        let flags = settings(ch).with(flags);
        self.recorder.push(Event { kind: Kind::Channel, flags, place: number, text, ..Event::default() });
        number
    }

    /// Puts a tasklet that the world has in a ring, and the recording has not, there too.
    fn link(&mut self, t: T, by: Event, flags: Flags) {
        if self.seen(t).in_ring || world(|w| !w.in_ring(t.tid())) {
            return;
        }
        self.seen(t).in_ring = true;
        let right = object(world(|w| w.right_neighbour(t.tid())));
        let place = if std::ptr::eq(right, t) { 0 } else { number(right) };
        let thread = t.scheduler().map_or(by.thread, |owner| self.thread(owner));
        self.recorder.push(Event { kind: Kind::Link, flags, thread, other: number(t), place, ..by });
    }

    /// Where the running tasklet, which stops, has gone: state, channel, text.
    fn leaving(&mut self, me: T) -> (State, u32, u32) {
        if let Some((c, waits)) = inspect::waits(me) {
            let place = self.channel(world(|w| w.channel_payload(c)), Flags::default());
            let state = inspect::blocked(waits);
            return (state, place, if state == State::Sending { self.seen(me).value } else { 0 });
        }
        match inspect::state_of(me) {
            State::Running => (State::Runnable, 0, 0),
            State::Ended => {
                let (state, text) = self.failing.remove(&number(me)).unwrap_or((State::Ended, 0));
                (state, 0, text)
            }
            state => (state, 0, 0),
        }
    }

    /// Is this the second half of a transfer, with nothing between?
    fn handed_over(&mut self, me: T, next: T) -> bool {
        let beside = world(|w| w.in_ring(me.tid()) && w.right_neighbour(me.tid()) == next.tid());
        let is_that = beside && !self.seen(next).in_ring && self.recorder.hand_over(number(me), number(next));
        if is_that {
            self.seen(next).in_ring = true;
            self.met = None;
        }
        is_that
    }

    /// The running tasklet of `s` stops, and `next` goes on, or nobody.
    fn switched(&mut self, s: &'static Sched, next: Option<T>) {
        if let Some(next) = next
            && self.handed_over(s.current(), next)
        {
            return;
        }
        let event = self.event(Some(s), Kind::Switch);
        let me = s.current();
        let (state, place, text) = self.leaving(me);
        if let Some(partner) = self.met.take() {
            self.link(partner, event, Flags::CONTINUES); // a limit of run() comes between
        }
        let other = next.map_or(0, |next| {
            let thread = event.thread;
            let other = self.known(next, thread);
            self.link(next, event, Flags::default());
            other
        });
        if self.seen(me).in_ring || state == State::Runnable {
            self.link(me, event, Flags::default());
            self.seen(me).in_ring = state == State::Runnable;
            let flags = Flags::of_state(state);
            self.recorder.push(Event { flags, other, place, text, ..event });
        } else {
            // It stopped when its thread fell asleep, or was waiting to.
            self.recorder.push(Event { tasklet: 0, stack: 0, other, ..event });
        }
        if state.is_over() {
            self.forget(me);
        }
    }
}

fn settings(ch: C) -> Flags {
    let c = ch.cid();
    world(|w| Flags::of_channel(w.preference(c), w.schedule_all(c), w.closing(c)))
}

// ---------------------------------------------------------------------- what happens

/// A switch is about to happen; the world's lists agree already.
pub fn switched(s: &'static Sched, next: T) {
    if !std::ptr::eq(s.current(), next) {
        tape(|tape| tape.switched(s, Some(next)));
    }
}

/// The thread falls asleep on the running tasklet's stack.
pub fn slept(s: &'static Sched) {
    tape(|tape| tape.switched(s, None));
}

/// The thread wakes. Who goes on is told by a switch, unless it is the one it fell asleep on.
pub fn woke(s: &'static Sched) {
    if s.runs_next().is_some_and(|next| std::ptr::eq(next, s.current())) {
        tape(|tape| {
            let by = tape.event(Some(s), Kind::Switch);
            tape.link(s.current(), by, Flags::default());
            tape.recorder.push(Event { tasklet: 0, stack: 0, other: by.tasklet, ..by });
        });
    }
}

/// A tasklet was put into a ring.
pub fn linked(t: T) {
    tape(|tape| {
        let by = tape.event(here(), Kind::Link);
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

/// A tasklet of a ring has got another place in one.
pub fn moved(t: T) {
    tape(|tape| tape.seen(t).in_ring = false);
    linked(t);
}

/// A tasklet was taken out of a ring or a queue, and put nowhere.
pub fn unlinked(t: T) {
    tape(|tape| {
        let by = tape.event(here(), Kind::Unlink);
        let state = inspect::state_of(t);
        tape.seen(t).in_ring = false;
        let flags = Flags::of_state(state);
        tape.recorder.push(Event { kind: Kind::Unlink, flags, other: number(t), ..by });
        if state.is_over() {
            tape.forget(t);
        }
    });
}

/// A tasklet is gone that may never have run.
pub fn gone(t: T) {
    tape(|tape| {
        if tape.knows(t) {
            tape.forget(t);
            let by = tape.event(here(), Kind::Unlink);
            let flags = Flags::of_state(State::Ended);
            tape.recorder.push(Event { kind: Kind::Unlink, flags, other: number(t), ..by });
        }
    });
}

/// The running tasklet is about to send this value.
pub fn describe_sent(s: &'static Sched, value: Obj) {
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

/// The running tasklet meets its partner, which was taken out of the queue just now.
pub fn transferred(s: &'static Sched, ch: C, partner: T, direction: Direction, value: Obj) {
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

/// The settings of a channel were changed.
pub fn channel_changed(ch: C) {
    tape(|tape| {
        let event = tape.event(here(), Kind::Channel);
        tape.channel(ch, Flags::default());
        let (place, text) = tape.channels[ch.cid().index()];
        tape.recorder.push(Event { flags: settings(ch), place, text, ..event });
    });
}

/// A channel is no more.
pub fn channel_gone(ch: C) {
    tape(|tape| {
        let known = tape.channels.get_mut(ch.cid().index()).map(std::mem::take);
        if let Some((place, _)) = known.filter(|(number, _)| *number != 0) {
            tape.recorder.push(Event { kind: Kind::ChannelEnd, place, ..Event::default() });
        }
    });
}

/// A tasklet was bound, with arguments: its label says so.
pub fn describe_bound(t: T) {
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
    let label = describe::shortened(&format!("{name}({inside}{more})"));
    tape(|tape| {
        let event = tape.event(here(), Kind::Label);
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

/// The text of an exception that is about to be thrown, for [`thrown`].
pub fn describe_bomb(bomb: Obj) -> u32 {
    let Some(values) = tape(|tape| tape.values) else { return 0 };
    let text = if values { describe(bomb) } else { Text::Hidden };
    tape(|tape| tape.text(&text)).unwrap_or(0)
}

/// An exception is on its way into a tasklet.
pub fn thrown(t: T, text: u32) {
    tape(|tape| {
        let event = tape.event(here(), Kind::Throw);
        tape.recorder.push(Event { other: number(t), text, ..event });
    });
}

/// The running tasklet's function is left by this exception.
pub fn describe_failure(s: &'static Sched, exception: &[Obj; 3]) {
    let Some(values) = tape(|tape| tape.values) else { return };
    let kind = exception[0];
    // SAFETY: a class.
    let exits = is_subclass(kind, module::tasklet_exit());
    let text =
        if values && !exits { describe(exception[1]) } else { Text::Other(describe::class_name(kind)) };
    tape(|tape| {
        let text = tape.text(&text);
        let state = if exits { State::Killed } else { State::Failed };
        tape.failing.insert(number(s.current()), (state, text));
    });
}

/// A thread's tasklets are orphans now.
pub fn thread_ended(s: &'static Sched) {
    tape(|tape| {
        tape.last_thread = (std::ptr::null(), 0);
        if let Some(thread) = tape.threads.remove(&std::ptr::from_ref(s)) {
            tape.recorder.tick();
            tape.recorder.push(Event { kind: Kind::ThreadEnd, thread, ..Event::default() });
        }
    });
}

/// The running tasklet printed this.
pub fn printed(text: &str, flags: Flags) {
    tape(|tape| {
        let event = tape.event(here(), Kind::Output);
        tape.recorder.print(Event { flags, ..event }, text);
    });
}

/// The running tasklet begins a line, calls a function, or remarks something.
pub fn reached(kind: Kind, text: &str) {
    tape(|tape| {
        let event = tape.event(here(), kind);
        let text = tape.recorder.texts.intern(text);
        tape.recorder.push(Event { text, ..event });
    });
}

/// The running tasklet returns a value from the innermost function.
pub fn describe_returned(value: Obj) {
    let Some(values) = tape(|tape| tape.values) else { return };
    let text = if values { describe(value) } else { Text::Hidden };
    tape(|tape| {
        let event = tape.event(here(), Kind::Return);
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
    let s = thread::current()?;
    let sent = if values { describe_waiting() } else { HashMap::default() };
    if is_on() {
        return Err(runtime_error("a recording is under way already")); // a repr has begun it
    }
    let mut new = Tape {
        recorder: Recorder::new(limit),
        tasklets: Vec::new(),
        channels: Vec::new(),
        threads: HashMap::default(),
        last_thread: (std::ptr::null(), 0),
        numbers: (0, 0),
        codes: HashSet::default(),
        taking_stock: true,
        room: vec![Place::NOWHERE; DEEPEST],
        values,
        met: None,
        failing: HashMap::default(),
    };
    new.take_stock(s, &sent);
    new.taking_stock = false;
    *TAPE.0.borrow_mut() = Some(new);
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

impl Tape {
    /// Writes down how everything stands.
    fn take_stock(&mut self, me: &'static Sched, sent: &HashMap<u32, Text, Fast>) {
        let before = Event { flags: Flags::BEFORE, ..Event::default() };
        self.thread(me);
        let all: Vec<T> = world(|w| w.tasklets()).into_iter().map(object).collect();
        let mut channels = Vec::new();
        for &t in &all {
            let Some(s) = t.scheduler() else { continue };
            let thread = self.thread(s);
            let state = inspect::state_of(t);
            if state.is_over() || (state == State::Fresh && !t.alive()) {
                continue;
            }
            if !t.is_main() {
                self.created(t, thread, before);
            }
            if t.started() {
                let stack = self.stack(t);
                self.recorder.push(Event { kind: Kind::Line, thread, tasklet: number(t), stack, ..before });
            }
            match inspect::waits(t) {
                Some((cid, _)) if !channels.contains(&cid) => channels.push(cid),
                Some(_) => {}
                None if world(|w| w.in_ring(t.tid())) => {}
                None if state == State::Fresh => {}
                None => {
                    let flags = before.flags.with(Flags::of_state(state));
                    self.seen(t).in_ring = false;
                    self.recorder.push(Event {
                        kind: Kind::Unlink,
                        flags,
                        thread,
                        other: number(t),
                        ..before
                    });
                }
            }
        }
        self.take_stock_of_rings(before);
        for cid in channels {
            self.take_stock_of_queue(cid, before, sent);
        }
    }

    fn take_stock_of_rings(&mut self, before: Event) {
        let threads: Vec<_> = self.threads.iter().map(|(&s, &number)| (s, number)).collect();
        for (s, thread) in threads {
            // SAFETY: a scheduler that was found just now.
            let Some(head) = (unsafe { &*s }).runs_next() else {
                self.recorder.push(Event { kind: Kind::Switch, thread, ..before });
                continue;
            };
            let mut t = head;
            loop {
                self.seen(t).in_ring = true;
                self.recorder.push(Event { kind: Kind::Link, thread, other: number(t), ..before });
                t = object(world(|w| w.right_neighbour(t.tid())));
                if std::ptr::eq(t, head) {
                    break;
                }
            }
            self.recorder.push(Event { kind: Kind::Switch, thread, other: number(head), ..before });
        }
    }

    fn take_stock_of_queue(&mut self, cid: Cid, before: Event, sent: &HashMap<u32, Text, Fast>) {
        let place = self.channel(world(|w| w.channel_payload(cid)), Flags::BEFORE);
        let mut at = world(|w| w.first_waiting(cid));
        while let Some(tid) = at {
            let t = object(tid);
            let text = sent.get(&number(t)).map_or(0, |text| self.text(text));
            let seen = self.seen(t);
            (seen.in_ring, seen.value) = (false, text);
            let thread = t.scheduler().map_or(0, |owner| self.thread(owner));
            let flags = before.flags.with(Flags::of_state(inspect::state_of(t)));
            self.recorder.push(Event {
                kind: Kind::Unlink,
                flags,
                thread,
                other: number(t),
                place,
                text,
                ..before
            });
            at = world(|w| w.next(tid));
        }
    }
}

/// Ends the recording. Places in the files for which `hidden` says so are left out.
pub fn stop(hidden: impl Fn(&str) -> bool) -> Res<Recording> {
    let Some(tape) = take() else { return Err(runtime_error("no recording is under way")) };
    let lost = tape.recorder.texts.lost + tape.recorder.stacks.lost;
    let mut recording = tape.recorder.finish(|code, at| {
        if code == CUT {
            return Some(stackless_record::Place { function: "…".into(), file: String::new(), line: 0 });
        }
        // SAFETY: the tape owned a reference to each code on its stacks, which is dropped below.
        let (function, file, line) =
            unsafe { inspect::resolve(std::ptr::with_exposed_provenance_mut(code), at) };
        (!hidden(&file)).then_some(stackless_record::Place { function, file, line })
    });
    recording.lost = lost;
    tape.codes.into_iter().for_each(|code| drop_ref(std::ptr::with_exposed_provenance_mut(code)));
    Ok(recording)
}

fn take() -> Option<Tape> {
    hooks::watch(hooks::RECORDER, false);
    TAPE.0.borrow_mut().take()
}

/// Forgets the recording: in a child process after a fork.
pub fn forget() {
    if let Some(tape) = take() {
        tape.codes.into_iter().for_each(|code| drop_ref(std::ptr::with_exposed_provenance_mut(code)));
    }
}

/// What a recording calls a channel or a tasklet that has no repr of its own; None for other objects,
/// and without a recording.
pub fn name_of(o: Obj) -> Option<String> {
    let is = |of: *mut PyTypeObject| {
        // SAFETY: living types and a living object.
        unsafe {
            PyObject_TypeCheck(o, of) != 0
                && (*type_of(o)).tp_repr.map(|f| f as usize) == (*of).tp_repr.map(|f| f as usize)
        }
    };
    if is(module::CHANNEL.get()) {
        // SAFETY: checked just now.
        let ch = unsafe { Channel::from(o) };
        tape(|tape| {
            let number = tape.channel(ch, Flags::default());
            let label = tape.recorder.texts.get(tape.channels[ch.cid().index()].1);
            format!("{}#{number}", if label.is_empty() { "channel" } else { label })
        })
    } else if is(module::tasklet_type()) {
        // SAFETY: checked just now.
        let t = unsafe { Tasklet::from(o) };
        tape(|_| format!("tasklet#{}", number(t)))
    } else {
        None
    }
}

/// How many events there are, and how many were dropped.
pub fn counts() -> Option<(usize, u64)> {
    tape(|tape| (tape.recorder.len(), tape.recorder.dropped()))
}
