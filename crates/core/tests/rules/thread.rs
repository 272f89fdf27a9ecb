//! Threads: each has a ring of its own, a main tasklet, and an end.

use crate::{Named, paused, queue_of, ring_of, runnable, thread, waiting};
use stackless_core::WaitsTo;

/// A new thread runs its main tasklet, which belongs to it from then on.
#[test]
fn a_new_thread_runs_main() {
    let mut w = Named::new();
    let main = w.add_tasklet(None, "main");
    assert_eq!(w.thread_of(main), None);
    let h = w.add_thread(main, ());
    assert_eq!((w.thread_of(main), w.main(h), w.head(h), w.run_count(h)), (Some(h), main, Some(main), 1));
}

/// Rings do not touch one another, and a tasklet joins the ring of its own thread.
#[test]
fn rings_are_per_thread() {
    let mut w = Named::new();
    let (g, h) = (thread(&mut w), thread(&mut w));
    runnable(&mut w, g, ["a", "b"]);
    let [x] = runnable(&mut w, h, ["x"]);
    w.run_now(x);
    assert_eq!((ring_of(&w, g).as_str(), ring_of(&w, h).as_str()), ("main a b", "x main"));
    assert_eq!((w.run_count(g), w.run_count(h)), (3, 2));
}

/// A paused tasklet, and a waiting one, may be given to another thread.
#[test]
fn a_tasklet_changes_threads() {
    let mut w = Named::new();
    let (g, h) = (thread(&mut w), thread(&mut w));
    let c = w.add_channel("c");
    let a = paused(&mut w, g, "a");
    let [b] = waiting(&mut w, g, c, WaitsTo::Send, ["b"]);
    w.set_thread(a, h);
    w.set_thread(b, h);
    assert_eq!(queue_of(&w, c), "b");
    w.dequeue(b);
    w.link(a);
    w.link(b);
    assert_eq!((ring_of(&w, g).as_str(), ring_of(&w, h).as_str()), ("main", "main a b"));
    assert_eq!(w.tasklets_of(g), [w.main(g)]);
}

/// The new main takes the very place of the old one, which is in no list afterwards.
#[test]
fn a_main_is_replaced_in_its_place() {
    let mut w = Named::new();
    let h = thread(&mut w);
    runnable(&mut w, h, ["a", "b"]);
    let (old, new) = (w.main(h), paused(&mut w, h, "new"));
    w.replace_main(h, new);
    assert_eq!((ring_of(&w, h).as_str(), w.run_count(h), w.main(h)), ("new a b", 3, new));
    assert!(!w.is_linked(old));
    assert_eq!(w.watcher(h), new);
}

/// The same for a main tasklet that is alone.
#[test]
fn a_lone_main_is_replaced() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let (old, new) = (w.main(h), paused(&mut w, h, "new"));
    w.replace_main(h, new);
    assert_eq!((ring_of(&w, h).as_str(), w.run_count(h)), ("new", 1));
    assert!(!w.is_linked(old));
}

/// A thread's end empties its ring and orphans all its tasklets. Those that wait in a channel stay
/// there; no other tasklet is changed.
#[test]
fn the_end_of_a_thread() {
    let mut w = Named::new();
    let (g, h) = (thread(&mut w), thread(&mut w));
    let c = w.add_channel("c");
    let [a] = runnable(&mut w, h, ["a"]);
    let p = paused(&mut w, h, "p");
    let [s] = waiting(&mut w, h, c, WaitsTo::Send, ["s"]);
    waiting(&mut w, g, c, WaitsTo::Send, ["t"]);
    let main = w.main(h);
    assert_eq!(w.forget_thread(h), [main, a]);
    for t in [main, a, p, s] {
        assert_eq!(w.thread_of(t), None, "{}", w.payload(t));
    }
    assert!(![main, a, p].iter().any(|&t| w.is_linked(t)));
    assert_eq!((queue_of(&w, c).as_str(), w.balance(c)), ("s t", 2));
    assert_eq!(ring_of(&w, g), "main");
}

/// A thread that uses the place of one that has ended owns nothing of it.
#[test]
fn forgotten_threads_leave_no_trace() {
    let mut w = Named::new();
    let g = thread(&mut w);
    let [a] = runnable(&mut w, g, ["a"]);
    w.enter_run(w.main(g), false, None);
    w.forget_thread(g);
    let h = thread(&mut w);
    assert_eq!(g, h, "the record is used again");
    assert_eq!((ring_of(&w, h).as_str(), w.run_count(h), w.watcher(h)), ("main", 1, w.main(h)));
    assert_eq!(w.tasklets_of(h), [w.main(h)]);
    assert_eq!(w.thread_of(a), None);
}
