//! The order in which things happen: the contract's tables and examples, played.

use crate::play::{Program, Step::*, play};

/// The table of section 5: a sender, a receiver and a third tasklet, for each preference, the
/// sender or the receiver created first.
#[test]
fn the_table_of_a_transfer() {
    const S: Program = ("s", &[Say("s0"), Send, Say("s1")]);
    const R: Program = ("r", &[Say("r0"), Receive, Say("r1")]);
    const X: Program = ("x", &[Say("x")]);
    for (preference, schedule_all, sender_first, receiver_first) in [
        (-1, false, "s0 r0 r1 x s1", "r0 s0 r1 x s1"),
        (0, false, "s0 r0 r1 x s1", "r0 s0 s1 x r1"),
        (1, false, "s0 r0 s1 x r1", "r0 s0 s1 x r1"),
        (-1, true, "s0 r0 x s1 r1", "r0 s0 x r1 s1"),
        (0, true, "s0 r0 x s1 r1", "r0 s0 x r1 s1"),
        (1, true, "s0 r0 x s1 r1", "r0 s0 x r1 s1"),
    ] {
        for (order, expected) in [([S, R, X], sender_first), ([R, S, X], receiver_first)] {
            let log = play(&[RunAll], &order, |w, c| {
                w.set_preference(c, preference);
                w.set_schedule_all(c, schedule_all);
            });
            assert_eq!(log, expected, "preference {preference}, schedule_all {schedule_all}");
        }
    }
}

/// `schedule()` makes a round robin.
#[test]
fn schedule_is_round_robin() {
    const A: Program = ("a", &[Say("a0"), Schedule, Say("a1"), Schedule, Say("a2")]);
    const B: Program = ("b", &[Say("b0"), Schedule, Say("b1")]);
    const C: Program = ("c", &[Say("c0"), Schedule, Say("c1"), Schedule, Say("c2")]);
    let log = play(&[RunAll, Say("m")], &[A, B, C], |_, _| {});
    assert_eq!(log, "a0 b0 c0 a1 b1 c1 a2 c2 m");
}

/// `b.run()` from main runs b and those to its right, then main; a still waits.
#[test]
fn running_one_runs_those_to_its_right_too() {
    const ALL: [Program; 3] = [("a", &[Say("a")]), ("b", &[Say("b")]), ("c", &[Say("c")])];
    let log = play(&[Run("b"), Say("m"), RunAll], &ALL, |_, _| {});
    assert_eq!(log, "b c m a");
}

/// A paused tasklet is inserted directly before its caller, so it alone runs first.
#[test]
fn running_a_paused_one_runs_it_alone() {
    const ALL: [Program; 3] = [("a", &[Say("a")]), ("t", &[Say("t")]), ("b", &[Say("b")])];
    let log = play(&[Remove("t"), Run("t"), Say("m"), RunAll], &ALL, |_, _| {});
    assert_eq!(log, "t m a b");
}

/// `switch()` is `run()`, and takes the caller out of the ring.
#[test]
fn switching_pauses_the_caller() {
    const A: Program = ("a", &[Say("a0"), Switch("c"), Say("a1")]);
    const ALL: [Program; 3] = [A, ("b", &[Say("b")]), ("c", &[Say("c")])];
    let log = play(&[RunAll, Say("m"), Run("a"), Say("n")], &ALL, |_, _| {});
    assert_eq!(log, "a0 c b m a1 n");
}

/// Main in the ring takes its turns; a tasklet's end is followed by its right neighbour.
#[test]
fn main_takes_turns() {
    const ALL: [Program; 2] = [("a", &[Say("a")]), ("b", &[Say("b0"), Schedule, Say("b1")])];
    let log = play(&[Schedule, Say("m0"), Schedule, Say("m1")], &ALL, |_, _| {});
    assert_eq!(log, "a b0 m0 b1 m1");
}

/// `run()` returns when the ring is empty, whichever tasklets are blocked; without others it returns at once.
#[test]
fn run_does_not_wait_for_the_blocked() {
    const ALL: [Program; 2] = [("a", &[Receive, Say("never")]), ("b", &[Say("b")])];
    let log = play(&[RunAll, Say("m0"), RunAll, Say("m1")], &ALL, |_, _| {});
    assert_eq!(log, "b m0 m1");
}

