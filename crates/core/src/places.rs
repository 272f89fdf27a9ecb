//! Tasklets that wait in several queues at once, until one of them has a partner.
//!
//! Such a tasklet is in no queue itself. For each channel it has a *place*: a record of its own that is in the channel's
//! queue, and has the tasklet's payload. So whatever finds a waiting tasklet in a queue finds the place as well, and gets
//! the tasklet as its payload; that the ids differ tells a place from a tasklet. When the tasklet leaves, for whatever
//! reason, all its places are forgotten at once.
//!
//! ```text
//!   channel 7   queue  a ──> [t at 7]           t waits in no list itself: its `place` leads to [t at 7],
//!   channel 8   queue  [t at 8] ──> b           that one's to [t at 8], and that one's back to t
//! ```
//!
//! A channel has at most one place of a tasklet. If the tasklet waits there to send and to receive, the place waits to do
//! [either](WaitsTo::Either), and the channel's balance does not count it: [`World::either`] finds it.

use crate::records::{ChannelId, Membership, NONE, TaskletId, WaitsTo, World};

impl<P: Copy, C: Copy, H: Copy> World<P, C, H> {
    /// A tasklet that is in no list waits at the end of these queues from now on, which must be of different channels.
    /// There is memory for the places: see [`World::make_room_for_places`].
    pub fn enqueue_places(&mut self, t: TaskletId, queues: impl IntoIterator<Item = (ChannelId, WaitsTo)>) {
        debug_assert!(self.tasklets[t.0].list == Membership::None && self.tasklets[t.0].place == NONE);
        let (thread, payload) = (self.tasklets[t.0].thread, self.tasklets[t.0].payload);
        self.tasklets[t.0].list = Membership::Places;
        let mut last = t;
        for (c, waits) in queues {
            let place = self.add_tasklet(None, payload);
            self.places += 1;
            self.tasklets[place.0].thread = thread;
            self.tasklets[last.0].place = place.0;
            self.enqueue(c, place, waits);
            if waits == WaitsTo::Either {
                let channel = &mut self.channels[c.0];
                (channel.either, channel.plain) = (true, false);
                channel.balance = 0; // there is no other waiter, and this one does not count
            }
            last = place;
        }
        self.tasklets[last.0].place = t.0;
    }

    /// The places of a tasklet, in the order in which they were given.
    pub fn places(&self, t: TaskletId) -> impl Iterator<Item = TaskletId> + '_ {
        let after = move |at: TaskletId| {
            let next = self.tasklets[at.0].place;
            (next != NONE && next != t.0).then_some(TaskletId(next))
        };
        std::iter::successors(after(t), move |&at| after(at))
    }

    /// True if a tasklet waits in several queues.
    pub fn has_places(&self, t: TaskletId) -> bool {
        self.tasklets[t.0].list == Membership::Places
    }

    /// As [`World::leave_places`], where that is rare.
    #[cold]
    #[inline(never)]
    pub(crate) fn leave_places_rarely(&mut self, t: TaskletId) {
        self.leave_places(t);
    }

    /// Takes a tasklet out of all queues in which it has places. Nothing happens to one that has none.
    pub fn leave_places(&mut self, t: TaskletId) {
        if !self.has_places(t) {
            return;
        }
        let mut at = self.tasklets[t.0].place;
        while at != t.0 {
            let place = TaskletId(at);
            let list = self.tasklets[at].list;
            self.dequeue(place);
            if let Membership::Queue(c, WaitsTo::Either) = list {
                let channel = &mut self.channels[c.0];
                channel.either = false;
                channel.plain = !channel.closing && channel.capacity == 0;
                channel.balance = 0;
            }
            at = std::mem::replace(&mut self.tasklets[at].place, NONE);
            self.places -= 1;
            self.forget_tasklet(place);
        }
        self.tasklets[t.0].place = NONE;
        self.tasklets[t.0].list = Membership::None;
    }
}
