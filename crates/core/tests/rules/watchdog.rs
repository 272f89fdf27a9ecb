//! Tasklets inside `run()`, and a thread whose ring is empty.

use crate::{Named, paused, ring_of, runnable, thread};
use stackless_core::{Idle, WaitsTo};

/// Without any `run()`, main is the one that exceptions go to.
#[test]
fn main_watches_when_no_tasklet_is_in_run() {
    let mut w = Named::new();
    let h = thread(&mut w);
    runnable(&mut w, h, ["a"]);
    assert_eq!(w.watcher(h), w.main(h));
}

/// A tasklet that enters `run()` leaves the ring, and its right neighbour runs; it is in no list, is not
/// counted, and watches.
#[test]
fn entering_run_leaves_the_ring() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a, _] = runnable(&mut w, h, ["a", "b"]);
    w.run_now(a);
    w.enter_run(a, false, None);
    assert_eq!((ring_of(&w, h).as_str(), w.run_count(h)), ("b main", 2));
    assert!(!w.is_linked(a));
    assert_eq!(w.watcher(h), a);
}

/// Calls of `run()` nest: the innermost caller watches, and the outer one when that has returned.
#[test]
fn the_innermost_run_watches() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a, b] = runnable(&mut w, h, ["a", "b"]);
    let main = w.main(h);
    w.enter_run(main, false, None);
    w.enter_run(a, false, None);
    assert_eq!((w.watcher(h), w.when_idle(b)), (a, Idle::Resume(a)));
    w.link(a);
    assert_eq!(w.leave_run(a), (true, vec![]));
    assert_eq!(w.watcher(h), main);
}

/// When an outer caller returns first, the inner ones are popped with it, innermost first; when
/// they come back they find that they watch no more.
#[test]
fn an_outer_run_pops_the_inner_ones() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a, b, c] = runnable(&mut w, h, ["a", "b", "c"]);
    let main = w.main(h);
    for t in [main, a, b, c] {
        w.enter_run(t, false, None);
    }
    assert_eq!(w.leave_run(a), (true, vec![c, b]));
    assert_eq!(w.watcher(h), main);
    assert_eq!((w.leave_run(b), w.leave_run(c)), ((false, vec![]), (false, vec![])));
    assert_eq!(w.leave_run(main), (true, vec![]));
    assert_eq!(w.watcher(h), main);
}

/// The ring empties: the watcher continues if it is in no list.
#[test]
fn an_idle_thread_resumes_its_watcher() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a] = runnable(&mut w, h, ["a"]);
    let main = w.main(h);
    w.enter_run(main, false, None);
    assert_eq!(w.when_idle(a), Idle::Resume(main));
    assert!(w.leave_run(main).0);
    assert_eq!(w.when_idle(a), Idle::Resume(main), "paused without run(): switched away from");
}

/// The ring empties, and the tasklet that should continue waits in a channel itself: stuck.
#[test]
fn a_waiting_watcher_cannot_go_on() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a] = runnable(&mut w, h, ["a"]);
    let (main, c) = (w.main(h), w.add_channel("c"));
    w.unlink(main);
    w.enqueue(c, main, WaitsTo::Receive);
    assert_eq!(w.when_idle(a), Idle::Stuck(main));
}

/// The ring empties because the watcher itself leaves it: stuck.
#[test]
fn the_last_one_cannot_wait_for_itself() {
    let mut w = Named::new();
    let h = thread(&mut w);
    assert_eq!(w.when_idle(w.main(h)), Idle::Stuck(w.main(h)));
}

/// One watchdog stack per thread.
#[test]
fn threads_do_not_share_watchdogs() {
    let mut w = Named::new();
    let (g, h) = (thread(&mut w), thread(&mut w));
    let [a] = runnable(&mut w, g, ["a"]);
    w.enter_run(a, false, None);
    assert_eq!((w.watcher(g), w.watcher(h)), (a, w.main(h)));
}

/// A tasklet whose thread has ended returns from no `run()`.
#[test]
fn leaving_run_without_a_thread() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let a = paused(&mut w, h, "a");
    w.forget_thread(h);
    assert_eq!(w.leave_run(a), (false, vec![]));
}

/// Only callers of `run()` are watchdogs.
#[test]
fn is_watchdog_is_true_inside_run() {
    let mut w = Named::new();
    let h = thread(&mut w);
    let [a] = runnable(&mut w, h, ["a"]);
    let main = w.main(h);
    assert!(!w.is_watchdog(main));
    w.enter_run(main, false, None);
    assert!(w.is_watchdog(main) && !w.is_watchdog(a));
}