/// When the ring empties, the innermost `run()` returns, then the next.
#[test]
fn the_innermost_run_returns_first() {
    const A: Program = ("a", &[Say("a0"), RunAll, Say("a1")]);
    const B: Program = ("b", &[Say("b0"), RunAll, Say("b1")]);
    const C: Program = ("c", &[Say("c0"), Schedule, Say("c1")]);
    let log = play(&[RunAll, Say("m")], &[A, B, C], |_, _| {});
    assert_eq!(log, "a0 b0 c0 c1 b1 a1 m");
}

/// An outer caller that is woken by other means returns from its `run()`; the inner ones are made
/// runnable, innermost first, and theirs return in turn.
#[test]
fn waking_an_outer_run_ends_the_inner_ones() {
    const A: Program = ("a", &[Say("a0"), RunAll, Say("a1")]);
    const B: Program = ("b", &[Say("b0"), RunAll, Say("b1")]);
    const C: Program = ("c", &[Say("c0"), Run("main"), Say("c1")]);
    let log = play(&[RunAll, Say("m0"), Schedule, Say("m1")], &[A, B, C], |_, _| {});
    assert_eq!(log, "a0 b0 c0 m0 c1 b1 a1 m1");
}

/// Main may continue while a tasklet is inside `run()`: that returns when main blocks.
#[test]
fn main_schedules_beside_a_sitting_tasklet() {
    const A: Program = ("a", &[Say("a0"), RunAll, Say("a1"), Send, Say("a2")]);
    let main = [Schedule, Say("m0"), Schedule, Say("m1"), Receive, Say("m2")];
    assert_eq!(play(&main, &[A], |_, _| {}), "a0 m0 m1 a1 m2");
}

/// If main calls `run()` itself, it is the innermost one and returns first.
#[test]
fn main_in_run_beside_a_sitting_tasklet() {
    const A: Program = ("a", &[Say("a0"), RunAll, Say("a1")]);
    const B: Program = ("b", &[Say("b0"), Schedule, Say("b1")]);
    let main = [Schedule, Say("m0"), RunAll, Say("m1"), Receive];
    assert_eq!(play(&main, &[A, B], |_, _| {}), "a0 b0 m0 b1 m1 a1 deadlock");
}

/// The game loop's idiom: waiters on a channel that prefers the sender are served without a switch,
/// and run once per pump, first come, first served.
#[test]
fn pumping_a_yield_channel() {
    const A: Program = ("a", &[Say("a0"), Receive, Say("a1"), Receive, Say("a2")]);
    const B: Program = ("b", &[Say("b0"), Receive, Say("b1"), Receive, Say("b2")]);
    let main = [RunAll, SendToAll, Say("|"), RunAll, SendToAll, Say("|"), RunAll];
    let log = play(&main, &[A, B], |w, c| w.set_preference(c, 1));
    assert_eq!(log, "a0 b0 | a1 b1 | a2 b2");
}

/// `close` appends the tasklets that wait in an iteration to the ring, in their order, and does not switch.
#[test]
fn close_wakes_iterations_for_later() {
    const ALL: [Program; 4] = [
        ("a", &[Iterate, Say("a")]),
        ("b", &[Receive, Say("never")]),
        ("c", &[Iterate, Say("c")]),
        ("d", &[Schedule, Say("d0"), Schedule, Say("d1")]),
    ];
    let log = play(&[Schedule, Close, Say("m"), RunAll, Say("n")], &ALL, |_, _| {});
    assert_eq!(log, "m d0 a c d1 n");
}

/// The last runnable tasklet cannot be blocked: main alone, and a tasklet while main waits.
#[test]
fn deadlocks() {
    assert_eq!(play(&[Say("m"), Receive], &[], |_, _| {}), "m deadlock");
    const A: Program = ("a", &[Say("a"), Receive]);
    assert_eq!(play(&[Say("m"), Receive], &[A], |_, _| {}), "m a deadlock");
    const SITS: Program = ("a", &[Say("a0"), RunAll, Say("a1"), Receive]);
    assert_eq!(play(&[Schedule, Receive], &[SITS], |_, _| {}), "a0 a1 deadlock");
}
