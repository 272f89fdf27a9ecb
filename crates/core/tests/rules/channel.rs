//! Channels: which tasklets wait, and which one continues when two meet.

use crate::{Named, close, paused, queue_of, ring_of, runnable, thread, waiting};
use stackless_core::Direction::{Receive, Send};
use stackless_core::Successor::{Actor, Neighbour, Partner};
use stackless_core::WaitsTo;

/// A new channel is open, empty, and prefers the receiver.
#[test]
fn a_new_channel() {
    let mut w = Named::new();
    let c = w.add_channel("c");
    assert_eq!((w.balance(c), w.first_waiting(c), w.preference(c)), (0, None, -1));
    assert!(!w.closing(c) && !w.schedule_all(c));
    assert_eq!(w.channel_payload(c), "c");
}

/// Channels in which tasklets wait, records of tasklets and of threads are counted.
#[test]
fn counts() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let (c, d) = (w.add_channel("c"), w.add_channel("d"));
    let (threads, tasklets) = (w.thread_count(), w.tasklet_count());
    assert_eq!((threads, w.channels_in_use()), (1, vec![]));
    let [s] = waiting(&mut w, h, c, WaitsTo::Send, ["s"]);
    let [r] = waiting(&mut w, h, d, WaitsTo::Receive, ["r"]);
    assert_eq!((w.tasklet_count(), w.channels_in_use()), (tasklets + 2, vec![c, d]));
    w.dequeue(s);
    assert_eq!(w.channels_in_use(), [d]);
    w.dequeue(r);
    w.forget_channel(c);
    w.forget_tasklet(s);
    assert_eq!((w.tasklet_count(), w.channels_in_use()), (tasklets + 1, vec![]));
    w.forget_thread(h);
    assert_eq!(w.thread_count(), 0);
}

/// n senders wait: +n. n receivers wait: -n, those in an iteration included.
#[test]
fn balance_counts_senders_up_and_receivers_down() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let (c, d) = (w.add_channel("c"), w.add_channel("d"));
    waiting(&mut w, h, c, WaitsTo::Send, ["s", "t"]);
    let [r] = waiting(&mut w, h, d, WaitsTo::Receive, ["r"]);
    waiting(&mut w, h, d, WaitsTo::Iterate, ["i", "j"]);
    assert_eq!((w.balance(c), w.balance(d)), (2, -3));
    w.dequeue(r);
    assert_eq!(w.balance(d), -2);
}

/// First come, first served; `next` leads through the queue, and the queue has two ends.
#[test]
fn the_queue_is_first_in_first_out() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let c = w.add_channel("c");
    let [a, b, d] = waiting(&mut w, h, c, WaitsTo::Send, ["a", "b", "d"]);
    assert_eq!(queue_of(&w, c), "a b d");
    assert_eq!((w.prev(a), w.next(d), w.prev(d)), (None, None, Some(b)));
    assert_eq!(w.waits(b), Some((c, WaitsTo::Send)));
    assert!(w.is_linked(b) && !w.in_ring(b));
    assert_eq!(w.partner(c, Receive), Some(a));
}

/// A tasklet may leave the queue from any place, and comes back at the end of it.
#[test]
fn leaving_from_the_front_the_middle_and_the_end() {
    for (at, left) in [(0, "b d"), (1, "a d"), (2, "a b")] {
        let mut w = Named::new();
        let h = thread(&mut w);
        let c = w.add_channel("c");
        let all = waiting(&mut w, h, c, WaitsTo::Receive, ["a", "b", "d"]);
        w.dequeue(all[at]);
        assert_eq!((queue_of(&w, c).as_str(), w.balance(c)), (left, -2));
        assert!(!w.is_linked(all[at]) && w.waits(all[at]).is_none());
        assert_eq!((w.next(all[at]), w.prev(all[at])), (None, None));
        w.enqueue(c, all[at], WaitsTo::Receive);
        assert_eq!(queue_of(&w, c), format!("{left} {}", w.payload(all[at])));
    }
}

