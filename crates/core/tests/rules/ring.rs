//! The ring: the order of its tasklets, and which one is next.

use crate::{Named, paused, ring_of, runnable, thread};

/// A tasklet that becomes runnable goes to the far end: directly before the running one.
#[test]
fn link_appends_before_the_running_one() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a] = runnable(&mut w, h, ["a"]);
    w.run_now(a);
    runnable(&mut w, h, ["b"]);
    assert_eq!(ring_of(&w, h), "a main b");
}

/// `link_next` puts a tasklet directly to the right of the running one.
#[test]
fn link_next_inserts_after_the_running_one() {
    let mut w = Named::new();
    let h = thread(&mut w);
    runnable(&mut w, h, ["a"]);
    let b = paused(&mut w, h, "b");
    assert!(!w.link_next(b));
    assert_eq!(ring_of(&w, h), "main b a");
    assert!(w.in_ring(b) && w.is_linked(b));
}

/// A member of the ring can become the right neighbour of another one; the running one stays that.
#[test]
fn move_behind_makes_a_right_neighbour() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a, b, c] = runnable(&mut w, h, ["a", "b", "c"]);
    let main = w.main(h);
    w.move_behind(c, main);
    assert_eq!(ring_of(&w, h), "main c a b");
    w.move_behind(a, b);
    assert_eq!(ring_of(&w, h), "main c b a");
    w.move_behind(a, b);
    assert_eq!((ring_of(&w, h).as_str(), w.run_count(h)), ("main c b a", 4));
}

/// If no tasklet can run, the one that is linked runs, and the result is that a sleeping thread
/// wants to be woken; else the answer is no.
#[test]
fn link_into_an_empty_ring_asks_to_wake_the_thread() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let main = w.main(h);
    for link in [Named::link, Named::link_next] {
        w.unlink(main);
        assert_eq!((w.head(h), w.run_count(h)), (None, 0));
        assert!(link(&mut w, main));
        assert_eq!((w.head(h), w.run_count(h)), (Some(main), 1));
        let other = paused(&mut w, h, "other");
        assert!(!link(&mut w, other));
        w.unlink(other);
    }
}

/// Making another one run does not change the order: the ring continues from there, round robin.
#[test]
fn run_now_keeps_the_order() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [_, b, _] = runnable(&mut w, h, ["a", "b", "c"]);
    w.run_now(b);
    assert_eq!(ring_of(&w, h), "b c main a");
    for expected in ["c main a b", "main a b c", "a b c main", "b c main a"] {
        let next = w.right_neighbour(w.head(h).unwrap());
        w.run_now(next);
        assert_eq!(ring_of(&w, h), expected);
    }
}

/// When the running one leaves, its right neighbour runs; when another leaves, the running one stays.
#[test]
fn unlink_lets_the_right_neighbour_run() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a, b] = runnable(&mut w, h, ["a", "b"]);
    w.unlink(a);
    assert_eq!(ring_of(&w, h), "main b");
    w.unlink(w.main(h));
    assert_eq!(ring_of(&w, h), "b");
    w.unlink(b);
    assert_eq!((ring_of(&w, h).as_str(), w.run_count(h)), ("", 0));
}

/// A tasklet alone is its own neighbour on both sides; one in no list has none.
#[test]
fn neighbours_of_a_lone_tasklet() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let main = w.main(h);
    assert_eq!((w.next(main), w.prev(main)), (Some(main), Some(main)));
    assert_eq!(w.right_neighbour(main), main);
    let a = paused(&mut w, h, "a");
    assert_eq!((w.next(a), w.prev(a)), (None, None));
    assert!(!w.is_linked(a) && !w.in_ring(a) && w.waits(a).is_none());
}

/// The count is that of the ring, the running one included, whichever is running.
#[test]
fn run_count_counts_the_running_one() {
    let mut w = Named::new();
    let h = thread(&mut w);
    assert_eq!(w.run_count(h), 1);
    let [a, b] = runnable(&mut w, h, ["a", "b"]);
    w.run_now(b);
    assert_eq!(w.run_count(h), 3);
    w.unlink(b);
    w.unlink(a);
    assert_eq!(w.run_count(h), 1);
}

/// A record that was given back is used again, the last one first, and brings nothing along from its
/// former life.
#[test]
fn forgotten_tasklets_leave_no_trace() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a, b] = runnable(&mut w, h, ["a", "b"]);
    for t in [a, b] {
        w.unlink(t);
        w.forget_tasklet(t);
    }
    assert_eq!(w.tasklets(), [w.main(h)]);
    let again = w.add_tasklet(None, "again");
    assert_eq!(again, b);
    assert_eq!((w.payload(again), w.thread_of(again)), ("again", None));
    assert_eq!((w.next(again), w.prev(again), w.is_linked(again)), (None, None, false));
    assert_eq!(w.tasklets().len(), 2);
}

/// Every tasklet is found by continuing from the number of the one before.
#[test]
fn tasklets_are_found_one_after_the_other() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a, b] = runnable(&mut w, h, ["a", "b"]);
    w.unlink(a);
    w.forget_tasklet(a);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(t) = w.tasklet_from(at) {
        found.push(t);
        at = t.index() + 1;
    }
    assert_eq!(found, [w.main(h), b]);
    assert_eq!(w.tasklet_from(100), None);
}
