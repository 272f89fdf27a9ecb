"""Runs limited by the clock, and by a number of turns."""

import math
import time

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet


class Spinner:
    """A tasklet that loops until it is stopped; ten million turns at most, so that tests end."""

    def __init__(self):
        self.turns, self.stopped = 0, False
        self.tasklet = tasklet(self.spin)()

    def spin(self):
        while not self.stopped and self.turns < 10_000_000:
            self.turns += 1

    def stop(self):
        self.stopped = True
        self.tasklet.insert()
        assert stackless.run() is None


# ------------------------------------------------------------------ seconds


@pytest.mark.parametrize("seconds", [0, 0.0, 1e-9, 0.01, 0.05])
def test_an_endless_tasklet_is_interrupted(seconds):
    """Hard by default: it is returned, out of the ring, and can continue."""
    spinner = Spinner()
    victim = stackless.run(seconds=seconds)
    assert victim is spinner.tasklet
    assert victim.alive and victim.paused and not victim.scheduled
    assert victim.recursion_depth == 1
    spinner.stop()


def test_the_budget_is_over_all_tasklets_from_the_start_of_run():
    """Switching does not prolong it."""

    def yields_for_ever():
        while not stop:
            schedule()

    stop = []
    tasklets = [tasklet(yields_for_ever)() for _ in range(3)]
    victim = stackless.run(seconds=0.02)
    assert victim in tasklets
    stop.append(True)
    victim.insert()
    assert stackless.run() is None


def test_the_budget_is_used():
    """The limit does not expire at once: work that takes far less is finished."""
    done = []

    def short():
        for _ in range(100):
            schedule()
        done.append(True)

    for _ in range(3):
        tasklet(short)()
    assert stackless.run(seconds=600) is None
    assert done == [True] * 3


def test_soft():
    """At the next switch the caller continues; all stay scheduled."""
    log = []

    def late():
        deadline = time.monotonic() + 0.03
        while time.monotonic() < deadline:
            pass
        log.append("late")
        schedule()
        log.append("late again")

    tasklet(late)()
    tasklet(log.append)("other")
    assert stackless.run(seconds=0.01, soft=True) is None
    assert log == ["late"] and stackless.runcount == 3
    assert stackless.run() is None
    assert log == ["late", "other", "late again"]


@pytest.mark.parametrize("seconds", [None, math.inf, 1e300, 10**9, 1e-3 * 2**63])
def test_no_limit_and_huge_ones(seconds):
    """None is no limit; large numbers do not wrap around."""
    done = []

    def loop():
        for _ in range(1000):
            pass
        done.append(True)

    tasklet(loop)()
    assert stackless.run(seconds=seconds) is None
    assert done == [True]


@pytest.mark.parametrize("ticks, seconds", [(10, 600), (10**9, 0.01)])
def test_with_ticks_as_well(ticks, seconds):
    """The limit that is reached first counts."""
    spinner = Spinner()
    assert stackless.run(ticks, seconds=seconds) is spinner.tasklet
    assert spinner.turns < 1000 or ticks > 1000
    spinner.stop()


def test_ignore_nesting():
    """As with a limit in ticks."""
    spinner = Spinner()
    spinner.tasklet.kill()
    t = tasklet(lambda: list(map(lambda _: spinner.spin(), [0])))()
    assert stackless.run(seconds=0.01, ignore_nesting=True) is t
    assert t.nesting_level == 1
    spinner.stopped = True
    t.insert()
    stackless.run()


@pytest.mark.parametrize("bad", [-1, -0.001, -math.inf, math.nan])
def test_impossible_budgets(bad):
    """ValueError, and nothing has run."""
    log = []
    t = tasklet(log.append)("ran")
    with pytest.raises(ValueError):
        stackless.run(seconds=bad)
    assert log == [] and t.scheduled
    stackless.run()


@pytest.mark.parametrize("bad", ["1", b"1", [1], object(), 1j])
def test_budgets_that_are_no_numbers(bad):
    """TypeError, and nothing has run."""
    log = []
    t = tasklet(log.append)("ran")
    with pytest.raises(TypeError):
        stackless.run(seconds=bad)
    assert log == [] and t.scheduled
    stackless.run()


def test_seconds_is_keyword_only():
    """run() takes at most 5 positional arguments."""
    with pytest.raises(TypeError, match="takes at most 5 arguments|expected at most 5 arguments"):
        stackless.run(0, False, False, False, False, 1.0)


def test_the_budget_ends_with_its_run():
    """What runs later is not interrupted."""
    assert stackless.run(seconds=0.001) is None
    time.sleep(0.002)
    done = []

    def loop():
        for _ in range(10_000):
            pass
        done.append(True)

    tasklet(loop)()
    assert stackless.run() is None
    assert done == [True]


# ------------------------------------------------------------------ run_n_tasklets


def turns(log, name, count):
    for turn in range(count):
        log.append(name + str(turn))
        schedule()