/// A partner waits for the opposite operation; two senders, or two receivers, are no partners.
#[test]
fn partners_wait_for_the_opposite() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let c = w.add_channel("c");
    assert_eq!((w.partner(c, Send), w.partner(c, Receive)), (None, None));
    for (waits, for_sender, for_receiver) in
        [(WaitsTo::Send, false, true), (WaitsTo::Receive, true, false), (WaitsTo::Iterate, true, false)]
    {
        let [t] = waiting(&mut w, h, c, waits, ["t"]);
        assert_eq!(w.partner(c, Send), for_sender.then_some(t));
        assert_eq!(w.partner(c, Receive), for_receiver.then_some(t));
        w.dequeue(t);
    }
}

/// The whole table of which tasklet continues: preference by direction, and schedule_all overrides it.
#[test]
fn successor_table() {
    let mut w = Named::new();
    let c = w.add_channel("c");
    for (preference, sending, receiving) in
        [(-1, Partner, Actor), (0, Actor, Actor), (1, Actor, Partner), (100, Actor, Partner)]
    {
        w.set_preference(c, preference);
        assert_eq!((w.successor(c, Send), w.successor(c, Receive)), (sending, receiving), "{preference}");
        w.set_schedule_all(c, true);
        assert_eq!((w.successor(c, Send), w.successor(c, Receive)), (Neighbour, Neighbour));
        w.set_schedule_all(c, false);
    }
}

/// A preference is clamped to its sign.
#[test]
fn preference_is_a_sign() {
    let mut w = Named::new();
    let c = w.add_channel("c");
    for (given, kept) in [(i8::MIN, -1), (-7, -1), (0, 0), (3, 1), (i8::MAX, 1)] {
        w.set_preference(c, given);
        assert_eq!(w.preference(c), kept);
    }
}

/// `close` ends the waits of tasklets that iterate, in the order in which they waited; the plain receivers
/// stay, and can still be served.
#[test]
fn close_ends_iterations_only() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let c = w.add_channel("c");
    let [i] = waiting(&mut w, h, c, WaitsTo::Iterate, ["i"]);
    let [r] = waiting(&mut w, h, c, WaitsTo::Receive, ["r"]);
    let [j, k] = waiting(&mut w, h, c, WaitsTo::Iterate, ["j", "k"]);
    assert_eq!(w.first_iterating(c), Some(i));
    assert_eq!(close(&mut w, c), [i, j, k]);
    assert_eq!(w.first_iterating(c), None);
    assert_eq!((queue_of(&w, c).as_str(), w.balance(c), w.closing(c)), ("r", -1, true));
    assert_eq!(w.partner(c, Send), Some(r));
    assert!([i, j, k].iter().all(|&t| !w.is_linked(t)));
    w.open(c);
    assert!(!w.closing(c));
}

/// Senders that wait are not disturbed by `close`.
#[test]
fn close_leaves_senders() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let c = w.add_channel("c");
    waiting(&mut w, h, c, WaitsTo::Send, ["s", "t"]);
    assert_eq!(close(&mut w, c), []);
    assert_eq!((queue_of(&w, c).as_str(), w.balance(c)), ("s t", 2));
}

/// Taking a tasklet that waits nowhere out of its queue changes nothing, neither for one in the
/// ring nor for a paused one.
#[test]
fn dequeue_of_a_tasklet_that_does_not_wait() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a] = runnable(&mut w, h, ["a"]);
    let b = paused(&mut w, h, "b");
    w.dequeue(a);
    w.dequeue(b);
    assert_eq!(ring_of(&w, h), "main a");
    assert!(!w.is_linked(b));
}

