//! A toy scheduler: tasklets are lists of steps, and the rules decide whose step is next. What a
//! real one does around them (stacks, values, exceptions) is left out.

use stackless_core::{ChannelId, Direction, Idle, Successor, TaskletId, ThreadId, WaitsTo, World};
use std::collections::VecDeque;

/// What a tasklet does next. All of them use the same channel.
#[derive(Clone, Copy)]
pub enum Step {
    /// Writes a word into the log.
    Say(&'static str),
    Send,
    Receive,
    /// Asks for the channel's next item.
    Iterate,
    /// Sends until no tasklet waits any more.
    SendToAll,
    Close,
    Schedule,
    /// `name.run()`.
    Run(&'static str),
    /// `name.switch()`.
    Switch(&'static str),
    /// `name.remove()`.
    Remove(&'static str),
    /// `stackless.run()`.
    RunAll,
    /// What is left to do of `RunAll` when its caller continues.
    RunAllReturns,
}
use Step::*;

/// A name and its steps.
pub type Program = (&'static str, &'static [Step]);

pub type Toy = World<usize, ()>;

struct Play {
    world: Toy,
    thread: ThreadId,
    channel: ChannelId,
    names: Vec<&'static str>,
    tasklets: Vec<TaskletId>,
    steps: Vec<VecDeque<Step>>,
    log: Vec<&'static str>,
}

/// Makes the tasklets in this order, all of them runnable, and plays main's steps to their end.
/// Returns the steps. A last step "deadlock" means that no tasklet could continue.
pub fn play(main: &[Step], tasklets: &[Program], set_up: impl FnOnce(&mut Toy, ChannelId)) -> String {
    let mut world = Toy::new();
    let main_tasklet = world.add_tasklet(None, 0);
    let thread = world.add_thread(main_tasklet, ());
    let channel = world.add_channel(());
    set_up(&mut world, channel);
    let mut play = Play {
        world,
        thread,
        channel,
        names: vec!["main"],
        tasklets: vec![main_tasklet],
        steps: vec![main.iter().copied().collect()],
        log: Vec::new(),
    };
    for (name, steps) in tasklets {
        let t = play.world.add_tasklet(Some(thread), play.names.len());
        play.world.link(t);
        play.names.push(name);
        play.tasklets.push(t);
        play.steps.push(steps.iter().copied().collect());
    }
    let steps = (0..1000).take_while(|_| play.go_on()).count();
    assert!(steps < 1000, "the play does not end: {}", play.log.join(" "));
    play.log.join(" ")
}

impl Play {
    /// The running tasklet takes its next step. False when the play is over.
    fn go_on(&mut self) -> bool {
        let me = self.world.head(self.thread).expect("somebody runs");
        let index = self.world.payload(me);
        let Some(step) = self.steps[index].pop_front() else {
            return index != 0 && self.depart(me, None);
        };
        match step {
            Say(word) => self.log.push(word),
            Send => return self.act(me, Direction::Send, WaitsTo::Send),
            Receive => return self.act(me, Direction::Receive, WaitsTo::Receive),
            Iterate => return self.act(me, Direction::Receive, WaitsTo::Iterate),
            SendToAll if self.world.balance(self.channel) < 0 => {
                self.steps[index].push_front(SendToAll);
                return self.act(me, Direction::Send, WaitsTo::Send);
            }
            SendToAll => {}
            Close => {
                for t in crate::close(&mut self.world, self.channel) {
                    self.world.link(t);
                }
            }
            Schedule => self.world.run_now(self.world.right_neighbour(me)),
            Run(name) => self.run(name),
            Switch(name) => {
                self.run(name);
                self.world.unlink(me);
            }
            Remove(name) => self.world.unlink(self.named(name)),
            RunAll if self.world.run_count(self.thread) > 1 => {
                self.steps[index].push_front(RunAllReturns);
                self.world.enter_run(me, false, None);
            }
            RunAll => {}
            RunAllReturns => {
                for inner in self.world.leave_run(me).1 {
                    if !self.world.is_linked(inner) {
                        self.world.link(inner);
                    }
                }
            }
        }
        true
    }

    fn named(&self, name: &str) -> TaskletId {
        self.tasklets[self.names.iter().position(|n| *n == name).expect("a known name")]
    }

    /// The order stays, but a tasklet that was in no list is appended first.
    fn run(&mut self, name: &str) {
        let t = self.named(name);
        if !self.world.is_linked(t) {
            self.world.link(t);
        }
        self.world.run_now(t);
    }

    /// Meets the partner that waits, or waits for one.
    fn act(&mut self, me: TaskletId, direction: Direction, waits: WaitsTo) -> bool {
        let Some(partner) = self.world.partner(self.channel, direction) else {
            return self.depart(me, Some(waits));
        };
        self.world.dequeue(partner);
        match self.world.successor(self.channel, direction) {
            Successor::Actor => {
                self.world.link(partner);
            }
            Successor::Partner => {
                self.world.link_next(partner);
                self.world.run_now(partner);
            }
            Successor::Neighbour => {
                self.world.link(partner);
                self.world.run_now(self.world.right_neighbour(me));
            }
        }
        true
    }

    /// The running tasklet leaves the ring, for the channel's queue or for good.
    fn depart(&mut self, me: TaskletId, waits: Option<WaitsTo>) -> bool {
        if self.world.right_neighbour(me) == me {
            match self.world.when_idle(me) {
                Idle::Resume(watcher) | Idle::Wait(watcher) => {
                    self.world.link(watcher);
                }
                Idle::Stuck(_) => {
                    self.log.push("deadlock");
                    return false;
                }
            }
        }
        self.world.unlink(me);
        if let Some(waits) = waits {
            self.world.enqueue(self.channel, me, waits);
        }
        true
    }
}
