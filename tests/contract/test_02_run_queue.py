"""The run queue: which tasklet runs next, and what a switching call returns."""

import pytest
import stackless
from stackless import bomb, channel, schedule, schedule_remove, tasklet


def ring():
    """The ring as a list that starts with the current tasklet."""
    found = [stackless.current]
    while found[-1].next is not found[0]:
        found.append(found[-1].next)
    return found


def logging_tasklets(log, names):
    return [tasklet(log.append)(name) for name in names]


# ------------------------------------------------------------------ order in the ring


def test_new_and_inserted_tasklets_go_directly_before_current():
    """2.1: insert puts a tasklet at the far end of the ring."""
    main = stackless.current
    a = tasklet(int)()
    b = tasklet(int, ())
    c = tasklet(int)()
    b.insert()
    order = ring()
    backwards = [main.prev, b.prev, c.prev, a.prev]
    stackless.run()
    assert order == [main, a, c, b]
    assert backwards == [b, c, a, main]


def test_insert_from_a_tasklet_goes_before_that_tasklet():
    """2.1: the far end is relative to the current tasklet, not to main."""
    log = []

    def a():
        log.append("a")
        logging_tasklets(log, ["new"])
        schedule()
        log.append("a again")

    tasklet(a)()
    logging_tasklets(log, ["b"])
    stackless.run()
    assert log == ["a", "b", "new", "a again"]


def test_schedule_is_round_robin():
    """2.2: schedule() makes the right neighbour current, the caller is then last."""
    log = []

    def turn(name):
        for number in range(3):
            log.append(f"{name}{number}")
            schedule()

    for name in "abc":
        tasklet(turn)(name)
    stackless.run()
    assert log == "a0 b0 c0 a1 b1 c1 a2 b2 c2".split()


def test_schedule_from_main_runs_each_other_tasklet_once():
    """2.2: main is in the ring like any tasklet."""
    log = []

    def turn(name):
        log.append(name)
        schedule()
        log.append(name)

    tasklet(turn)("a")
    tasklet(turn)("b")
    schedule()
    assert log == ["a", "b"]
    schedule()
    assert log == ["a", "b", "a", "b"]


def test_run_of_a_tasklet_keeps_the_order():
    """2.3: b.run() from main runs b and c, then main; a is still waiting."""
    log = []
    a, b, _c = logging_tasklets(log, "abc")
    b.run()
    assert log == ["b", "c"]
    assert ring() == [stackless.main, a]
    stackless.run()
    assert log == ["b", "c", "a"]


def test_run_of_a_paused_tasklet_runs_only_that_one_first():
    """2.3: a tasklet that was not linked is inserted right before the caller."""
    log = []
    logging_tasklets(log, "ab")
    paused = tasklet(log.append, ("p",))
    paused.run()
    assert log == ["p"]
    stackless.run()
    assert log == ["p", "a", "b"]


def test_caller_of_run_continues_when_the_ring_comes_round():
    """2.3: the caller keeps its place in the ring."""
    log = []

    def caller():
        log.append("caller")
        last.run()
        log.append("caller again")

    tasklet(caller)()
    logging_tasklets(log, "ab")
    last = logging_tasklets(log, "c")[0]
    logging_tasklets(log, "d")
    stackless.run()
    assert log == ["caller", "c", "d", "caller again", "a", "b"]


def test_run_of_the_current_tasklet_switches_nowhere():
    """2.3: the target is current already; the ring does not change."""
    log = []
    logging_tasklets(log, "a")
    assert stackless.current.run() is None
    assert log == []
    stackless.run()


def test_switch_takes_the_caller_out_of_the_ring():
    """2.4: t.switch() is t.run() with the caller paused; main comes back when the ring is empty."""
    log = []

    def first():
        log.append(("first", stackless.main.paused, stackless.runcount))

    t = tasklet(first)()
    logging_tasklets(log, "b")
    assert t.switch() is None
    assert log == [("first", True, 2), "b"]


def test_switch_to_a_paused_tasklet():
    """2.4: a paused target is inserted; the paused caller is out of the ring until it is woken."""
    log = []

    def a():
        log.append("a")
        b.switch()
        log.append("a again")

    def b_body():
        log.append("b")

    first = tasklet(a)()
    b = tasklet(b_body, ())
    stackless.run()
    assert log == ["a", "b"]
    assert first.paused
    first.run()
    assert log == ["a", "b", "a again"]


def test_switch_to_oneself_does_nothing():
    """2.4, 4.2: on the caller itself: no effect."""
    log = []
    logging_tasklets(log, "a")
    stackless.current.switch()
    assert log == []
    assert stackless.runcount == 2
    stackless.run()


def test_the_right_neighbour_follows_an_ended_tasklet():
    """2.5: a switch goes directly to the next tasklet, not through main."""
    log = []

    def main_turn():
        schedule()
        log.append("main")

    logging_tasklets(log, "ab")
    main_turn()
    assert log == ["a", "b", "main"]


def test_blocking_hands_over_to_the_right_neighbour():
    """2.6, 5.2.4: a tasklet that blocks leaves the ring, its right neighbour is next."""
    log, ch = [], channel()

    def blocks():
        log.append("blocks")
        ch.receive()
        log.append("woken")

    tasklet(blocks)()
    logging_tasklets(log, "ab")
    schedule()
    assert log == ["blocks", "a", "b"]
    ch.send(None)
    assert log[3:] == ["woken"]


