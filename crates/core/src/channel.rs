//! The rules of channels: queues of tasklets that wait for a partner.

use crate::records::{ChannelId, Membership, NONE, TaskletId, WaitsTo, World, tasklet_at};

/// What a tasklet does with a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Send,
    Receive,
}

/// The tasklet that continues when two tasklets of one thread have met in a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Successor {
    /// The acting tasklet; the partner runs when its turn comes.
    Actor,
    /// The partner, at once; the acting tasklet is now the last of the ring.
    Partner,
    /// The acting tasklet's right neighbour; both run when their turn comes.
    Neighbour,
}

impl<P: Copy, C: Copy, H: Copy> World<P, C, H> {
    /// n if n senders wait, -n if n receivers wait.
    #[inline(always)]
    pub fn balance(&self, c: ChannelId) -> i32 {
        self.channels[c.0].balance
    }

    /// The tasklet that has waited longest.
    #[inline(always)]
    pub fn first_waiting(&self, c: ChannelId) -> Option<TaskletId> {
        tasklet_at(self.channels[c.0].head)
    }

    /// Which tasklet continues after a transfer: -1 the receiver, 1 the sender, 0 the acting one.
    pub fn preference(&self, c: ChannelId) -> i8 {
        self.channels[c.0].preference
    }

    /// Sets the preference: the sign of `value`.
    pub fn set_preference(&mut self, c: ChannelId, value: i8) {
        self.channels[c.0].preference = value.signum();
    }

    /// True if every transfer hands over to the right neighbour.
    pub fn schedule_all(&self, c: ChannelId) -> bool {
        self.channels[c.0].schedule_all
    }

    /// Sets or clears [`World::schedule_all`].
    pub fn set_schedule_all(&mut self, c: ChannelId, value: bool) {
        self.channels[c.0].schedule_all = value;
    }

    /// True if the queue may not grow.
    #[inline(always)]
    pub fn closing(&self, c: ChannelId) -> bool {
        self.channels[c.0].closing
    }

    /// Undoes [`World::close`].
    pub fn open(&mut self, c: ChannelId) {
        self.channels[c.0].closing = false;
    }

    /// From now on the queue may not grow.
    pub fn close(&mut self, c: ChannelId) {
        self.channels[c.0].closing = true;
    }

    /// Of the tasklets that wait in an iteration, the one that has waited longest: closing the channel
    /// ends the iteration.
    pub fn first_iterating(&self, c: ChannelId) -> Option<TaskletId> {
        let mut at = self.first_waiting(c);
        while let Some(t) = at {
            if self.waits(t).is_some_and(|(_, w)| w == WaitsTo::Iterate) {
                return Some(t);
            }
            at = self.next(t);
        }
        None
    }

    /// The channel a tasklet waits in, and what it waits to do.
    #[inline(always)]
    pub fn waits(&self, t: TaskletId) -> Option<(ChannelId, WaitsTo)> {
        match self.tasklets[t.0].list {
            Membership::Queue(c, w) => Some((c, w)),
            _ => None,
        }
    }

    /// The tasklet that waits for a partner that acts in this direction.
    #[inline(always)]
    pub fn partner(&self, c: ChannelId, acting: Direction) -> Option<TaskletId> {
        let channel = &self.channels[c.0];
        let waits = match acting {
            Direction::Send => channel.balance < 0,
            Direction::Receive => channel.balance > 0,
        };
        if waits { tasklet_at(channel.head) } else { None }
    }

    /// The tasklet that continues when one acts in this direction and its partner, of the same thread,
    /// waits.
    #[inline(always)]
    pub fn successor(&self, c: ChannelId, acting: Direction) -> Successor {
        let channel = &self.channels[c.0];
        if channel.schedule_all {
            return Successor::Neighbour;
        }
        let favours_partner = match acting {
            Direction::Send => channel.preference < 0,
            Direction::Receive => channel.preference > 0,
        };
        if favours_partner { Successor::Partner } else { Successor::Actor }
    }

    /// Appends an unlinked tasklet to a channel's queue.
    #[inline(always)]
    pub fn enqueue(&mut self, c: ChannelId, t: TaskletId, waits: WaitsTo) {
        let channel = &mut self.channels[c.0];
        let tail = channel.tail;
        channel.tail = t.0;
        channel.balance += if waits == WaitsTo::Send { 1 } else { -1 };
        if tail == NONE {
            channel.head = t.0;
        } else {
            self.tasklets[tail].next = t.0;
        }
        let record = &mut self.tasklets[t.0];
        debug_assert_eq!(record.list, Membership::None);
        (record.next, record.prev, record.list) = (NONE, tail, Membership::Queue(c, waits));
    }

    /// Takes a waiting tasklet out of its queue, whatever its position there.
    #[inline(always)]
    pub fn dequeue(&mut self, t: TaskletId) {
        let record = &mut self.tasklets[t.0];
        let Membership::Queue(c, waits) = record.list else { return };
        let (next, prev) = (record.next, record.prev);
        (record.next, record.prev, record.list) = (NONE, NONE, Membership::None);
        if next != NONE {
            self.tasklets[next].prev = prev;
        }
        if prev != NONE {
            self.tasklets[prev].next = next;
        }
        let channel = &mut self.channels[c.0];
        channel.balance -= if waits == WaitsTo::Send { 1 } else { -1 };
        if channel.head == t.0 {
            channel.head = next;
        }
        if channel.tail == t.0 {
            channel.tail = prev;
        }
    }
}
