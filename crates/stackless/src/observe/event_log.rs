//! A recording that is under way: its events, and what they have said so far of tasklets, channels
//! and threads. [`crate::observe::recording`] owns it, and calls it when something happens.
//!
//! Nothing here runs Python code.

use crate::model::alt::{self, Alt};
use crate::model::channel::ChannelRef;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::wait::IoDirection;
use crate::model::world::{self, object, world};
use crate::observe::describe::Text;
use crate::observe::{inspect, reasons};
use crate::python::objects::{new_ref, text_of};
use stackless_core::ChannelId;
use stackless_cpython::{self as cpython, CodePosition, Of};
use stackless_record::{CUT, Event, Flags, Kind, Recorder, State, Texts};
use std::collections::{HashMap, HashSet, VecDeque};

/// The maximum depth of a recorded stack: of deeper ones the innermost calls are kept.
const DEEPEST: usize = 200;

/// A recording that is under way.
pub struct EventLog {
    pub recorder: Recorder,
    /// What is known of tasklets, by the world's index.
    tasklets: Vec<Known>,
    /// The channels' numbers in the recording, 0 if not seen yet, and labels; by the world's index.
    pub channels: Vec<(u32, u32)>,
    pub threads: HashMap<*const Sched, u16, Fast>,
    /// The thread that was looked up last, and its number.
    pub last_thread: (*const Sched, u16),
    /// The texts of the values in the buffers of channels, by the channels' numbers.
    pub buffers: HashMap<u32, VecDeque<u32>, Fast>,
    /// The number of channels and of threads seen.
    numbers: (u32, u16),
    /// The code objects on recorded stacks: owned.
    pub codes: HashSet<usize, Fast>,
    room: Vec<CodePosition>,
    /// True while the state before the recording is written.
    taking_stock: bool,
    /// True if values are shown.
    pub values: bool,
    /// The tasklet that has left a queue in a transfer, and is not in its ring yet as far as the recording knows.
    pub met: Option<TaskletRef>,
    /// How the tasklet that is ending in a thread ends: the exception.
    pub failing: HashMap<u32, (State, u32), Fast>,
}

pub type Fast = rustc_hash::FxBuildHasher;

/// What the recording has said of a tasklet so far.
#[derive(Clone, Copy, Default)]
pub struct Known {
    /// The tasklet's serial number: the world uses its indices again.
    pub number: u32,
    pub in_ring: bool,
    /// The text of what it sends.
    pub value: u32,
}

pub fn number(t: TaskletRef) -> u32 {
    t.serial.get() as u32
}

impl EventLog {
    /// An empty one, for at most `limit` events.
    pub fn new(limit: usize, values: bool) -> Self {
        Self {
            recorder: Recorder::new(limit),
            tasklets: Vec::new(),
            channels: Vec::new(),
            threads: HashMap::default(),
            last_thread: (std::ptr::null(), 0),
            buffers: HashMap::default(),
            numbers: (0, 0),
            codes: HashSet::default(),
            room: vec![CodePosition::NONE; DEEPEST],
            taking_stock: false,
            values,
            met: None,
            failing: HashMap::default(),
        }
    }

    #[inline]
    pub fn text(&mut self, text: &Text) -> u32 {
        match text {
            Text::Hidden => 0,
            Text::None => Texts::NONE,
            Text::True => Texts::TRUE,
            Text::False => Texts::FALSE,
            Text::Integer(value) => self.recorder.texts.integer(*value),
            Text::Other(text) => self.recorder.texts.intern(text),
        }
    }

    /// An event of the tasklet that runs in this thread; of none, while the thread sleeps on the stack of a tasklet
    /// that has ended, as the recording has said.
    pub fn event(&mut self, s: Option<&'static Sched>, kind: Kind) -> Event {
        self.recorder.tick();
        let Some(s) = s else { return Event { kind, ..Event::default() } };
        let thread = self.thread(s);
        if s.current().flags.get().ended && !self.knows(s.current()) {
            return Event { kind, thread, ..Event::default() };
        }
        let me = self.known(s.current(), thread);
        Event { kind, thread, tasklet: me, stack: self.stack(s.current()), ..Event::default() }
    }

    /// The call stack of a tasklet.
    pub fn stack(&mut self, t: TaskletRef) -> u32 {
        let mut room = std::mem::take(&mut self.room);
        let places = inspect::places(t, &mut room[..]);
        let cut = places.len() == DEEPEST;
        let outermost = if cut { self.recorder.stacks.push(0, CUT, 0, || ()) } else { 0 };
        let stack = places.iter().rev().fold(outermost, |at, place| self.push_place(at, *place));
        self.room = room;
        stack
    }