def test_empty_ring_wakes_the_caller_of_run():
    """2.6: a tasklet that removes itself last gives the turn to run()'s caller."""
    t = tasklet(schedule_remove)()
    assert stackless.run() is None
    assert t.paused
    t.run()


def test_empty_ring_wakes_a_main_that_was_switched_away_from():
    """2.6: without a run() caller it is main that is made runnable."""
    t = tasklet(schedule_remove)()
    assert t.switch() is None
    assert t.paused
    assert stackless.current is stackless.main
    t.run()


# ------------------------------------------------------------------ runcount


def test_runcount_counts_the_ring_with_current():
    """2.7"""
    assert stackless.runcount == 1 == stackless.getruncount()
    tasks = [tasklet(int)() for _ in range(3)]
    assert stackless.runcount == 4
    tasks[1].remove()
    assert stackless.runcount == 3
    stackless.run()
    assert stackless.runcount == 1


def test_runcount_under_run_and_under_schedule():
    """2.7: a tasklet inside run() is not counted; a main that calls schedule() is."""
    counts = []

    def count():
        counts.append((stackless.runcount, stackless.getruncount()))

    tasklet(count)()
    stackless.run()
    tasklet(count)()
    schedule()
    assert counts == [(1, 1), (2, 2)]


def test_blocked_and_paused_tasklets_are_not_counted():
    """2.7, 1: blocked tasklets are in a channel, paused ones in no list."""
    ch = channel()
    tasklet(ch.receive)()
    paused = tasklet(schedule_remove)()
    schedule()
    assert stackless.runcount == 1
    ch.send(None)
    paused.run()


# ------------------------------------------------------------------ values


def test_schedule_returns_the_caller_or_the_given_value():
    """3: schedule(retval=current), with or without a switch."""
    me, thing = stackless.current, object()
    assert schedule() is me
    assert schedule(thing) is thing
    assert schedule(retval=thing) is thing
    assert schedule(None) is None
    tasklet(int)()
    assert schedule() is me
    tasklet(int)()
    assert schedule(thing) is thing
    assert me.tempval is None


def test_pending_value_of_schedule_is_visible_in_tempval():
    """2, 21.9: while suspended in schedule() the tempval is what it will return."""
    me, thing, seen = stackless.current, object(), []

    def look():
        seen.append(me.tempval)

    tasklet(look)()
    schedule()
    tasklet(look)()
    schedule(thing)
    assert seen[0] is me
    assert seen[1] is thing
    assert me.tempval is None


def test_schedule_remove_pauses_with_its_value_in_tempval():
    """3: during the pause `t.tempval is retval`; it is out of the ring until it is inserted."""
    results, thing = [], object()
    t = tasklet(lambda: results.append(schedule_remove(thing)))()
    stackless.run()
    assert t.paused and t.tempval is thing
    t.insert()
    stackless.run()
    assert results == [thing]


def test_schedule_remove_without_value_returns_the_tasklet():
    """3: the default retval is the caller."""
    results = []
    t = tasklet(lambda: results.append(schedule_remove()))()
    stackless.run()
    assert t.tempval is t
    t.run()
    assert results == [t]


def test_waker_decides_what_the_pending_call_returns():
    """2, 3: `t.tempval = x` before waking a paused t."""
    results = []
    t = tasklet(lambda: results.append(schedule_remove(retval="old")))()
    stackless.run()
    t.tempval = "new"
    t.run()
    assert results == ["new"]


@pytest.mark.parametrize("how", ["run", "switch"])
def test_run_and_switch_return_the_callers_tempval(how):
    """2: `current.tempval = x; r = t.run()` gives `r is x`, and the slot is None again."""
    thing = object()
    t = tasklet(int, ())
    stackless.current.tempval = thing
    assert getattr(t, how)() is thing
    assert stackless.current.tempval is None


def test_bomb_in_tempval_is_raised_on_resume():
    """2: a bomb in the slot is raised instead of returned."""
    caught = []

    def sleeper():
        try:
            schedule_remove()
        except KeyError as error:
            caught.append(error.args)

    t = tasklet(sleeper)()
    stackless.run()
    t.tempval = bomb(KeyError, KeyError("boom"))
    t.run()
    assert caught == [("boom",)]
    stackless.current.tempval = bomb(KeyError, KeyError("mine"))
    with pytest.raises(KeyError, match="mine"):
        tasklet(int, ()).run()
    assert stackless.current.tempval is None


def test_schedule_remove_of_a_lone_main_simply_returns():
    """8.4: in main, with no other tasklet, it simply returns."""
    thing = object()
    assert schedule_remove(thing) is thing
    assert stackless.runcount == 1
    assert stackless.current.scheduled


def test_schedule_remove_of_main_lets_the_others_run_first():
    """2.6: main is out of the ring until the ring is empty."""
    log = []
    logging_tasklets(log, "ab")
    tasklet(lambda: log.append(stackless.main.paused))()
    schedule_remove()
    assert log == ["a", "b", True]
    assert stackless.main.scheduled
