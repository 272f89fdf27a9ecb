//! Random histories, played to the world and to the naive model. After every move the two must agree
//! in everything that can be asked.

use crate::model::{self, Model, Thread, living};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};
use stackless_core::{ChannelId, Direction, RunLimit, TaskletId, ThreadId, Turn, WaitsTo, World};
use std::cell::Cell;
use std::fmt::Debug;

/// What happens next. The tasklet is picked from those to which it can happen; if there is none,
/// nothing happens.
#[derive(Clone, Copy, Debug)]
enum Move {
    NewTasklet,
    /// One that belongs to no thread.
    NewOrphan,
    ForgetTasklet,
    NewThread,
    ForgetThread,
    ReplaceMain,
    SetThread,
    NewChannel,
    ForgetChannel,
    Link,
    LinkNext,
    Unlink,
    /// One that does not run becomes the right neighbour of another one of its ring.
    PutBehind,
    RunNow,
    Yield,
    Enqueue(WaitsTo),
    /// Begins to wait in several queues, in each to do this.
    EnqueuePlaces(WaitsTo, WaitsTo),
    Dequeue,
    /// The running tasklet meets the partner that waits, or waits itself.
    Act(Direction, WaitsTo),
    Capacity(u32),
    Preference(i8),
    ScheduleAll(bool),
    Close,
    Open,
    /// With or without waiting for other threads, with or without a limit.
    EnterRun(bool, Option<RunLimit>),
    LeaveRun,
    /// A tasklet inside `run()` is woken and returns, and so do the inner ones.
    WakeSitter,
    /// Another one of the ring runs: the limit is looked at.
    Switch(Turn, bool),
    Tick(u64),
    Expire,
    Interrupt,
}
use Move::*;

const SLICE: RunLimit = RunLimit { ticks: 10, ..RunLimit::NONE };
const SOFT: RunLimit = RunLimit { soft: true, ..SLICE };
const TOTAL: RunLimit = RunLimit { ticks: 15, total: true, ..RunLimit::NONE };
const TURNS: RunLimit = RunLimit { turns: 3, soft: true, ..RunLimit::NONE };

/// A move, and two picks.
type Choice = (Move, Index, Index);

/// All moves, with their weights.
const MOVES: [(usize, Move); 56] = [
    (6, NewTasklet),
    (1, NewOrphan),
    (3, ForgetTasklet),
    (1, NewThread),
    (1, ForgetThread),
    (1, ReplaceMain),
    (2, SetThread),
    (1, NewChannel),
    (1, ForgetChannel),
    (6, Link),
    (4, LinkNext),
    (6, Unlink),
    (3, PutBehind),
    (4, RunNow),
    (6, Yield),
    (3, Enqueue(WaitsTo::Send)),
    (2, Enqueue(WaitsTo::Receive)),
    (2, Enqueue(WaitsTo::Iterate)),
    (2, EnqueuePlaces(WaitsTo::Receive, WaitsTo::Receive)),
    (2, EnqueuePlaces(WaitsTo::Send, WaitsTo::Receive)),
    (2, EnqueuePlaces(WaitsTo::Either, WaitsTo::Send)),
    (1, EnqueuePlaces(WaitsTo::Receive, WaitsTo::Either)),
    (1, EnqueuePlaces(WaitsTo::Either, WaitsTo::Either)),
    (4, Dequeue),
    (8, Act(Direction::Send, WaitsTo::Send)),
    (6, Act(Direction::Receive, WaitsTo::Receive)),
    (3, Act(Direction::Receive, WaitsTo::Iterate)),
    (1, Capacity(0)),
    (1, Capacity(1)),
    (1, Capacity(3)),
    (1, Preference(-3)),
    (1, Preference(-1)),
    (1, Preference(0)),
    (1, Preference(1)),
    (1, Preference(2)),
    (1, ScheduleAll(false)),
    (1, ScheduleAll(true)),
    (2, Close),
    (2, Open),
    (4, EnterRun(false, None)),
    (2, EnterRun(true, None)),
    (2, EnterRun(false, Some(SLICE))),
    (2, EnterRun(true, Some(SOFT))),
    (2, EnterRun(false, Some(TOTAL))),
    (2, EnterRun(false, Some(TURNS))),
    (2, LeaveRun),
    (3, WakeSitter),
    (6, Switch(Turn::Over, false)),
    (2, Switch(Turn::Over, true)),
    (3, Switch(Turn::HandOver, false)),
    (4, Tick(1)),
    (4, Tick(5)),
    (2, Tick(12)),
    (1, Tick(u64::MAX / 2)),
    (1, Expire),
    (4, Interrupt),
];

