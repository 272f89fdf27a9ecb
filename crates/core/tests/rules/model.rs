//! The rules once more, as naively as possible: lists are lists, everything is found by looking.
//!
//! Tasklets, threads and channels are numbered in the order of their making, and no number is used
//! twice. A tasklet, channel or thread that was removed is None.

use stackless_core::{Direction, RunLimit, Successor, Turn, WaitsTo};
use std::collections::VecDeque;

pub struct Model {
    pub tasklets: Vec<Option<Tasklet>>,
    pub threads: Vec<Option<Thread>>,
    pub channels: Vec<Option<Channel>>,
}

pub struct Tasklet {
    pub thread: Option<usize>,
    /// The channels in which it waits, if it waits in several queues at once.
    pub places: Vec<usize>,
}

pub struct Thread {
    pub main: usize,
    /// The running tasklet first.
    pub ring: VecDeque<usize>,
    /// The innermost last; and whether it waits for other threads.
    pub watchdogs: Vec<(usize, bool)>,
    pub timer: Option<RunTimer>,
}

/// The limit of the outermost `run()` that has one.
pub struct RunTimer {
    pub owner: usize,
    pub limit: RunLimit,
    /// Ticks that count.
    pub ticks: u64,
    /// Turns that were begun.
    pub turns: u64,
    pub expired: bool,
}

pub struct Channel {
    /// The longest waiting first.
    pub queue: VecDeque<(usize, WaitsTo)>,
    pub capacity: u32,
    /// The number of values in the buffer.
    pub buffered: u32,
    pub preference: i8,
    pub schedule_all: bool,
    pub closing: bool,
}

/// Those that were not removed, with their numbers.
pub fn living<T>(all: &[Option<T>]) -> impl Iterator<Item = (usize, &T)> {
    all.iter().enumerate().filter_map(|(number, one)| Some((number, one.as_ref()?)))
}

impl Model {
    pub fn new() -> Self {
        Self { tasklets: vec![], threads: vec![], channels: vec![] }
    }

    pub fn tasklet(&self, t: usize) -> &Tasklet {
        self.tasklets[t].as_ref().unwrap()
    }

    pub fn thread(&self, h: usize) -> &Thread {
        self.threads[h].as_ref().unwrap()
    }

    pub fn channel(&self, c: usize) -> &Channel {
        self.channels[c].as_ref().unwrap()
    }

    pub fn thread_mut(&mut self, h: usize) -> &mut Thread {
        self.threads[h].as_mut().unwrap()
    }

    pub fn channel_mut(&mut self, c: usize) -> &mut Channel {
        self.channels[c].as_mut().unwrap()
    }

    fn thread_of_mut(&mut self, t: usize) -> &mut Thread {
        let h = self.tasklet(t).thread.unwrap();
        self.thread_mut(h)
    }

    // ------------------------------------------------------------ questions

    /// In which thread's ring, and where there?
    pub fn ring_place(&self, t: usize) -> Option<(usize, usize)> {
        let mut rings = living(&self.threads);
        rings.find_map(|(h, thread)| Some((h, thread.ring.iter().position(|&x| x == t)?)))
    }

    /// In which channel's queue, and where there?
    pub fn queue_place(&self, t: usize) -> Option<(usize, usize)> {
        let mut queues = living(&self.channels);
        queues.find_map(|(c, channel)| Some((c, channel.queue.iter().position(|&(x, _)| x == t)?)))
    }

    pub fn is_linked(&self, t: usize) -> bool {
        self.ring_place(t).is_some() || self.queue_place(t).is_some()
    }

    pub fn next(&self, t: usize) -> Option<usize> {
        if let Some((h, at)) = self.ring_place(t) {
            let ring = &self.thread(h).ring;
            return Some(ring[(at + 1) % ring.len()]);
        }
        let (c, at) = self.queue_place(t).filter(|_| !self.has_places(t))?;
        self.channel(c).queue.get(at + 1).map(|&(next, _)| next)
    }

    pub fn prev(&self, t: usize) -> Option<usize> {
        if let Some((h, at)) = self.ring_place(t) {
            let ring = &self.thread(h).ring;
            return Some(ring[(at + ring.len() - 1) % ring.len()]);
        }
        let (c, at) = self.queue_place(t).filter(|_| !self.has_places(t))?;
        at.checked_sub(1).map(|before| self.channel(c).queue[before].0)
    }