ALL = ["a0", "b0", "c0", "a1", "b1", "c1"]


@pytest.mark.parametrize("n", range(7))
def test_at_most_n_turns(n):
    """A turn ends at a switch; the next call continues with the next tasklet."""
    log = []
    tasklets = [tasklet(turns)(log, name, 2) for name in "abc"]
    assert stackless.run_n_tasklets(n) is None
    assert log == ALL[:n]
    assert all(t.scheduled for t in tasklets)
    assert stackless.run_n_tasklets(2) is None
    assert log == ALL[: n + 2]
    stackless.run()
    assert log == ALL


def test_one_by_one():
    """The order is that of one run()."""
    log = []
    for name in "abc":
        tasklet(turns)(log, name, 2)
    calls = 0
    while stackless.runcount > 1:
        stackless.run_n_tasklets(1)
        calls += 1
    assert log == ALL and calls == 9


@pytest.mark.parametrize("gives_up", ["end", "block", "schedule_remove", "fail"])
def test_every_way_to_end_a_turn(gives_up):
    """Blocking, pausing, ending and failing end a turn as well."""
    log, ch = [], channel()

    def first():
        log.append("first")
        if gives_up == "block":
            ch.receive()
        elif gives_up == "schedule_remove":
            schedule_remove(None)
        elif gives_up == "fail":
            raise KeyError("planned")

    t = tasklet(first)()
    tasklet(log.append)("second")
    if gives_up == "fail":
        with pytest.raises(KeyError, match="planned"):
            stackless.run_n_tasklets(1)
    else:
        assert stackless.run_n_tasklets(1) is None
    assert log == ["first"] and stackless.runcount == 2
    assert stackless.run_n_tasklets(1) is None
    assert log == ["first", "second"]
    t.kill()


def test_more_turns_than_there_are():
    """It returns when no tasklet is left, as run() does."""
    log = []
    tasklet(turns)(log, "a", 3)
    assert stackless.run_n_tasklets(1000) is None
    assert log == ["a0", "a1", "a2"] and stackless.runcount == 1
    assert stackless.run_n_tasklets(1) is None


def test_no_turns():
    """0 runs no tasklet."""
    log = []
    tasklet(log.append)("ran")
    assert stackless.run_n_tasklets(0) is None
    assert log == [] and stackless.runcount == 2
    stackless.run()


def test_long_turns_are_not_interrupted():
    """Turns are counted, not time."""
    done = []

    def loop(name):
        for _ in range(20_000):
            pass
        done.append(name)

    for name in "abc":
        tasklet(loop)(name)
    stackless.run_n_tasklets(2)
    assert done == ["a", "b"]
    stackless.run()


def test_the_count_ends_with_its_call():
    """Switches after the call are not counted."""
    tasklet(int)()
    stackless.run_n_tasklets(5)
    log = []
    for name in "abc":
        tasklet(turns)(log, name, 20)
    assert stackless.run() is None
    assert len(log) == 60


@pytest.mark.parametrize("bad, error", [(-1, ValueError), ("1", TypeError), (1.5, TypeError)])
def test_bad_numbers(bad, error):
    """ValueError below 0, TypeError for an argument that is no integer; nothing has run."""
    log = []
    tasklet(log.append)("ran")
    with pytest.raises(error):
        stackless.run_n_tasklets(bad)
    assert log == []
    stackless.run()


def test_needs_its_number():
    """16"""
    for arguments in ((), (1, 2)):
        with pytest.raises(TypeError, match=r"run_n_tasklets\(\) takes exactly one argument"):
            stackless.run_n_tasklets(*arguments)


# ------------------------------------------------------------------ alone in the ring


def endless():
    while True:
        schedule()


@pytest.mark.parametrize(
    "limited",
    [
        lambda: stackless.run_n_tasklets(3),
        lambda: stackless.run(seconds=0.01, soft=True),
        lambda: stackless.run(100, soft=True, totaltimeout=True),
    ],
    ids=["turns", "seconds", "totaltimeout"],
)
def test_a_lone_tasklet_that_yields_ends_a_soft_limit(limited):
    """7.2: at its next `schedule` the caller continues; all stay scheduled."""
    t = tasklet(endless)()
    assert limited() is None
    assert t.scheduled and t.alive and stackless.runcount == 2
    t.kill()


def test_each_yield_of_a_lone_tasklet_is_a_turn():
    log = []

    def work():
        for i in range(5):
            log.append(i)
            assert schedule(i) == i

    tasklet(work)()
    for expected in ([0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]):
        stackless.run_n_tasklets(2)
        assert log == expected


def test_a_lone_tasklet_under_a_switch_trap_is_left_alone():
    log = []

    def work():
        stackless.switch_trap(1)
        for _ in range(5):
            schedule()
        stackless.switch_trap(-1)
        log.append("untrapped")
        schedule()
        log.append("end")

    tasklet(work)()
    stackless.run_n_tasklets(1)
    assert log == ["untrapped"]
    stackless.run()