/// A plain `select`, since `prop_oneof!` with this number of cases is ten times slower.
fn choice() -> impl Strategy<Value = Choice> {
    let moves = MOVES.iter().flat_map(|&(weight, this)| std::iter::repeat_n(this, weight));
    (prop::sample::select(moves.collect::<Vec<_>>()), any::<Index>(), any::<Index>())
}

/// Moves that must be played, unless PROPTEST_CASES says how many histories.
const ENOUGH: usize = 100_000;

/// No valid history tells the world from the model.
#[test]
fn the_world_does_as_the_model() {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let config =
        ProptestConfig { cases: asked.unwrap_or(6000), failure_persistence: None, ..Default::default() };
    let played = Cell::new(0);
    let agree = TestRunner::new(config).run(&prop::collection::vec(choice(), 1..50), |choices| {
        let mut both = Both::new();
        both.check()?;
        for choice in choices {
            both.play(choice)?;
            both.check()?;
        }
        played.set(played.get() + both.history.len());
        Ok(())
    });
    agree.unwrap_or_else(|error| panic!("{error}"));
    println!("{} moves", played.get());
    assert!(asked.is_some() || played.get() >= ENOUGH, "only {} moves", played.get());
}

pub type Checked = Result<(), TestCaseError>;

/// The world and its model; `agreement` compares them. The ids at a number's place are those that the world gave.
pub struct Both {
    pub world: World<usize, usize>,
    pub model: Model,
    pub tids: Vec<TaskletId>,
    pub hids: Vec<ThreadId>,
    pub cids: Vec<ChannelId>,
    /// What has happened, in the model's numbers.
    pub history: Vec<String>,
}

impl Both {
    /// Two threads and three channels, the last one with a buffer; the first thread has four more runnable tasklets.
    fn new() -> Self {
        let (world, model) = (World::new(), Model::new());
        let mut both = Self { world, model, tids: vec![], hids: vec![], cids: vec![], history: vec![] };
        both.new_thread();
        both.new_thread();
        both.new_channel();
        both.new_channel();
        both.new_channel();
        both.set_capacity(2, 2);
        for _ in 0..4 {
            let t = both.new_tasklet(Some(0));
            both.world.link(both.tids[t]);
            both.model.link(t);
        }
        both
    }

    fn new_tasklet(&mut self, thread: Option<usize>) -> usize {
        let t = self.tids.len();
        self.tids.push(self.world.add_tasklet(thread.map(|h| self.hids[h]), t));
        self.model.tasklets.push(Some(model::Tasklet { thread, places: vec![] }));
        t
    }

    fn new_thread(&mut self) {
        let main = self.new_tasklet(None);
        let h = self.hids.len();
        self.hids.push(self.world.add_thread(self.tids[main], ()));
        self.model.tasklets[main] = Some(model::Tasklet { thread: Some(h), places: vec![] });
        self.model.threads.push(Some(model::Thread {
            main,
            ring: [main].into(),
            watchdogs: vec![],
            timer: None,
        }));
    }

    fn new_channel(&mut self) {
        self.cids.push(self.world.add_channel(self.cids.len()));
        let (queue, preference) = (Default::default(), -1);
        let channel = model::Channel {
            queue,
            capacity: 0,
            buffered: 0,
            preference,
            schedule_all: false,
            closing: false,
        };
        self.model.channels.push(Some(channel));
    }

    fn set_capacity(&mut self, c: usize, capacity: u32) {
        self.world.set_capacity(self.cids[c], capacity);
        let channel = self.model.channel_mut(c);
        (channel.capacity, channel.preference) = (capacity, if capacity > 0 { 0 } else { -1 });
    }

    // ------------------------------------------------------------ which tasklets can be picked

    fn pick(from: impl Iterator<Item = usize>, index: Index) -> Option<usize> {
        let from = from.collect::<Vec<_>>();
        (!from.is_empty()).then(|| from[index.index(from.len())])
    }

    fn tasklet_that(&self, index: Index, fits: impl Fn(&Model, usize) -> bool) -> Option<usize> {
        let all = living(&self.model.tasklets).map(|(t, _)| t);
        Self::pick(all.filter(|&t| fits(&self.model, t)), index)
    }

    fn paused(&self, index: Index) -> Option<usize> {
        self.tasklet_that(index, |m, t| m.tasklet(t).thread.is_some() && !m.is_linked(t))
    }

    fn in_ring(&self, index: Index) -> Option<usize> {
        self.tasklet_that(index, |m, t| m.ring_place(t).is_some())
    }

    fn thread(&self, index: Index) -> Option<usize> {
        Self::pick(living(&self.model.threads).map(|(h, _)| h), index)
    }

    fn running(&self, index: Index) -> Option<usize> {
        let threads = living(&self.model.threads);
        Self::pick(threads.filter_map(|(_, thread)| thread.ring.front().copied()), index)
    }

    fn channel(&self, index: Index) -> Option<usize> {
        Self::pick(living(&self.model.channels).map(|(c, _)| c), index)
    }