    pub fn waits(&self, t: usize) -> Option<(usize, WaitsTo)> {
        if let Some(&c) = self.tasklet(t).places.first() {
            let (_, waits) = self.channel(c).queue.iter().find(|&&(x, _)| x == t).unwrap();
            return Some((c, *waits));
        }
        self.queue_place(t).map(|(c, at)| (c, self.channel(c).queue[at].1))
    }

    pub fn has_places(&self, t: usize) -> bool {
        !self.tasklet(t).places.is_empty()
    }

    /// The one that waits there to send or to receive.
    pub fn either(&self, c: usize) -> Option<usize> {
        let &(first, waits) = self.channel(c).queue.front()?;
        (waits == WaitsTo::Either).then_some(first)
    }

    /// Is it a main tasklet, or inside `run()`? Then it is bound to its thread.
    pub fn is_bound(&self, t: usize) -> bool {
        living(&self.threads).any(|(_, thread)| thread.main == t || thread.watchdogs.iter().any(|w| w.0 == t))
    }

    pub fn balance(&self, c: usize) -> i32 {
        let waiting = self.channel(c).queue.iter();
        let weight = |&(_, waits): &(usize, WaitsTo)| match waits {
            WaitsTo::Send => 1,
            WaitsTo::Receive | WaitsTo::Iterate => -1,
            WaitsTo::Either => 0,
        };
        let waiting = waiting.map(weight).sum::<i32>();
        waiting + self.channel(c).buffered as i32
    }

    pub fn takes_more(&self, c: usize) -> bool {
        let channel = self.channel(c);
        channel.buffered < channel.capacity && !channel.closing
    }

    pub fn first_iterating(&self, c: usize) -> Option<usize> {
        let mut queue = self.channel(c).queue.iter();
        queue.find(|&&(_, waits)| waits == WaitsTo::Iterate).map(|&(t, _)| t)
    }

    pub fn partner(&self, c: usize, acting: Direction) -> Option<usize> {
        let &(first, waits) = self.channel(c).queue.front()?;
        let opposite = (waits == WaitsTo::Send) == (acting == Direction::Receive);
        // Receivers take from the buffer, which is full while a sender waits.
        let takes_value = acting == Direction::Receive && self.channel(c).capacity > 0;
        (opposite && !takes_value && waits != WaitsTo::Either).then_some(first)
    }

    pub fn successor(&self, c: usize, acting: Direction) -> Successor {
        let channel = self.channel(c);
        match (channel.schedule_all, channel.preference, acting) {
            (true, _, _) => Successor::Neighbour,
            (false, -1, Direction::Send) | (false, 1, Direction::Receive) => Successor::Partner,
            _ => Successor::Actor,
        }
    }

    pub fn watcher(&self, h: usize) -> usize {
        let thread = self.thread(h);
        thread.watchdogs.last().map_or(thread.main, |w| w.0)
    }

    pub fn sits(&self, h: usize, t: usize) -> bool {
        self.thread(h).watchdogs.iter().any(|w| w.0 == t)
    }

    /// The last one of a ring leaves it: can its watcher continue, and does it wait for others?
    pub fn when_idle(&self, leaving: usize) -> (bool, bool, usize) {
        let h = self.tasklet(leaving).thread.unwrap();
        let watcher = self.watcher(h);
        let waits = self.thread(h).watchdogs.last().is_some_and(|w| w.1);
        (watcher != leaving && !self.is_linked(watcher), waits, watcher)
    }

    // ------------------------------------------------------------ moves

    pub fn link(&mut self, t: usize) -> bool {
        let ring = &mut self.thread_of_mut(t).ring;
        ring.push_back(t);
        ring.len() == 1
    }

    pub fn link_next(&mut self, t: usize) -> bool {
        let ring = &mut self.thread_of_mut(t).ring;
        ring.insert(1.min(ring.len()), t);
        ring.len() == 1
    }

    pub fn unlink(&mut self, t: usize) {
        self.thread_of_mut(t).ring.retain(|&x| x != t);
    }

    pub fn move_behind(&mut self, t: usize, other: usize) {
        let ring = &mut self.thread_of_mut(t).ring;
        ring.retain(|&x| x != t);
        let at = ring.iter().position(|&x| x == other).unwrap();
        ring.insert(at + 1, t);
    }

