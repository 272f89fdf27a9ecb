//! The state of everything after any number of events.

use crate::event::{Event, Flags, Kind, State};
use std::collections::BTreeMap;

/// Replays the events of a recording. It stays consistent for any events: a tasklet is in at most one list.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Model {
    pub tasklets: BTreeMap<u32, Tasklet>,
    pub channels: BTreeMap<u32, Channel>,
    pub threads: BTreeMap<u16, Thread>,
}

#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Tasklet {
    pub thread: u16,
    pub state: State,
    pub label: u32,
    pub stack: u32,
    /// The channel it is blocked on.
    pub channel: u32,
    /// The value that it is sending, or the exception that ended it.
    pub value: u32,
    /// Neighbours in the ring, 0 for none.
    next: u32,
    prev: u32,
}

#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Channel {
    pub label: u32,
    pub settings: Flags,
    /// The tasklets that wait, the one that has waited longest first.
    pub queue: Vec<u32>,
    /// The values in the buffer, the oldest first.
    pub buffer: Vec<u32>,
}

#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Thread {
    pub main: u32,
    /// The tasklet that runs, or runs next when the thread wakes; 0: the ring is empty.
    pub head: u32,
    pub asleep: bool,
    pub label: u32,
}

impl Model {
    /// The tasklets of a thread's ring, the running one first.
    pub fn ring(&self, thread: u16) -> Vec<u32> {
        let mut ring = Vec::new();
        let head = self.threads.get(&thread).map_or(0, |t| t.head);
        let mut at = head;
        while at != 0 {
            ring.push(at);
            at = self.tasklets[&at].next;
            if at == head {
                break;
            }
        }
        ring
    }

    /// n if n senders wait, those of the values in the buffer included; -n if n receivers wait.
    pub fn balance(&self, channel: u32) -> i64 {
        let Some(channel) = self.channels.get(&channel) else { return 0 };
        let senders =
            channel.queue.iter().filter(|t| self.tasklets[t].state == State::Sending).count() as i64;
        2 * senders - channel.queue.len() as i64 + channel.buffer.len() as i64
    }

    /// Applies one more event.
    pub fn apply(&mut self, e: &Event) {
        if e.tasklet != 0 {
            let t = self.tasklet(e.tasklet, e.thread);
            t.stack = if t.state.is_over() { 0 } else { e.stack };
        }
        match e.kind {
            Kind::Thread if e.tasklet != 0 => {
                self.leave(e.tasklet);
                self.tasklet(e.tasklet, e.thread).thread = e.thread;
                let thread = self.threads.entry(e.thread).or_default();
                (thread.main, thread.label) = (e.tasklet, e.text);
                self.link(e.tasklet, 0);
                self.runs(e.thread, e.tasklet);
            }
            Kind::ThreadEnd => self.end_thread(e.thread),
            Kind::Create if e.other != 0 => {
                self.leave(e.other);
                let new = Tasklet {
                    thread: e.thread,
                    state: State::Fresh,
                    label: e.text,
                    stack: e.place,
                    ..Tasklet::default()
                };
                self.tasklets.insert(e.other, new);
            }
            Kind::Label if e.other != 0 => self.tasklet(e.other, e.thread).label = e.text,
            Kind::Link if e.other != 0 => {
                self.leave(e.other);
                self.tasklet(e.other, e.thread).thread = e.thread;
                self.link(e.other, e.place);
            }
            Kind::Unlink if e.other != 0 => {
                self.tasklet(e.other, e.thread);
                self.leave(e.other);
                self.settle(e.other, e);
            }
            Kind::Switch => self.switch(e),
            Kind::HandOver if e.other != 0 => {
                self.tasklet(e.other, e.thread);
                let next = self.tasklets.get(&e.tasklet).map_or(0, |t| t.next);
                self.link(e.other, if next == e.other { 0 } else { next });
                self.switch(&Event { flags: Flags::of_state(State::Runnable), ..*e });
            }
            Kind::Transfer if e.other != 0 => {
                self.tasklet(e.other, e.thread);
                self.leave(e.other);
                self.tasklet(e.other, e.thread).state = State::Met;
            }
            Kind::Buffer if e.place != 0 => {
                if e.other != 0 {
                    self.tasklet(e.other, e.thread);
                    self.leave(e.other);
                    self.tasklet(e.other, e.thread).state = State::Met;
                }
                self.channels.entry(e.place).or_default().buffer.push(e.text);
            }
            Kind::Unbuffer if e.place != 0 => {
                let buffer = &mut self.channels.entry(e.place).or_default().buffer;
                buffer.drain(..buffer.len().min(1));
            }
            Kind::Channel if e.place != 0 => {
                let channel = self.channels.entry(e.place).or_default();
                (channel.label, channel.settings) = (e.text, e.flags);
            }
            Kind::ChannelEnd => {
                let waiting = self.channels.remove(&e.place).map_or(Vec::new(), |c| c.queue);
                for t in waiting {
                    let t = self.tasklet(t, e.thread);
                    (t.state, t.stack, t.channel, t.value) = (State::Lost, 0, 0, 0);
                }
            }
            _ => {}
        }
    }

