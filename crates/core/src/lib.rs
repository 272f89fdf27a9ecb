//! The rules of Stackless: who stands where, and who runs next.
//!
//! This crate knows nothing of Python, of C stacks or of the operating system. It keeps three
//! kinds of record in one [`World`], refers to them by small integers, and moves tasklets between
//! places when it is told to. Everything that *happens* (the switch of stacks, the values that
//! change hands, exceptions) is the caller's part.
//!
//! ```text
//!   thread 0                      channel 7 (balance +2)
//!   ┌────────────────────┐        ┌───────────────────────┐
//!   │ ring  ┌─> a ─> b ─┐│        │ queue  s1 ─> s2       │   s1, s2: senders that wait,
//!   │       └─ main <───┘│        └───────────────────────┘   the longest waiting first
//!   │ head: a (it runs)  │
//!   │ watchdogs: [w]     │        w sits inside run(): it is in no ring
//!   └────────────────────┘
//! ```
//!
//! A tasklet is in at most one list: its thread's ring, or one channel's queue. Both are threaded
//! through the same two link fields of its record, so moving it is a few stores.
//!
//! The words are those of the Stackless contract. *Link* puts a tasklet at the far end of the ring,
//! directly before the one that runs; the *right neighbour* of the running tasklet is next.
//!
//! ```
//! use stackless_core::{Direction, Hand, Waits, World};
//!
//! let mut world = World::<&str, ()>::new();
//! let main = world.add_tasklet(None, "main");
//! let thread = world.add_thread(main);
//! let receiver = world.add_tasklet(Some(thread), "receiver");
//! let channel = world.add_channel(());
//!
//! // The receiver found no partner: it waits.
//! world.enqueue(channel, receiver, Waits::ToReceive);
//! assert_eq!(world.balance(channel), -1);
//!
//! // Main sends. The channel prefers the receiver, so that one goes on, and main is last.
//! assert_eq!(world.partner(channel, Direction::Send), Some(receiver));
//! assert_eq!(world.hand_over(channel, Direction::Send), Hand::ToPartner);
//! world.dequeue(receiver);
//! world.link_next(receiver);
//! world.run_now(receiver);
//! assert_eq!(world.head(thread), Some(receiver));
//! assert_eq!(world.right_neighbour(receiver), main);
//! ```

mod channel;
mod ring;
mod watchdog;

pub use channel::{Cid, Direction, Hand, Waits};
pub use ring::{Hid, Tid};
pub use watchdog::{Idle, Limit, Turn};

use channel::Channel;
use ring::{Node, Thread};

/// No record: the end of a list, or a field that holds nothing.
pub(crate) const NONE: u32 = u32::MAX;

/// Every tasklet, channel and thread of a process. `P` is what the caller wants back for a
/// tasklet's id, and `C` for a channel's: pointers to their objects, usually.
pub struct World<P, C> {
    nodes: Slots<Node<P>>,
    channels: Slots<Channel<C>>,
    threads: Slots<Thread>,
}

impl<P: Copy, C: Copy> World<P, C> {
    /// An empty world.
    pub const fn new() -> Self {
        Self { nodes: Slots::new(), channels: Slots::new(), threads: Slots::new() }
    }
}

impl<P: Copy, C: Copy> Default for World<P, C> {
    fn default() -> Self {
        Self::new()
    }
}

/// A kind of record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    Tasklet,
    Channel,
    Thread,
}

impl<P: Copy, C: Copy> World<P, C> {
    /// Is there memory for one more record of this kind?
    #[inline(always)]
    pub fn has_room(&self, kind: Record) -> bool {
        match kind {
            Record::Tasklet => self.nodes.has_room(),
            Record::Channel => self.channels.has_room(),
            Record::Thread => self.threads.has_room(),
        }
    }

    /// Asks for memory for one more record of this kind, and for its removal. The answer: is it there now?
    #[cold]
    pub fn make_room(&mut self, kind: Record) -> bool {
        match kind {
            Record::Tasklet => self.nodes.make_room(),
            Record::Channel => self.channels.make_room(),
            Record::Thread => self.threads.make_room(),
        }
    }
}

/// A vector whose freed places are used again, the last freed first.
struct Slots<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }

    /// How many records are in use.
    fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// Does neither an insertion need memory, nor the removal that follows?
    #[inline(always)]
    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.items.len() < self.items.capacity().min(self.free.capacity())
    }

    fn make_room(&mut self) -> bool {
        self.has_room()
            || self.items.len() < NONE as usize
                && self.items.try_reserve(1).is_ok()
                && self.free.try_reserve(self.items.capacity()).is_ok()
    }

    fn insert(&mut self, item: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.items[index as usize] = item;
            return index;
        }
        assert!(self.items.len() < NONE as usize, "more than 2^32 - 1 records");
        self.items.push(item);
        (self.items.len() - 1) as u32
    }

    /// The place may be used again. What is in it stays there until then.
    fn remove(&mut self, index: u32) {
        self.free.push(index);
    }
}

impl<T> std::ops::Index<u32> for Slots<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        &self.items[index as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slots<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.items[index as usize]
    }
}