    #[inline]
    fn push_place(&mut self, parent: u32, CodePosition { code, at }: CodePosition) -> u32 {
        let codes = &mut self.codes;
        self.recorder.stacks.push(parent, code.addr(), at as u32, || {
            if codes.insert(code.expose_provenance()) {
                new_ref(code);
            }
        })
    }

    pub fn thread(&mut self, s: &'static Sched) -> u16 {
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
    pub fn known(&mut self, t: TaskletRef, thread: u16) -> u32 {
        if !self.knows(t) {
            self.created(t, thread, Event::default());
        }
        number(t)
    }

    pub fn knows(&self, t: TaskletRef) -> bool {
        self.tasklets.get(t.id().index()).is_some_and(|seen| seen.number == number(t))
    }

    pub fn forget(&mut self, t: TaskletRef) {
        if self.knows(t) {
            self.tasklets[t.id().index()] = Known::default();
        }
    }

    pub fn created(&mut self, t: TaskletRef, thread: u16, by: Event) {
        let text = self.recorder.texts.intern(&inspect::name_of(t));
        *self.seen(t) = Known { number: number(t), ..Known::default() };
        let code = inspect::code_of(t);
        let place = if code.is_null() { 0 } else { self.push_place(0, CodePosition { code, at: 0 }) };
        self.recorder.push(Event { kind: Kind::Create, thread, other: number(t), place, text, ..by });
    }

    pub fn seen(&mut self, t: TaskletRef) -> &mut Known {
        let at = t.id().index();
        if at >= self.tasklets.len() {
            self.tasklets.resize(at + 1, Known::default());
        }
        let seen = &mut self.tasklets[at];
        if seen.number != number(t) {
            *seen = Known { number: number(t), ..Known::default() };
        }
        seen
    }

    pub fn channel(&mut self, ch: ChannelRef, flags: Flags) -> u32 {
        match self.channels.get(ch.id().index()) {
            Some(&(number, _)) if number != 0 => number,
            _ => self.new_channel(ch, flags),
        }
    }

    #[cold]
    fn new_channel(&mut self, ch: ChannelRef, flags: Flags) -> u32 {
        self.numbers.0 += 1;
        let number = self.numbers.0;
        // SAFETY: the calling thread's state; the name is borrowed.
        let name = unsafe { cpython::variable_name(cpython::thread_state(), Of::Running, ch.obj()) };
        let name = if name.is_null() { None } else { text_of(name) };
        let text = self.recorder.texts.intern(&name.unwrap_or_default());
        let at = ch.id().index();
        if at >= self.channels.len() {
            self.channels.resize(at + 1, (0, 0));
        }
        self.channels[at] = (number, text);
        let flags = settings(ch).with(flags);
        self.recorder.push(Event { kind: Kind::Channel, flags, place: number, text, ..Event::default() });
        number
    }

    /// A value with this text is in the buffer of a channel: see [`Kind::Buffer`].
    pub fn buffered(&mut self, ch: ChannelRef, text: u32, event: Event) {
        let place = self.channel(ch, event.flags);
        self.buffers.entry(place).or_default().push_back(text);
        self.recorder.push(Event { kind: Kind::Buffer, place, text, ..event });
    }

    /// Puts a tasklet into a ring that is there in the world, but not yet in the recording.
    pub fn link(&mut self, t: TaskletRef, by: Event, flags: Flags) {
        if self.seen(t).in_ring || world(|w| !w.in_ring(t.id())) {
            return;
        }
        self.seen(t).in_ring = true;
        let right = object(world(|w| w.right_neighbour(t.id())));
        let place = if std::ptr::eq(right, t) { 0 } else { number(right) };
        let thread = t.scheduler().map_or(by.thread, |owner| self.thread(owner));
        self.recorder.push(Event { kind: Kind::Link, flags, thread, other: number(t), place, ..by });
    }

    /// Where the running tasklet, which stops, has gone: state, channel, text.
    fn leaving(&mut self, me: TaskletRef) -> (State, u32, u32) {
        if let Some(alt) = alt::of(me) {
            let text = self.wishes(alt);
            if alt.only_sent().is_none() {
                self.seen(me).value = 0; // which of the values is sent is not known yet
            }
            return (State::Choosing, 0, text);
        }
        if let Some((c, waits)) = world::waits(me) {
            let place = self.channel(world(|w| w.channel_payload(c)), Flags::default());
            let state = inspect::blocked(waits);
            let text = match state {
                State::Sending => self.seen(me).value,
                _ if reasons::has_partners(me) => 0,
                _ => self.recorder.texts.intern(&reasons::short(me)),
            };
            return (state, place, text);
        }
        match inspect::state_of(me) {
            State::Running => (State::Runnable, 0, 0),
            State::Ended => {
                let (state, text) = self.failing.remove(&number(me)).unwrap_or((State::Ended, 0));
                (state, 0, text)
            }
            State::Paused if !me.wait.get().is_null() => {
                let text = self.recorder.texts.intern(&reasons::short(me));
                (State::Paused, 0, text)
            }
            state => (state, 0, 0),
        }
    }

    /// What is waited for in `alt()`, in words.
    fn wishes(&mut self, alt: &Alt) -> u32 {
        let mut words = Vec::new();
        for entry in &alt.entries {
            words.push(match entry.kind {
                alt::Kind::Receive(ch) => format!("receive from {}", self.name_of_channel(ch)),
                alt::Kind::Send(ch, _) => format!("send to {}", self.name_of_channel(ch)),
                alt::Kind::Event(_) => "an event".to_owned(),
                alt::Kind::Join(t) => format!("the end of tasklet#{}", number(t)),
                alt::Kind::Ready(descriptor, IoDirection::In) => format!("read from {descriptor}"),
                alt::Kind::Ready(descriptor, IoDirection::Out) => format!("write to {descriptor}"),
            });
        }
        self.recorder.texts.intern(&words.join(", "))
    }

    /// Its name in the recording.
    pub fn name_of_channel(&mut self, ch: ChannelRef) -> String {
        let number = self.channel(ch, Flags::default());
        let label = self.recorder.texts.get(self.channels[ch.id().index()].1);
        format!("{}#{number}", if label.is_empty() { "channel" } else { label })
    }

    /// True if this switch is the second half of a transfer, with nothing between.
    fn handed_over(&mut self, me: TaskletRef, next: TaskletRef) -> bool {
        let beside = world(|w| w.in_ring(me.id()) && w.right_neighbour(me.id()) == next.id());
        let is_that = beside && !self.seen(next).in_ring && self.recorder.hand_over(number(me), number(next));
        if is_that {
            self.seen(next).in_ring = true;
            self.met = None;
        }
        is_that
    }

    /// The running tasklet of `s` stops, and `next` continues; with None, the thread sleeps.
    pub fn switched(&mut self, s: &'static Sched, next: Option<TaskletRef>) {
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
            // The recording stopped it when its thread began to sleep, or was about to.
            self.recorder.push(Event { tasklet: 0, stack: 0, other, ..event });
        }
        if state.is_over() {
            self.forget(me);
        }
    }
}

