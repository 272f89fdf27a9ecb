//! Moves of the random histories that have to do with channels: a tasklet meets a partner, uses the buffer, or waits, in
//! one queue or in several.

use crate::against_model::{Both, Checked};
use stackless_core::{Direction, Successor, WaitsTo};

impl Both {
    /// True if a tasklet may begin to wait there to do this.
    pub fn may_wait(&self, c: usize, waits: WaitsTo) -> bool {
        let balance = self.model.balance(c);
        let other_kind = if waits == WaitsTo::Send { balance < 0 } else { balance > 0 };
        let channel = self.model.channel(c);
        let has_room = waits == WaitsTo::Send && channel.buffered < channel.capacity;
        let is_met = match waits {
            WaitsTo::Either => !channel.queue.is_empty() || channel.capacity > 0,
            _ => self.model.either(c).is_some(),
        };
        !channel.closing && !other_kind && !has_room && !is_met
    }

    pub fn enqueue(&mut self, c: usize, t: usize, waits: WaitsTo) {
        self.world.enqueue(self.cids[c], self.tids[t], waits);
        self.model.enqueue(c, t, waits);
    }

    /// Waits in several queues from now on, in those that it may.
    pub fn enqueue_places(&mut self, t: usize, queues: &[(usize, WaitsTo)]) {
        let places = queues.iter().map(|&(c, waits)| (self.cids[c], waits));
        assert!(self.world.make_room_for_places(queues.len()));
        self.world.enqueue_places(self.tids[t], places);
        self.model.enqueue_places(t, queues);
    }

    pub fn dequeue(&mut self, t: usize) {
        self.world.dequeue(self.tids[t]);
        self.model.dequeue(t);
    }

    /// A whole channel operation of a running tasklet. The model changes its ring as the contract's
    /// table says it in words.
    pub fn act(&mut self, me: usize, c: usize, direction: Direction, waits: WaitsTo) -> Checked {
        let Some(partner) = self.model.partner(c, direction).or(self.model.either(c)) else {
            if let Some(done) = self.use_buffer(c, direction) {
                return done;
            }
            return if self.may_wait(c, waits) { self.block(me, c, waits) } else { Ok(()) };
        };
        self.dequeue(partner);
        let (mine, theirs) = (self.model.tasklet(me).thread, self.model.tasklet(partner).thread);
        if theirs.is_none() {
            return Ok(());
        }
        if mine != theirs {
            return self.link(partner, false);
        }
        let (me_id, partner_id) = (self.tids[me], self.tids[partner]);
        match self.world.successor(self.cids[c], direction) {
            Successor::Actor => {
                self.world.link(partner_id);
            }
            Successor::Partner => {
                self.world.link_next(partner_id);
                self.world.run_now(partner_id);
            }
            Successor::Neighbour => {
                self.world.link(partner_id);
                self.world.run_now(self.world.right_neighbour(me_id));
            }
        }
        let successor = self.model.successor(c, direction);
        let ring = &mut self.model.thread_mut(mine.unwrap()).ring;
        match successor {
            // The acting tasklet continues, the partner is appended at the end.
            Successor::Actor => ring.push_back(partner),
            // The partner continues at once, the acting tasklet is now the last of the ring.
            Successor::Partner => {
                ring[0] = partner;
                ring.push_back(me);
            }
            // The partner is appended at the end, the right neighbour of the acting tasklet continues.
            Successor::Neighbour => {
                ring.push_back(partner);
                ring.rotate_left(1);
            }
        }
        Ok(())
    }

    /// Puts a value into the buffer, or takes one out. None: it is full, or empty.
    pub fn use_buffer(&mut self, c: usize, direction: Direction) -> Option<Checked> {
        if direction == Direction::Send {
            self.model.takes_more(c).then_some(())?;
            self.world.put(self.cids[c]);
            self.model.channel_mut(c).buffered += 1;
            return Some(Ok(()));
        }
        (self.model.channel(c).buffered > 0).then_some(())?;
        self.model.channel_mut(c).buffered -= 1;
        let freed = self.world.take(self.cids[c]);
        let expected = self.model.channel(c).queue.front().map(|&(t, _)| t);
        let same = self.same("has room now", freed.map(|t| self.world.payload(t)), expected);
        let Some(sender) = expected.filter(|_| same.is_ok()) else { return Some(same) };
        self.dequeue(sender);
        self.world.put(self.cids[c]);
        self.model.channel_mut(c).buffered += 1;
        Some(if self.model.tasklet(sender).thread.is_some() { self.link(sender, false) } else { Ok(()) })
    }

    /// The running tasklet waits. The last one of its ring may do so if its watcher can continue.
    pub fn block(&mut self, me: usize, c: usize, waits: WaitsTo) -> Checked {
        let mut woken = None;
        if self.model.next(me) == Some(me) {
            match self.model.when_idle(me) {
                (true, _, watcher) => woken = Some(watcher),
                (false, ..) => return Ok(()),
            }
        }
        self.world.unlink(self.tids[me]);
        self.model.unlink(me);
        self.enqueue(c, me, waits);
        woken.map_or(Ok(()), |watcher| self.link(watcher, false))
    }
}
