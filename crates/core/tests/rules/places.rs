//! Tasklets that wait in several queues at once.

use crate::{Named, paused, queue_of, thread, waiting};
use stackless_core::Direction::{Receive, Send};
use stackless_core::WaitsTo;

/// In each queue a place stands for it, with its payload; the ids tell the two apart.
#[test]
fn a_place_stands_for_its_tasklet() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let (c, d) = (w.add_channel("c"), w.add_channel("d"));
    let t = paused(&mut w, h, "t");
    assert!(w.make_room_for_places(2));
    w.enqueue_places(t, [(c, WaitsTo::Receive), (d, WaitsTo::Send)]);
    assert_eq!((queue_of(&w, c).as_str(), queue_of(&w, d).as_str()), ("t", "t"));
    assert_eq!((w.balance(c), w.balance(d)), (-1, 1));
    let place = w.partner(c, Send).unwrap();
    assert_ne!(place, t);
    assert_eq!((w.payload(place), w.waits(place)), ("t", Some((c, WaitsTo::Receive))));
    assert_eq!(w.waits(t), Some((c, WaitsTo::Receive)), "that of its first place");
    assert_eq!((w.next(t), w.prev(t), w.is_linked(t), w.in_ring(t)), (None, None, true, false));
    assert!(w.any_blocked(h) && w.has_places(t));
}

/// Places are no tasklets: neither counted nor listed.
#[test]
fn places_are_not_counted() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let (c, d) = (w.add_channel("c"), w.add_channel("d"));
    let t = paused(&mut w, h, "t");
    let before = (w.tasklet_count(), w.tasklets(), w.tasklets_of(h));
    w.enqueue_places(t, [(c, WaitsTo::Receive), (d, WaitsTo::Receive)]);
    assert_eq!((w.tasklet_count(), w.tasklets(), w.tasklets_of(h)), before);
    assert_eq!(w.tasklet_from(t.index() + 1), None);
}

/// It leaves all queues at once, from wherever it stands, and its places are forgotten.
#[test]
fn leaving_all_queues() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let (c, d) = (w.add_channel("c"), w.add_channel("d"));
    waiting(&mut w, h, c, WaitsTo::Receive, ["a"]);
    let t = paused(&mut w, h, "t");
    w.enqueue_places(t, [(c, WaitsTo::Receive), (d, WaitsTo::Send)]);
    waiting(&mut w, h, c, WaitsTo::Receive, ["b"]);
    assert_eq!((queue_of(&w, c).as_str(), w.balance(c)), ("a t b", -3));
    w.dequeue(t);
    assert_eq!((queue_of(&w, c).as_str(), queue_of(&w, d).as_str()), ("a b", ""));
    assert_eq!((w.balance(c), w.balance(d), w.has_places(t), w.is_linked(t)), (-2, 0, false, false));
    w.dequeue(t); // once more: nothing
    w.link(t);
    assert!(w.in_ring(t));
}

/// One that would send or receive is not counted, and is found by both.
#[test]
fn waiting_for_either() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let c = w.add_channel("c");
    let t = paused(&mut w, h, "t");
    w.enqueue_places(t, [(c, WaitsTo::Either)]);
    assert_eq!((w.balance(c), w.is_plain(c), w.is_idle(c)), (0, false, false));
    assert_eq!((w.partner(c, Send), w.partner(c, Receive)), (None, None));
    let found = w.either(c).unwrap();
    assert_eq!(w.payload(found), "t");
    assert!(!w.would_wait(c, Send) && !w.would_wait(c, Receive));
    w.close(c);
    w.dequeue(t);
    assert_eq!((w.either(c), w.is_plain(c), w.balance(c)), (None, false, 0));
    w.open(c);
    assert!(w.is_plain(c) && w.is_idle(c));
}