pub fn settings(ch: ChannelRef) -> Flags {
    let c = ch.id();
    world(|w| Flags::of_channel(w.preference(c), w.schedule_all(c), w.closing(c)))
}

impl EventLog {
    /// Writes the state of everything at the beginning.
    pub fn take_stock(
        &mut self,
        me: &'static Sched,
        sent: &HashMap<u32, Text, Fast>,
        kept: &HashMap<ChannelId, Vec<Text>, Fast>,
    ) {
        self.taking_stock = true;
        let before = Event { flags: Flags::BEFORE, ..Event::default() };
        self.thread(me);
        let all: Vec<TaskletRef> = world(|w| w.tasklets()).into_iter().map(object).collect();
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
            match world::waits(t) {
                Some((cid, _)) if !channels.contains(&cid) => channels.push(cid),
                Some(_) => {}
                None if world(|w| w.in_ring(t.id())) => {}
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
        for cid in world(|w| w.channels_with_values()) {
            let (ch, count) = world(|w| (w.channel_payload(cid), w.buffered(cid)));
            for at in 0..count as usize {
                let known = kept.get(&cid).and_then(|texts| texts.get(at));
                let text = known.map_or(0, |text| self.text(text));
                self.buffered(ch, text, before);
            }
        }
        self.taking_stock = false;
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
                t = object(world(|w| w.right_neighbour(t.id())));
                if std::ptr::eq(t, head) {
                    break;
                }
            }
            self.recorder.push(Event { kind: Kind::Switch, thread, other: number(head), ..before });
        }
    }

    fn take_stock_of_queue(&mut self, cid: ChannelId, before: Event, sent: &HashMap<u32, Text, Fast>) {
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
