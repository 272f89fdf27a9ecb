//! Channels: queues of tasklets that wait for a partner.

use crate::ring::{Place, Tid};
use crate::{NONE, World, ring::tid};

/// A channel's id, valid from [`World::add_channel`] to [`World::forget_channel`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Cid(pub(crate) u32);

impl Cid {
    /// Its number: small, and used again after its end.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a tasklet does with a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Send,
    Receive,
}

/// What a tasklet in a queue waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    ToSend,
    ToReceive,
    /// To receive, inside an iteration over the channel: `close()` ends that.
    ToIterate,
}

/// Who continues when two tasklets of one thread meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hand {
    /// The acting one goes on; the partner runs when its turn comes.
    Keep,
    /// The partner goes on at once; the acting one is now the last of the ring.
    ToPartner,
    /// The acting one's right neighbour goes on; both run when their turn comes.
    ToNeighbour,
}

pub(crate) struct Channel<C> {
    head: u32,
    tail: u32,
    /// n senders wait: +n; n receivers wait: -n.
    balance: i32,
    preference: i8,
    schedule_all: bool,
    closing: bool,
    payload: C,
}

impl<P: Copy, C: Copy> World<P, C> {
    /// A new channel: open, preferring the receiver.
    pub fn add_channel(&mut self, payload: C) -> Cid {
        Cid(self.channels.insert(Channel {
            head: NONE,
            tail: NONE,
            balance: 0,
            preference: -1,
            schedule_all: false,
            closing: false,
            payload,
        }))
    }

    /// Drops the record of a channel in which nobody waits.
    pub fn forget_channel(&mut self, c: Cid) {
        debug_assert_eq!(self.channels[c.0].balance, 0);
        self.channels.remove(c.0);
    }

    /// Every channel in which somebody waits.
    pub fn channels_in_use(&self) -> Vec<Cid> {
        let all = self.channels.items.iter().enumerate();
        all.filter(|(_, channel)| channel.balance != 0).map(|(i, _)| Cid(i as u32)).collect()
    }

    /// What the caller stored for this channel.
    pub fn channel_payload(&self, c: Cid) -> C {
        self.channels[c.0].payload
    }

    /// n senders wait: n; n receivers wait: -n.
    #[inline(always)]
    pub fn balance(&self, c: Cid) -> i32 {
        self.channels[c.0].balance
    }

    /// The longest waiting tasklet.
    #[inline(always)]
    pub fn first_waiting(&self, c: Cid) -> Option<Tid> {
        tid(self.channels[c.0].head)
    }

    /// -1 the receiver, 0 nobody, 1 the sender goes on after a transfer.
    pub fn preference(&self, c: Cid) -> i8 {
        self.channels[c.0].preference
    }

    /// Sets the preference: the sign of `value`.
    pub fn set_preference(&mut self, c: Cid, value: i8) {
        self.channels[c.0].preference = value.signum();
    }

    /// Does every transfer hand over to the right neighbour?
    pub fn schedule_all(&self, c: Cid) -> bool {
        self.channels[c.0].schedule_all
    }

    /// Sets or clears [`World::schedule_all`].
    pub fn set_schedule_all(&mut self, c: Cid, value: bool) {
        self.channels[c.0].schedule_all = value;
    }

    /// Is the queue forbidden to grow?
    #[inline(always)]
    pub fn closing(&self, c: Cid) -> bool {
        self.channels[c.0].closing
    }

    /// Undoes [`World::close`].
    pub fn open(&mut self, c: Cid) {
        self.channels[c.0].closing = false;
    }

    /// From now on the queue does not grow.
    pub fn close(&mut self, c: Cid) {
        self.channels[c.0].closing = true;
    }

    /// The longest waiting tasklet that waits in an iteration: closing the channel ends that.
    pub fn first_iterating(&self, c: Cid) -> Option<Tid> {
        let mut at = self.first_waiting(c);
        while let Some(t) = at {
            if self.waits(t).is_some_and(|(_, w)| w == Waits::ToIterate) {
                return Some(t);
            }
            at = self.next(t);
        }
        None
    }

    /// The channel a tasklet waits in, and for what.
    #[inline(always)]
    pub fn waits(&self, t: Tid) -> Option<(Cid, Waits)> {
        match self.nodes[t.0].place {
            Place::Queue(c, w) => Some((c, w)),
            _ => None,
        }
    }

    /// The partner that waits for somebody who acts in this direction.
    #[inline(always)]
    pub fn partner(&self, c: Cid, acting: Direction) -> Option<Tid> {
        let channel = &self.channels[c.0];
        let waits = match acting {
            Direction::Send => channel.balance < 0,
            Direction::Receive => channel.balance > 0,
        };
        if waits { tid(channel.head) } else { None }
    }

    /// Who continues when a tasklet acts in this direction and its partner, of the same thread, waits.
    #[inline(always)]
    pub fn hand_over(&self, c: Cid, acting: Direction) -> Hand {
        let channel = &self.channels[c.0];
        if channel.schedule_all {
            return Hand::ToNeighbour;
        }
        let favours_partner = match acting {
            Direction::Send => channel.preference < 0,
            Direction::Receive => channel.preference > 0,
        };
        if favours_partner { Hand::ToPartner } else { Hand::Keep }
    }

    /// Appends an unlinked tasklet to a channel's queue.
    #[inline(always)]
    pub fn enqueue(&mut self, c: Cid, t: Tid, waits: Waits) {
        let channel = &mut self.channels[c.0];
        let tail = channel.tail;
        channel.tail = t.0;
        channel.balance += if waits == Waits::ToSend { 1 } else { -1 };
        if tail == NONE {
            channel.head = t.0;
        } else {
            self.nodes[tail].next = t.0;
        }
        let node = &mut self.nodes[t.0];
        debug_assert_eq!(node.place, Place::Nowhere);
        (node.next, node.prev, node.place) = (NONE, tail, Place::Queue(c, waits));
    }

    /// Takes a waiting tasklet out of its queue, wherever it stands there.
    #[inline(always)]
    pub fn dequeue(&mut self, t: Tid) {
        let node = &mut self.nodes[t.0];
        let Place::Queue(c, waits) = node.place else { return };
        let (next, prev) = (node.next, node.prev);
        (node.next, node.prev, node.place) = (NONE, NONE, Place::Nowhere);
        if next != NONE {
            self.nodes[next].prev = prev;
        }
        if prev != NONE {
            self.nodes[prev].next = next;
        }
        let channel = &mut self.channels[c.0];
        channel.balance -= if waits == Waits::ToSend { 1 } else { -1 };
        if channel.head == t.0 {
            channel.head = next;
        }
        if channel.tail == t.0 {
            channel.tail = prev;
        }
    }
}
