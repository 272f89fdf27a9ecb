//! The rules, tested from outside through the crate's public face.
//!
//! * `ring`, `channel`, `places`, `watchdog`, `thread`: one plain test per sentence of the contract.
//! * `order`: small programs of tasklets, and the order in which their steps happen.
//! * `against_model`: long random histories, played to the real thing and to a naive `model`, `waiting` those in channels;
//!   `agreement` compares the two after each step.

mod against_model;
mod agreement;
mod channel;
mod model;
mod order;
mod places;
mod play;
mod ring;
mod thread;
mod waiting;
mod watchdog;

use stackless_core::{ChannelId, TaskletId, ThreadId, World};

/// A world whose tasklets and channels have one-letter or one-word names.
type Named = World<&'static str, &'static str>;

/// A thread with a main tasklet called "main".
fn thread(w: &mut Named) -> ThreadId {
    let main = w.add_tasklet(None, "main");
    w.add_thread(main, ())
}

/// A tasklet in no list.
fn paused(w: &mut Named, h: ThreadId, name: &'static str) -> TaskletId {
    w.add_tasklet(Some(h), name)
}

/// Tasklets that were appended to the ring one after the other.
fn runnable<const N: usize>(w: &mut Named, h: ThreadId, names: [&'static str; N]) -> [TaskletId; N] {
    names.map(|name| {
        let t = paused(w, h, name);
        w.link(t);
        t
    })
}

/// Tasklets that began to wait one after the other.
fn waiting<const N: usize>(
    w: &mut Named,
    h: ThreadId,
    c: ChannelId,
    waits: stackless_core::WaitsTo,
    names: [&'static str; N],
) -> [TaskletId; N] {
    names.map(|name| {
        let t = paused(w, h, name);
        w.enqueue(c, t, waits);
        t
    })
}

/// Closes a channel as the contract demands: the tasklets that wait in an iteration leave the queue.
fn close<P: Copy, C: Copy>(w: &mut World<P, C>, c: ChannelId) -> Vec<TaskletId> {
    w.close(c);
    let leave = || w.first_iterating(c).inspect(|&t| w.dequeue(t));
    std::iter::from_fn(leave).collect()
}

/// The names from `first` on, as `next` leads. Stops at `first`, or at a hundred, if it must.
fn names(w: &Named, first: Option<TaskletId>) -> String {
    let after = |&t: &TaskletId| w.next(t).filter(|&n| Some(n) != first);
    let names = std::iter::successors(first, after).map(|t| w.payload(t));
    names.take(100).collect::<Vec<_>>().join(" ")
}

/// The ring in words, the running tasklet first.
fn ring_of(w: &Named, h: ThreadId) -> String {
    names(w, w.head(h))
}

/// The queue in words, the longest waiting first.
fn queue_of(w: &Named, c: ChannelId) -> String {
    names(w, w.first_waiting(c))
}
