//! Whether the world and the model agree: everything that can be asked is compared.

use crate::against_model::{Both, Checked};
use crate::model::living;
use proptest::test_runner::TestCaseError;
use stackless_core::{Direction, Idle, TaskletId};
use std::fmt::Debug;

impl Both {
    pub fn numbers(&self, ids: &[TaskletId]) -> Vec<usize> {
        ids.iter().map(|&t| self.world.payload(t)).collect()
    }

    pub fn same<T: PartialEq + Debug>(&self, what: &str, real: T, model: T) -> Checked {
        if real == model {
            return Ok(());
        }
        let history = self.history.join("\n  ");
        Err(TestCaseError::fail(format!("{what}: {real:?}, the model: {model:?}, after\n  {history}")))
    }

    pub fn check(&self) -> Checked {
        let (w, m) = (&self.world, &self.model);
        let tasklets = living(&m.tasklets).map(|(t, _)| t).collect::<Vec<_>>();
        let mut all = self.numbers(&w.tasklets());
        all.sort_unstable();
        self.same("tasklets", &all, &tasklets)?;
        self.same("tasklet_count", w.tasklet_count(), tasklets.len())?;
        tasklets.iter().try_for_each(|&t| self.check_tasklet(t))?;
        living(&m.threads).try_for_each(|(h, _)| self.check_thread(h))?;
        living(&m.channels).try_for_each(|(c, _)| self.check_channel(c))
    }

    fn check_tasklet(&self, t: usize) -> Checked {
        let (w, m, id) = (&self.world, &self.model, self.tids[t]);
        let tid = |t: usize| self.tids[t];
        let in_ring = m.ring_place(t).is_some();
        self.same("payload", w.payload(id), t)?;
        self.same("thread_of", w.thread_of(id), m.tasklet(t).thread.map(|h| self.hids[h]))?;
        self.same("is_linked", w.is_linked(id), m.is_linked(t))?;
        self.same("in_ring", w.in_ring(id), in_ring)?;
        self.same("waits", w.waits(id), m.waits(t).map(|(c, waits)| (self.cids[c], waits)))?;
        let number = |id: Option<TaskletId>| id.map(|id| w.payload(id));
        self.same("next", number(w.next(id)), m.next(t))?;
        self.same("prev", number(w.prev(id)), m.prev(t))?;
        self.same("has_places", w.has_places(id), m.has_places(t))?;
        let places = w.places(id).map(|at| w.waits(at).map(|(c, _)| c)).collect::<Vec<_>>();
        let expected = m.tasklet(t).places.iter().map(|&c| Some(self.cids[c])).collect();
        self.same("places", places, expected)?;
        if in_ring {
            self.same("right_neighbour", Some(w.right_neighbour(id)), m.next(t).map(tid))?;
        }
        Ok(())
    }

    fn check_thread(&self, h: usize) -> Checked {
        let (w, id, thread) = (&self.world, self.hids[h], self.model.thread(h));
        let tid = |t: usize| self.tids[t];
        self.same("main", w.main(id), tid(thread.main))?;
        self.same("run_count", w.run_count(id) as usize, thread.ring.len())?;
        self.same("head", w.head(id), thread.ring.front().map(|&t| tid(t)))?;
        self.same("watcher", w.watcher(id), tid(self.model.watcher(h)))?;
        let sitting = thread.watchdogs.iter().map(|&(t, _)| tid(t)).collect::<Vec<_>>();
        self.same("watchdogs", w.watchdogs(id), sitting)?;
        let idle = |t: &usize| !self.model.is_linked(*t);
        let waiting = thread.watchdogs.last().filter(|w| w.1).map(|w| w.0).filter(idle);
        self.same("waiting", w.waiting(id), waiting.map(tid))?;
        let timer = thread.timer.as_ref();
        let expired = timer.filter(|timer| timer.expired);
        self.same("timer", w.timer(id), timer.map(|timer| tid(timer.owner)))?;
        self.same("expired", w.expired(id), expired.map(|timer| timer.owner).filter(idle).map(tid))?;
        self.same("due", w.due(id), expired.is_some_and(|timer| !timer.limit.soft))?;
        let owned = living(&self.model.tasklets).filter(|(_, tasklet)| tasklet.thread == Some(h));
        let mut theirs = self.numbers(&w.tasklets_of(id));
        theirs.sort_unstable();
        self.same("tasklets_of", theirs, owned.map(|(t, _)| t).collect())?;
        if let (1, Some(&last)) = (thread.ring.len(), thread.ring.front()) {
            let expected = match self.model.when_idle(last) {
                (true, false, watcher) => Idle::Resume(tid(watcher)),
                (true, true, watcher) => Idle::Wait(tid(watcher)),
                (false, _, watcher) => Idle::Stuck(tid(watcher)),
            };
            self.same("when_idle", w.when_idle(tid(last)), expected)?;
        }
        Ok(())
    }

    fn check_channel(&self, c: usize) -> Checked {
        let (w, m, id, channel) = (&self.world, &self.model, self.cids[c], self.model.channel(c));
        self.same("channel_payload", w.channel_payload(id), c)?;
        self.same("balance", w.balance(id), m.balance(c))?;
        self.same("preference", w.preference(id), channel.preference)?;
        self.same("schedule_all", w.schedule_all(id), channel.schedule_all)?;
        self.same("closing", w.closing(id), channel.closing)?;
        let plain = !channel.closing && channel.capacity == 0 && m.either(c).is_none();
        self.same("is_plain", w.is_plain(id), plain)?;
        self.same("is_idle", w.is_idle(id), channel.queue.is_empty() && channel.buffered == 0)?;
        let number = |id: Option<TaskletId>| id.map(|id| w.payload(id));
        self.same("either", number(w.either(id)), m.either(c))?;
        let after = |&at: &TaskletId| w.next(at);
        let queue = std::iter::successors(w.first_waiting(id), after);
        let queue = queue.map(|at| (w.payload(at), w.waits(at).map(|(_, waits)| waits))).collect::<Vec<_>>();
        let expected = channel.queue.iter().map(|&(t, waits)| (t, Some(waits))).collect();
        self.same("queue", queue, expected)?;
        self.same("capacity", w.capacity(id), channel.capacity)?;
        self.same("buffered", w.buffered(id), channel.buffered)?;
        self.same("takes_more", w.takes_more(id), m.takes_more(c))?;
        let values = w.channels_with_values().contains(&id);
        self.same("channels_with_values", values, channel.buffered > 0)?;
        self.same("channels_in_use", w.channels_in_use().contains(&id), !channel.queue.is_empty())?;
        let iterating = m.first_iterating(c).map(|t| self.tids[t]);
        self.same("first_iterating", w.first_iterating(id), iterating)?;
        for direction in [Direction::Send, Direction::Receive] {
            let expected = m.partner(c, direction);
            self.same("partner", number(w.partner(id, direction)), expected)?;
            let served = match direction {
                Direction::Send => m.takes_more(c),
                Direction::Receive => channel.buffered > 0,
            };
            self.same(
                "would_wait",
                w.would_wait(id, direction),
                expected.is_none() && m.either(c).is_none() && !served,
            )?;
            self.same("successor", w.successor(id, direction), m.successor(c, direction))?;
        }
        Ok(())
    }
}