    fn tasklet(&mut self, number: u32, thread: u16) -> &mut Tasklet {
        self.tasklets.entry(number).or_insert_with(|| Tasklet {
            thread,
            state: State::Fresh,
            ..Tasklet::default()
        })
    }

    fn switch(&mut self, e: &Event) {
        let state = e.flags.state();
        if e.tasklet != 0 {
            if state == State::Runnable {
                if self.tasklet(e.tasklet, e.thread).next == 0 {
                    self.link(e.tasklet, 0);
                }
                self.tasklet(e.tasklet, e.thread).state = state;
            } else {
                self.leave(e.tasklet);
                self.settle(e.tasklet, e);
            }
        }
        if e.other == 0 {
            self.threads.entry(e.thread).or_default().asleep = true;
            return;
        }
        let thread = self.tasklet(e.other, e.thread).thread;
        if self.tasklets[&e.other].next == 0 {
            self.link(e.other, 0);
        }
        self.runs(thread, e.other);
    }

    /// Gives a tasklet that is in no list the state that the event says.
    fn settle(&mut self, number: u32, e: &Event) {
        let state = match e.flags.state() {
            State::Runnable | State::Running => State::Paused, // which are in the ring
            state if state.is_blocked() && e.place == 0 => State::Paused,
            state => state,
        };
        let t = self.tasklet(number, e.thread);
        t.state = state;
        t.value = e.text;
        if state.is_over() {
            t.stack = 0;
        }
        if state.is_blocked() {
            t.channel = e.place;
            self.channels.entry(e.place).or_default().queue.push(number);
        }
    }

    fn runs(&mut self, thread: u16, number: u32) {
        let thread = self.threads.entry(thread).or_default();
        (thread.head, thread.asleep) = (number, false);
        self.tasklets.get_mut(&number).expect("it is in the ring").state = State::Running;
    }

    /// Puts a tasklet into its thread's ring, directly before `before`, or at the end.
    fn link(&mut self, number: u32, before: u32) {
        self.leave(number);
        let thread = self.tasklets[&number].thread;
        let head = self.threads.entry(thread).or_default().head;
        let fits = |t: &Tasklet| t.thread == thread && t.next != 0;
        let next = if self.tasklets.get(&before).is_some_and(fits) { before } else { head };
        if next == 0 {
            self.threads.get_mut(&thread).expect("just made").head = number;
            let t = self.tasklets.get_mut(&number).expect("the caller's");
            (t.next, t.prev, t.state) = (number, number, State::Runnable);
            return;
        }
        let prev = self.tasklets[&next].prev;
        let t = self.tasklets.get_mut(&number).expect("the caller's");
        (t.next, t.prev, t.state) = (next, prev, State::Runnable);
        self.tasklets.get_mut(&prev).expect("in the ring").next = number;
        self.tasklets.get_mut(&next).expect("in the ring").prev = number;
    }

