//! The rules of Stackless: which list each tasklet is in, and which tasklet runs next.
//!
//! This crate knows nothing of Python, of C stacks or of the operating system. It keeps three
//! kinds of record in one [`World`], refers to them by small integers, and moves tasklets between
//! lists when it is told to. Everything else (the switch of stacks, the transfer of values,
//! exceptions) is the caller's part.
//!
//! | file | holds |
//! |---|---|
//! | `records` | the records, their ids, and the vectors that store them; it uses no other file |
//! | `ring` | the rules of a thread's ring of runnable tasklets |
//! | `channel` | the rules of a channel's queue |
//! | `places` | the rules of tasklets that wait in several queues at once |
//! | `watchdog` | the rules of `run()` and its limits |
//!
//! ```text
//!   thread 0                      channel 7 (balance +2)
//!   ┌────────────────────┐        ┌───────────────────────┐
//!   │ ring  ┌─> a ─> b ─┐│        │ queue  s1 ─> s2       │   s1, s2: senders that wait,
//!   │       └─ main <───┘│        └───────────────────────┘   the oldest wait first
//!   │ head: a (it runs)  │
//!   │ watchdogs: [w]     │        w is inside run(): it is in no ring
//!   └────────────────────┘
//! ```
//!
//! A tasklet is in at most one list: its thread's ring, or one channel's queue. Both are threaded
//! through the same two link fields of its record, so moving it is a few stores. One that waits in several queues is in
//! none itself, but has a record of its own in each: see `places`.
//!
//! The terms are those of `docs/reference.md`, sections 1 and 2. *Link* appends a tasklet to the ring, directly
//! before the one that runs; the *right neighbour* of the running tasklet is next.
//!
//! ```
//! use stackless_core::{Direction, Successor, WaitsTo, World};
//!
//! let mut world = World::<&str, ()>::new();
//! let main = world.add_tasklet(None, "main");
//! let thread = world.add_thread(main, ());
//! let receiver = world.add_tasklet(Some(thread), "receiver");
//! let channel = world.add_channel(());
//!
//! // The receiver found no partner: it waits.
//! world.enqueue(channel, receiver, WaitsTo::Receive);
//! assert_eq!(world.balance(channel), -1);
//!
//! // Main sends. The channel prefers the receiver: it continues, and main is the last of the ring.
//! assert_eq!(world.partner(channel, Direction::Send), Some(receiver));
//! assert_eq!(world.successor(channel, Direction::Send), Successor::Partner);
//! world.dequeue(receiver);
//! world.link_next(receiver);
//! world.run_now(receiver);
//! assert_eq!(world.head(thread), Some(receiver));
//! assert_eq!(world.right_neighbour(receiver), main);
//! ```

mod channel;
mod places;
mod records;
mod ring;
mod watchdog;

pub use channel::{Direction, Successor};
pub use records::{ChannelId, RecordKind, RunLimit, TaskletId, ThreadId, WaitsTo, World};
pub use watchdog::{Idle, Turn};