    // ------------------------------------------------------------ moves

    fn play(&mut self, (this, one, two): Choice) -> Checked {
        // None: there was no tasklet to which it could happen.
        self.try_play(this, one, two).unwrap_or(Ok(()))
    }

    fn note(&mut self, what: impl Debug, whom: impl Debug) {
        self.history.push(format!("{what:?} {whom:?}"));
    }

    fn try_play(&mut self, this: Move, one: Index, two: Index) -> Option<Checked> {
        match this {
            NewTasklet | NewOrphan if living(&self.model.tasklets).count() >= 16 => {}
            NewTasklet => {
                let h = self.thread(one)?;
                self.note(this, h);
                self.new_tasklet(Some(h));
            }
            NewOrphan => {
                self.note(this, ());
                self.new_tasklet(None);
            }
            ForgetTasklet => {
                let t = self.tasklet_that(one, |m, t| !m.is_linked(t) && !m.is_bound(t))?;
                self.note(this, t);
                self.world.forget_tasklet(self.tids[t]);
                self.model.tasklets[t] = None;
            }
            NewThread if living(&self.model.threads).count() < 4 => {
                self.note(this, ());
                self.new_thread();
            }
            ForgetThread => {
                let h = self.thread(one)?;
                self.note(this, h);
                let rang = self.world.forget_thread(self.hids[h]);
                let expected = self.model.forget_thread(h);
                return Some(self.same("emptied ring", self.numbers(&rang), expected));
            }
            ReplaceMain => {
                let h = self.thread(one)?;
                let new = self.tasklet_that(two, |m, t| {
                    m.tasklet(t).thread == Some(h) && !m.is_linked(t) && !m.is_bound(t)
                })?;
                let Thread { main, ring, .. } = self.model.thread(h);
                (ring.front() == Some(main)).then_some(())?;
                self.note(this, (h, new));
                self.world.replace_main(self.hids[h], self.tids[new]);
                self.model.replace_main(h, new);
            }
            SetThread => {
                let t = self.tasklet_that(one, |m, t| {
                    m.ring_place(t).is_none() && !m.is_bound(t) && !m.has_places(t)
                })?;
                let h = self.thread(two)?;
                self.note(this, (t, h));
                self.world.set_thread(self.tids[t], self.hids[h]);
                self.model.tasklets[t].as_mut()?.thread = Some(h);
            }
            NewChannel if living(&self.model.channels).count() < 4 => {
                self.note(this, ());
                self.new_channel();
            }
            NewThread | NewChannel => {}
            ForgetChannel => {
                let c = self.channel(one).filter(|&c| self.model.channel(c).queue.is_empty())?;
                self.note(this, c);
                self.world.discard(self.cids[c]);
                self.world.forget_channel(self.cids[c]);
                self.model.channels[c] = None;
            }
            Link | LinkNext => {
                let t = self.paused(one)?;
                self.note(this, t);
                return Some(self.link(t, matches!(this, LinkNext)));
            }
            Unlink => {
                let t = self.in_ring(one)?;
                self.note(this, t);
                self.world.unlink(self.tids[t]);
                self.model.unlink(t);
            }
            PutBehind => {
                let t = self.in_ring(one)?;
                let (h, at) = self.model.ring_place(t)?;
                let ring = &self.model.thread(h).ring;
                let other = ring[two.index(ring.len())];
                if other == t || at == 0 {
                    return None;
                }
                self.note(this, t);
                self.world.move_behind(self.tids[t], self.tids[other]);
                self.model.move_behind(t, other);
            }
            RunNow => {
                let t = self.in_ring(one)?;
                self.note(this, t);
                self.run_now(t);
            }
            Yield => {
                let t = self.running(one)?;
                self.note(this, t);
                self.world.run_now(self.world.right_neighbour(self.tids[t]));
                self.model.run_now(self.model.next(t)?);
            }
            Enqueue(waits) => {
                let t = self.tasklet_that(one, |m, t| !m.is_linked(t))?;
                let c = self.channel(two).filter(|&c| self.may_wait(c, waits))?;
                self.note(this, (t, c));
                self.enqueue(c, t, waits);
            }
            EnqueuePlaces(first, second) => {
                let t = self.tasklet_that(one, |m, t| !m.is_linked(t))?;
                let from = self.channel(two)?;
                let all = living(&self.model.channels).map(|(c, _)| c).collect::<Vec<_>>();
                let turned = all.iter().filter(|&&c| c >= from).chain(all.iter().filter(|&&c| c < from));
                let wanted = turned.copied().zip([first, second, first]);
                let queues = wanted.filter(|&(c, waits)| self.may_wait(c, waits)).collect::<Vec<_>>();
                (!queues.is_empty()).then_some(())?;
                self.note(this, (t, &queues));
                self.enqueue_places(t, &queues);
            }
            Dequeue => {
                let t = self.tasklet_that(one, |_, _| true)?;
                self.note(this, t);
                self.dequeue(t);
            }
            Act(direction, waits) => {
                let (t, c) = (self.running(one)?, self.channel(two)?);
                self.note(this, (t, c));
                return Some(self.act(t, c, direction, waits));
            }
            Capacity(capacity) => {
                let empty =
                    |c: &usize| self.model.balance(*c) == 0 && self.model.channel(*c).queue.is_empty();
                let c = self.channel(one).filter(empty)?;
                self.note(this, c);
                self.set_capacity(c, capacity);
            }
            Preference(sign) => {
                let c = self.channel(one)?;
                self.note(this, c);
                self.world.set_preference(self.cids[c], sign);
                self.model.channel_mut(c).preference = sign.clamp(-1, 1);
            }
            ScheduleAll(all) => {
                let c = self.channel(one)?;
                self.note(this, c);
                self.world.set_schedule_all(self.cids[c], all);
                self.model.channel_mut(c).schedule_all = all;
            }
            Close => {
                let c = self.channel(one)?;
                self.note(this, c);
                self.model.channel_mut(c).closing = true;
                let mut expected = vec![];
                while let Some(t) = self.model.first_iterating(c) {
                    self.model.dequeue(t);
                    expected.push(t);
                }
                let ended = crate::close(&mut self.world, self.cids[c]);
                return Some(self.same("ended iterations", self.numbers(&ended), expected));
            }
            Open => {
                let c = self.channel(one)?;
                self.note(this, c);
                self.world.open(self.cids[c]);
                self.model.channel_mut(c).closing = false;
            }
            EnterRun(waits, limit) => {
                let t = self.running(one)?;
                self.note(this, t);
                let real = self.world.enter_run(self.tids[t], waits, limit);
                let expected = self.model.enter_run(t, waits, limit);
                return Some(self.same("the limit counts", real, expected));
            }
            Switch(turn, pending) => {
                let from = self.running(one)?;
                let h = self.model.tasklet(from).thread?;
                let t =
                    self.tasklet_that(two, |m, t| t != from && m.ring_place(t).is_some_and(|at| at.0 == h))?;
                self.note(this, (from, t));
                self.run_now(t);
                let instead = self.world.turn(self.hids[h], turn, pending);
                let expected = self.model.turn(h, turn, pending);
                return Some(self.same("runs instead", instead, expected.map(|t| self.tids[t])));
            }
            Tick(ticks) => {
                let h = self.thread(one)?;
                self.note(this, h);
                self.world.tick(self.hids[h], ticks);
                self.model.tick(h, ticks);
            }
            Expire => {
                let h = self.thread(one)?;
                self.note(this, h);
                self.world.expire(self.hids[h]);
                if let Some(timer) = &mut self.model.thread_mut(h).timer {
                    timer.expired = true;
                }
            }
            Interrupt => {
                let t = self.running(one)?;
                self.note(this, t);
                let owner = self.world.interrupt(self.tids[t]);
                let expected = self.model.interrupt(t);
                return Some(self.same("interrupted for", owner, expected.map(|t| self.tids[t])));
            }
            LeaveRun => {
                let t = self.tasklet_that(one, |_, _| true)?;
                self.note(this, t);
                return Some(self.leave_run(t).map(drop));
            }
            WakeSitter => {
                let sits = |m: &Model, t| {
                    let thread = m.tasklet(t).thread;
                    !m.is_linked(t) && thread.is_some_and(|h| m.sits(h, t))
                };
                let t = self.tasklet_that(one, sits)?;
                self.note(this, t);
                return Some(self.wake_sitter(t));
            }
        }
        Some(Ok(()))
    }

    pub fn link(&mut self, t: usize, next: bool) -> Checked {
        let woke = if next {
            (self.world.link_next(self.tids[t]), self.model.link_next(t))
        } else {
            (self.world.link(self.tids[t]), self.model.link(t))
        };
        self.same("the thread wants to be woken", woke.0, woke.1)
    }

    fn run_now(&mut self, t: usize) {
        self.world.run_now(self.tids[t]);
        self.model.run_now(t);
    }

    fn leave_run(&mut self, t: usize) -> Result<Vec<usize>, TestCaseError> {
        let (found, inner) = self.world.leave_run(self.tids[t]);
        let expected = self.model.leave_run(t);
        self.same("popped watchdogs", (found, self.numbers(&inner)), expected.clone())?;
        Ok(expected.1)
    }

    fn wake_sitter(&mut self, t: usize) -> Checked {
        self.link(t, false)?;
        self.run_now(t);
        for inner in self.leave_run(t)? {
            if !self.model.is_linked(inner) {
                self.link(inner, false)?;
            }
        }
        Ok(())
    }
}