    pub fn run_now(&mut self, t: usize) {
        let (h, at) = self.ring_place(t).unwrap();
        self.thread_mut(h).ring.rotate_left(at);
    }

    pub fn enqueue(&mut self, c: usize, t: usize, waits: WaitsTo) {
        self.channel_mut(c).queue.push_back((t, waits));
    }

    pub fn enqueue_places(&mut self, t: usize, queues: &[(usize, WaitsTo)]) {
        for &(c, waits) in queues {
            self.enqueue(c, t, waits);
            self.tasklets[t].as_mut().unwrap().places.push(c);
        }
    }

    pub fn dequeue(&mut self, t: usize) {
        self.tasklets[t].as_mut().unwrap().places.clear();
        for channel in self.channels.iter_mut().flatten() {
            channel.queue.retain(|&(x, _)| x != t);
        }
    }

    /// Is its limit the one that counts?
    pub fn enter_run(&mut self, t: usize, waits: bool, limit: Option<RunLimit>) -> bool {
        self.unlink(t);
        let thread = self.thread_of_mut(t);
        thread.watchdogs.push((t, waits));
        match limit {
            Some(limit) if thread.timer.is_none() => {
                thread.timer = Some(RunTimer { owner: t, limit, ticks: 0, turns: 0, expired: false });
                true
            }
            _ => false,
        }
    }

    pub fn leave_run(&mut self, t: usize) -> (bool, Vec<usize>) {
        let Some(h) = self.tasklet(t).thread else { return (false, vec![]) };
        if !self.sits(h, t) {
            return (false, vec![]);
        }
        let mut inner = vec![];
        loop {
            match self.thread_mut(h).watchdogs.pop().unwrap().0 {
                w if w == t => break,
                w => inner.push(w),
            }
        }
        if self.thread(h).timer.as_ref().is_some_and(|timer| !self.sits(h, timer.owner)) {
            self.thread_mut(h).timer = None;
        }
        (true, inner)
    }

    pub fn tick(&mut self, h: usize, ticks: u64) {
        if let Some(timer) = &mut self.thread_mut(h).timer {
            timer.ticks = timer.ticks.saturating_add(ticks);
            timer.expired = timer.expired || timer.ticks >= timer.limit.ticks;
        }
    }

    /// Another tasklet is the head of the ring. Returns the one that runs instead, if any.
    pub fn turn(&mut self, h: usize, turn: Turn, pending: bool) -> Option<usize> {
        let head = self.thread(h).ring[0];
        let timer = self.thread_mut(h).timer.as_mut().filter(|timer| timer.owner != head)?;
        let (owner, limit) = (timer.owner, timer.limit);
        timer.turns += 1;
        let soft_end = limit.soft && timer.expired && turn == Turn::Over;
        if timer.turns > limit.turns || soft_end {
            return self.wake_owner(h, owner);
        }
        // A slice begins, unless all count together or the end of the time is waited for.
        let waited_for = limit.soft && timer.expired;
        if !limit.total && !waited_for {
            (timer.ticks, timer.expired) = (0, pending);
        }
        None
    }

    pub fn interrupt(&mut self, t: usize) -> Option<usize> {
        let h = self.tasklet(t).thread?;
        let owner = self.thread(h).timer.as_ref()?.owner;
        if owner == t || self.queue_place(owner).is_some() {
            return None;
        }
        self.unlink(t);
        self.wake_owner(h, owner)
    }

    /// Unless it waits in a channel. It is before the head then, or where it was.
    fn wake_owner(&mut self, h: usize, owner: usize) -> Option<usize> {
        if self.queue_place(owner).is_some() {
            return None;
        }
        if self.ring_place(owner).is_none() {
            self.thread_mut(h).ring.push_front(owner);
        }
        self.run_now(owner);
        Some(owner)
    }

    pub fn replace_main(&mut self, h: usize, new: usize) {
        let thread = self.thread_mut(h);
        thread.main = new;
        thread.ring[0] = new;
    }

    pub fn forget_thread(&mut self, h: usize) -> Vec<usize> {
        let gone = self.threads[h].take().unwrap();
        for tasklet in self.tasklets.iter_mut().flatten() {
            if tasklet.thread == Some(h) {
                tasklet.thread = None;
            }
        }
        gone.ring.into()
    }
}