/// Rings and queues share the link fields of a tasklet: moving it to and fro mixes nothing up, and
/// tasklets of several threads are in one queue.
#[test]
fn to_and_fro_between_ring_and_queue() {
    let mut w = Named::new();
    let (g, h) = (thread(&mut w), thread(&mut w));
    let c = w.add_channel("c");
    let [a, b] = runnable(&mut w, g, ["a", "b"]);
    let [x, y] = runnable(&mut w, h, ["x", "y"]);
    for t in [y, a, x] {
        w.unlink(t);
        w.enqueue(c, t, WaitsTo::Send);
    }
    assert_eq!(queue_of(&w, c), "y a x");
    assert_eq!((ring_of(&w, g).as_str(), ring_of(&w, h).as_str()), ("main b", "main"));
    w.dequeue(a);
    w.link(a);
    assert_eq!((ring_of(&w, g).as_str(), queue_of(&w, c).as_str()), ("main b a", "y x"));
    assert_eq!((w.next(a), w.prev(a)), (Some(w.main(g)), Some(b)));
}

/// A buffer takes as many values as its capacity; the balance counts them; a channel that is closed takes none.
#[test]
fn a_buffer_takes_values_until_it_is_full() {
    let mut w = Named::new();
    let c = w.add_channel("c");
    assert!(w.is_plain(c) && !w.takes_more(c) && w.would_wait(c, Send));
    w.set_capacity(c, 2);
    assert!(!w.is_plain(c) && w.takes_more(c) && !w.would_wait(c, Send) && w.would_wait(c, Receive));
    assert_eq!((w.capacity(c), w.preference(c), w.balance(c)), (2, 0, 0));
    w.put(c);
    w.close(c);
    assert!(!w.takes_more(c));
    w.open(c);
    w.put(c);
    assert_eq!((w.balance(c), w.buffered(c), w.takes_more(c)), (2, 2, false));
    assert_eq!(
        (w.partner(c, Receive), w.channels_in_use(), w.channels_with_values()),
        (None, vec![], vec![c])
    );
    assert_eq!((w.take(c), w.balance(c), w.buffered(c)), (None, 1, 1));
    w.discard(c);
    assert_eq!((w.balance(c), w.channels_with_values()), (0, vec![]));
    w.set_capacity(c, 0);
    assert!(w.is_plain(c) && w.preference(c) == -1);
}

/// While the buffer is full senders wait. They are not met: a receiver takes the oldest value, and the first sender's
/// value takes its place. Receivers that wait are met as without a buffer.
#[test]
fn a_value_taken_makes_room_for_the_first_waiting_sender() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let c = w.add_channel("c");
    w.set_capacity(c, 1);
    w.put(c);
    let [s, t] = waiting(&mut w, h, c, WaitsTo::Send, ["s", "t"]);
    assert_eq!((w.balance(c), w.partner(c, Receive)), (3, None));
    assert!(!w.would_wait(c, Receive));
    for sender in [s, t] {
        assert_eq!(w.take(c), Some(sender));
        w.dequeue(sender);
        w.put(c);
    }
    assert_eq!((w.take(c), w.balance(c)), (None, 0));
    let [r] = waiting(&mut w, h, c, WaitsTo::Receive, ["r"]);
    assert_eq!((w.balance(c), w.partner(c, Send)), (-1, Some(r)));
}

/// A channel that uses the place of a forgotten one is as new.
#[test]
fn forgotten_channels_leave_no_trace() {
    let mut w = Named::new();
    let c = w.add_channel("c");
    w.set_preference(c, 1);
    w.set_schedule_all(c, true);
    w.set_capacity(c, 3);
    w.put(c);
    w.close(c);
    w.discard(c);
    w.forget_channel(c);
    let d = w.add_channel("d");
    assert_eq!(c, d, "the record is used again");
    assert_eq!((w.channel_payload(d), w.preference(d)), ("d", -1));
    assert!(!w.schedule_all(d) && !w.closing(d) && w.is_plain(d));
    assert_eq!((w.balance(d), w.capacity(d), w.buffered(d)), (0, 0, 0));
}
