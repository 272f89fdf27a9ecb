//! The ring buffer that a running program writes into.

use crate::clock::Clock;
use crate::event::{Event, Flags, Kind};
use crate::model::Model;
use crate::recording::{File, Recording, SourceLine};
use crate::stack::Stacks;
use crate::text::Texts;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Events, the texts and stacks they refer to, and what has become of the oldest ones.
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

    /// Looks at the clock: events pushed from now on happen now.
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

    /// If the last event is a transfer from this tasklet to that one, it becomes a hand-over: the
    /// partner goes on at once. Was it?
    pub fn hand_over(&mut self, tasklet: u32, partner: u32) -> bool {
        match self.events.back_mut() {
            Some(e) if e.kind == Kind::Transfer && e.tasklet == tasklet && e.other == partner => {
                e.kind = Kind::HandOver;
                true
            }
            _ => false,
        }
    }

    /// Records what was printed: one event for the pieces of a line that follow one another. It
    /// happened where and when the first of them was printed.
    pub fn print(&mut self, event: Event, text: &str) {
        if let Some(last) = self.events.back_mut() {
            let same = Event { time: last.time, text: last.text, stack: last.stack, ..event };
            // A finished line is left alone, so that what follows it is a step of its own.
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

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many events were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops the oldest eighth, and what belongs to the last of it.
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
        self.before.forget_the_dead();
    }

    /// The recording. `resolve` says what a code and an offset in it are, as they were given to
    /// [`Stacks::push`]; None leaves the place out.
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
        let mut function = |place: SourceLine| {
            let file = *files.entry(place.file.clone()).or_insert_with(|| {
                recording.files.push(File { name: place.file, source: String::new() });
                recording.files.len() as u32 - 1
            });
            (place.function, file, place.line)
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

/// Stacks of places, made from stacks of codes.
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

const _: () = assert!(size_of::<Event>() == 32, "an event has outgrown its place");