    /// Takes a tasklet out of the list that it is in, if any.
    fn leave(&mut self, number: u32) {
        let Some(t) = self.tasklets.get_mut(&number) else { return };
        let (next, prev, channel, thread) = (t.next, t.prev, t.channel, t.thread);
        (t.next, t.prev, t.channel, t.value) = (0, 0, 0, 0);
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.queue.retain(|&other| other != number);
        }
        if next == 0 {
            return;
        }
        if next != number {
            self.tasklets.get_mut(&next).expect("in the ring").prev = prev;
            self.tasklets.get_mut(&prev).expect("in the ring").next = next;
        }
        let thread = self.threads.get_mut(&thread).expect("it has a ring");
        if thread.head == number {
            thread.head = if next == number { 0 } else { next };
        }
    }

    fn end_thread(&mut self, number: u16) {
        self.threads.remove(&number);
        for t in self.tasklets.values_mut().filter(|t| t.thread == number) {
            (t.next, t.prev) = (0, 0);
            if !t.state.is_over() && !t.state.is_blocked() {
                (t.state, t.stack) = (State::Lost, 0);
            }
        }
    }

    /// Removes the tasklets that are over, but for the main tasklets of threads: later events do not refer to them.
    pub fn forget_ended(&mut self) {
        let threads = &self.threads;
        let is_main = |n: u32, t: &Tasklet| threads.get(&t.thread).is_some_and(|thread| thread.main == n);
        self.tasklets.retain(|&n, t| !t.state.is_over() || is_main(n, t));
    }

    /// Events that lead from an empty model to this state.
    pub fn as_events(&self, time: u64) -> Vec<Event> {
        let before = Event { time, flags: Flags::BEFORE, ..Event::default() };
        let mut events = Vec::new();
        for (&place, channel) in &self.channels {
            let flags = channel.settings.with(Flags::BEFORE);
            events.push(Event { kind: Kind::Channel, place, flags, text: channel.label, ..before });
        }
        for (&thread, about) in &self.threads {
            let main = self.tasklets.get(&about.main);
            let (tasklet, stack) = (about.main, main.map_or(0, |t| t.stack));
            if tasklet != 0 {
                events.push(Event {
                    kind: Kind::Thread,
                    thread,
                    tasklet,
                    stack,
                    text: about.label,
                    ..before
                });
            }
        }
        for (&other, t) in &self.tasklets {
            let made = Event { thread: t.thread, other, ..before };
            let is_main = self.threads.get(&t.thread).is_some_and(|about| about.main == other);
            let kind = if is_main { Kind::Label } else { Kind::Create };
            events.push(Event { kind, text: t.label, ..made });
            if t.stack != 0 {
                // A separate event, which changes nothing else, gives it its stack.
                events.push(Event {
                    kind: Kind::Line,
                    thread: t.thread,
                    tasklet: other,
                    stack: t.stack,
                    ..before
                });
            }
            let out =
                Event { kind: Kind::Unlink, flags: Flags::of_state(t.state).with(Flags::BEFORE), ..made };
            match t.state {
                state if state.is_blocked() => {} // in the order of the queues, below
                State::Runnable | State::Running => {}
                State::Fresh if !is_main => {}
                _ => events.push(Event { text: t.value, ..out }),
            }
        }
        for &thread in self.threads.keys() {
            let ring = self.ring(thread);
            for &other in &ring {
                events.push(Event { kind: Kind::Link, thread, other, ..before });
            }
            let (Some(&head), about) = (ring.first(), &self.threads[&thread]) else { continue };
            if !about.asleep {
                events.push(Event { kind: Kind::Switch, thread, other: head, ..before });
            }
        }
        for (&thread, _) in self.threads.iter().filter(|(_, about)| about.asleep) {
            events.push(Event { kind: Kind::Switch, thread, ..before });
        }
        for (&place, channel) in &self.channels {
            for &text in &channel.buffer {
                events.push(Event { kind: Kind::Buffer, place, text, ..before });
            }
            for &other in &channel.queue {
                let t = &self.tasklets[&other];
                let flags = Flags::of_state(t.state).with(Flags::BEFORE);
                let kind = Kind::Unlink;
                events.push(Event { kind, flags, thread: t.thread, other, place, text: t.value, ..before });
            }
        }
        events
    }
}
