//! The rules of channels: queues of tasklets that wait for a partner, and buffers.
//!
//! A channel may have a *capacity*: the number of values that are kept for receivers while their senders go on. The
//! values themselves are the caller's; here they are counted. The rules of a buffer:
//!
//! * A sender whose value has room in the buffer does not wait. A receiver takes the oldest value of the buffer.
//! * So receivers wait only while the buffer is empty, and senders only while it is full.
//! * When a value is taken while senders wait, the value of the first one is put into the buffer, and it leaves the
//!   queue.
//! * The balance counts the values in the buffer as senders that wait. A closed channel's balance does not grow: nothing
//!   is put into its buffer, except the values of senders that wait already.
//! * Where a tasklet meets no other one, none is made to run instead of it.

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
    /// n if n senders wait, those of the values in the buffer included; -n if n receivers wait.
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

    /// True if queue and buffer may not grow.
    #[inline(always)]
    pub fn closing(&self, c: ChannelId) -> bool {
        self.channels[c.0].closing
    }

    /// Undoes [`World::close`].
    pub fn open(&mut self, c: ChannelId) {
        self.set_closing(c, false);
    }

    /// From now on queue and buffer may not grow.
    pub fn close(&mut self, c: ChannelId) {
        self.set_closing(c, true);
    }

    fn set_closing(&mut self, c: ChannelId, closing: bool) {
        let channel = &mut self.channels[c.0];
        channel.closing = closing;
        channel.plain = !closing && channel.capacity == 0 && !channel.either;
    }

    /// True if a tasklet that finds no [partner](World::partner) waits: the channel is open, has no buffer, and no tasklet
    /// waits there to do either.
    #[inline(always)]
    pub fn is_plain(&self, c: ChannelId) -> bool {
        self.channels[c.0].plain
    }

    /// Gives a channel in which nothing waits a buffer for this many values, or none with 0. It prefers the receiver
    /// without a buffer, and the acting tasklet with one.
    pub fn set_capacity(&mut self, c: ChannelId, capacity: u32) {
        let channel = &mut self.channels[c.0];
        debug_assert!(channel.head == NONE && channel.buffered == 0 && !channel.either);
        channel.capacity = capacity;
        channel.plain = !channel.closing && capacity == 0;
        (channel.meets_above, channel.preference) = if capacity == 0 { (0, -1) } else { (i32::MAX, 0) };
    }

    /// True if no tasklet waits in the channel, and no value is in its buffer.
    pub fn is_idle(&self, c: ChannelId) -> bool {
        let channel = &self.channels[c.0];
        channel.head == NONE && channel.buffered == 0
    }

    /// The maximum number of values in the buffer: 0 without one.
    pub fn capacity(&self, c: ChannelId) -> u32 {
        self.channels[c.0].capacity
    }

    /// The number of values in the buffer.
    pub fn buffered(&self, c: ChannelId) -> u32 {
        self.channels[c.0].buffered
    }

    /// True if a value can be put into the buffer: there is room, and the channel is open.
    pub fn takes_more(&self, c: ChannelId) -> bool {
        let channel = &self.channels[c.0];
        channel.buffered < channel.capacity && !channel.closing
    }

    /// One more value is in the buffer.
    pub fn put(&mut self, c: ChannelId) {
        let channel = &mut self.channels[c.0];
        debug_assert!(channel.buffered < channel.capacity);
        channel.buffered += 1;
        channel.balance += 1;
    }

    /// There is no value in the buffer any more: the channel is about to be forgotten.
    pub fn discard(&mut self, c: ChannelId) {
        let channel = &mut self.channels[c.0];
        channel.balance -= channel.buffered as i32;
        channel.buffered = 0;
    }

    /// One value less is in the buffer. Returns the sender that has waited longest for room: its value is to be
    /// [put](World::put) into the buffer, and it is to leave the queue.
    pub fn take(&mut self, c: ChannelId) -> Option<TaskletId> {
        let channel = &mut self.channels[c.0];
        debug_assert!(channel.buffered > 0);
        channel.buffered -= 1;
        channel.balance -= 1;
        tasklet_at(channel.head)
    }

    /// True if a tasklet that acts in this direction has to wait, or is refused because the channel is closed.
    pub fn would_wait(&self, c: ChannelId, acting: Direction) -> bool {
        let served = match acting {
            Direction::Send => self.takes_more(c),
            Direction::Receive => self.buffered(c) > 0,
        };
        !served && self.partner(c, acting).is_none() && !self.channels[c.0].either
    }

    /// True if a tasklet that acts in this direction would not wait, or may not act as the channel is closing.
    #[inline(always)]
    pub fn answers_now(&self, c: ChannelId, acting: Direction) -> bool {
        let channel = &self.channels[c.0];
        if channel.plain {
            // Without buffer, end and waiters for either: the balance tells all.
            return match acting {
                Direction::Send => channel.balance < 0,
                Direction::Receive => channel.balance > 0,
            };
        }
        !self.would_wait(c, acting) || self.closing(c)
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

    /// The channel a tasklet waits in, and what it waits to do. For one that waits in several: the first of them.
    #[inline(always)]
    pub fn waits(&self, t: TaskletId) -> Option<(ChannelId, WaitsTo)> {
        match self.tasklets[t.0].list {
            Membership::Queue(c, w) => Some((c, w)),
            Membership::Places => self.waits(self.places(t).next()?),
            _ => None,
        }
    }

    /// The tasklet that waits in this channel to send or to receive, whatever comes first.
    pub fn either(&self, c: ChannelId) -> Option<TaskletId> {
        let channel = &self.channels[c.0];
        if channel.either { tasklet_at(channel.head) } else { None }
    }

    /// The tasklet that waits for a partner that acts in this direction.
    #[inline(always)]
    pub fn partner(&self, c: ChannelId, acting: Direction) -> Option<TaskletId> {
        let channel = &self.channels[c.0];
        let waits = match acting {
            Direction::Send => channel.balance < 0,
            Direction::Receive => channel.balance > channel.meets_above,
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
        let Membership::Queue(c, waits) = record.list else { return self.leave_places_rarely(t) };
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
