//! The ring buffer that a running program writes into.

use crate::clock::Clock;
use crate::event::{Event, Flags, Kind};
use crate::model::Model;
use crate::recording::{File, Recording, SourceLine};
use crate::stack::Stacks;
use crate::text::Texts;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Events, the texts and stacks they refer to, and the state that the dropped events have led to.
pub struct Recorder {
    pub texts: Texts,
    pub stacks: Stacks,
    events: VecDeque<Event>,
    limit: usize,
    /// The state that the dropped events have led to.
    before: Model,
    dropped: u64,
    clock: Clock,
    now: u64,
}

impl Recorder {
    /// A recorder that keeps the last `limit` events, or a few less; at least 16.
    pub fn new(limit: usize) -> Self {
        Self {
            texts: Texts::new(),
            stacks: Stacks::new(),
            events: VecDeque::new(),
            limit: limit.max(16),
            before: Model::default(),
            dropped: 0,
            clock: Clock::new(),
            now: 0,
        }
    }

    /// Reads the clock: the events pushed from now on get this time.
    #[inline]
    pub fn tick(&mut self) {
        self.now = self.now.max(self.clock.now());
    }

    /// Records an event. Its time is that of the last [`Recorder::tick`].
    #[inline]
    pub fn push(&mut self, event: Event) {
        if self.events.len() >= self.limit {
            self.make_room();
        }
        self.events.push_back(Event { time: self.now, ..event });
    }

    /// Turns the last event into a hand-over, if it is a transfer between `tasklet`, which acted, and `partner`: the
    /// partner continues at once. False if it is another event.
    #[must_use]
    pub fn hand_over(&mut self, tasklet: u32, partner: u32) -> bool {
        match self.events.back_mut() {
            Some(e) if e.kind == Kind::Transfer && e.tasklet == tasklet && e.other == partner => {
                e.kind = Kind::HandOver;
                true
            }
            _ => false,
        }
    }

    /// Records what was printed: one event for consecutive pieces of a line, with the time and the stack of the
    /// first piece.
    pub fn print(&mut self, event: Event, text: &str) {
        if let Some(last) = self.events.back_mut() {
            let same = Event { time: last.time, text: last.text, stack: last.stack, ..event };
            // A finished line is not extended, so that what follows it is a step of its own.
            let before = self.texts.get(last.text);
            if *last == same && !before.ends_with('\n') && before.len() < 4096 {
                let joined = format!("{before}{text}");
                last.text = self.texts.intern(&joined);
                return;
            }
        }
        let text = self.texts.intern(text);
        self.push(Event { text, ..event });
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The number of events that were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops the oldest eighth of the events, and those that belong to the last event of it.
    #[cold]
    fn make_room(&mut self) {
        let mut wanted = self.limit / 8;
        while let Some(oldest) = self.events.front() {
            if wanted == 0 && !oldest.flags.has(Flags::CONTINUES) {
                break;
            }
            self.before.apply(oldest);
            if !oldest.flags.has(Flags::BEFORE) {
                self.dropped += 1;
            }
            self.events.pop_front();
            wanted = wanted.saturating_sub(1);
        }
        self.before.forget_ended();
    }

    /// The recording. `resolve` returns the source line of a code and an offset in it, as they were given to
    /// [`Stacks::push`]; None leaves the frame out.
    pub fn finish(self, mut resolve: impl FnMut(usize, u32) -> Option<SourceLine>) -> Recording {
        let mut recording = Recording::new(self.dropped);
        let first_time = self.events.front().map_or(0, |e| e.time);
        recording.events = self.before.as_events(first_time);
        recording.events.extend(self.events);
        let nanoseconds = self.clock.nanoseconds();
        recording.events.iter_mut().for_each(|e| e.time = nanoseconds(e.time));

        // Only what the events refer to, in the order in which they do.
        let mut texts = Renumbered::new();
        let mut stacks =
            StackTable { nodes: &self.stacks, found: FxHashMap::default(), out: &mut recording.stacks };
        stacks.out.push([0; 4]);
        let mut files = FxHashMap::default();
        let mut function = |line: SourceLine| {
            let file = *files.entry(line.file.clone()).or_insert_with(|| {
                recording.files.push(File { name: line.file, source: String::new() });
                recording.files.len() as u32 - 1
            });
            (line.function, file, line.line)
        };
        let mut names = FxHashMap::default();
        for e in &mut recording.events {
            e.text = texts.number(e.text);
            let mut resolved = |code, at| {
                let (name, file, line) = function(resolve(code, at)?);
                let next = names.len() as u32;
                Some((*names.entry(name).or_insert(next), file, line))
            };
            e.stack = stacks.number(e.stack, &mut resolved);
            if e.kind == Kind::Create {
                e.place = stacks.number(e.place, &mut resolved);
            }
        }
        let all = self.texts.into_all();
        recording.texts = texts.order.iter().map(|&old| all[old as usize].clone()).collect();
        let mut in_order: Vec<(String, u32)> = names.into_iter().collect();
        in_order.sort_by_key(|(_, number)| *number);
        recording.functions = in_order.into_iter().map(|(name, _)| name).collect();
        recording
    }
}

/// Old numbers to new ones, without holes.
struct Renumbered {
    new: FxHashMap<u32, u32>,
    order: Vec<u32>,
}

impl Renumbered {
    fn new() -> Self {
        let mut empty = Self { new: FxHashMap::default(), order: Vec::new() };
        empty.number(0);
        empty
    }

    fn number(&mut self, old: u32) -> u32 {
        *self.new.entry(old).or_insert_with(|| {
            self.order.push(old);
            self.order.len() as u32 - 1
        })
    }
}

/// Stacks of source lines, made from stacks of codes.
struct StackTable<'a> {
    nodes: &'a Stacks,
    found: FxHashMap<u32, u32>,
    out: &'a mut Vec<[u32; 4]>,
}

impl StackTable<'_> {
    fn number(&mut self, old: u32, resolve: &mut impl FnMut(usize, u32) -> Option<(u32, u32, u32)>) -> u32 {
        let mut way = Vec::new();
        let mut at = old;
        let mut new = loop {
            if at == 0 {
                break 0;
            }
            if let Some(&known) = self.found.get(&at) {
                break known;
            }
            way.push(at);
            at = self.nodes.nodes()[at as usize].parent;
        };
        for &node in way.iter().rev() {
            let about = self.nodes.nodes()[node as usize];
            if let Some((function, file, line)) = resolve(about.code, about.at) {
                self.out.push([new, function, file, line]);
                new = self.out.len() as u32 - 1;
            }
            self.found.insert(node, new);
        }
        new
    }
}

const _: () = assert!(size_of::<Event>() == 32, "an event has more than 32 bytes");
