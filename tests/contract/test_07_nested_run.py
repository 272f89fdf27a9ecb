"""run(), and run() called by tasklets that run() runs."""

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, tasklet


def test_run_returns_none_when_the_ring_is_empty():
    """Blocked and paused tasklets elsewhere do not matter."""
    ch, log = channel(), []
    blocked = tasklet(ch.receive)()
    paused = tasklet(schedule_remove)(None)
    tasklet(log.append)("ran")
    assert stackless.run() is None
    assert log == ["ran"]
    assert blocked.blocked and paused.paused
    ch.send(None)
    paused.run()


def test_run_without_other_tasklets_returns_at_once():
    """Alone in the ring."""
    assert stackless.run() is None
    assert stackless.runcount == 1


def test_run_accepts_its_defaults_in_every_spelling():
    """3: positional or keyword; negative timeouts count as 0."""
    log = []
    for call in (
        lambda: stackless.run(0),
        lambda: stackless.run(timeout=0),
        lambda: stackless.run(0, False, False, False, False),
        lambda: stackless.run(threadblock=False, soft=False),
        lambda: stackless.run(ignore_nesting=False, totaltimeout=False),
        lambda: stackless.run(-1),
        lambda: stackless.run(soft=True, ignore_nesting=True, totaltimeout=True),
        lambda: stackless.run(0, False, True),
    ):
        tasklet(log.append)("ran")
        assert call() is None
    assert log == ["ran"] * 8


def test_run_runs_what_the_tasklets_create():
    """Until the ring is empty."""
    log = []

    def spawn(depth):
        log.append(depth)
        if depth < 3:
            tasklet(spawn)(depth + 1)
            tasklet(spawn)(depth + 1)

    tasklet(spawn)(0)
    stackless.run()
    assert log == [0] + [1] * 2 + [2] * 4 + [3] * 8


def test_run_from_a_tasklet():
    """The innermost run() caller resumes when the ring empties; the outer ones are paused."""
    log = []

    def inner():
        log.append("inner starts")
        tasklet(body)()
        assert stackless.run() is None
        log.append("inner returns")

    def body():
        log.append(("body", stackless.main.paused, inner_tasklet.paused, stackless.runcount))

    inner_tasklet = tasklet(inner)()
    assert stackless.run() is None
    assert log == ["inner starts", ("body", True, True, 1), "inner returns"]


def test_run_caller_waits_for_all_not_only_its_own():
    """There is one ring: an inner run() also runs tasklets made before it."""
    log = []

    def inner():
        stackless.run()
        log.append("inner returns")

    tasklet(inner)()
    tasklet(log.append)("a")
    tasklet(log.append)("b")
    stackless.run()
    assert log == ["a", "b", "inner returns"]


def test_three_runs_return_innermost_first():
    """Calls of run() form a stack."""
    log = []

    def level(number):
        if number < 3:
            tasklet(level)(number + 1)
        stackless.run()
        log.append(number)

    tasklet(level)(1)
    stackless.run()
    log.append(0)
    assert log == [3, 2, 1, 0]


def test_uncaught_exception_goes_to_the_innermost_run():
    """The exception is not raised in main, which is inside the outer run()."""
    log = []

    def fails():
        raise KeyError("to the inner one")

    def inner():
        tasklet(fails)()
        with pytest.raises(KeyError, match="to the inner one"):
            stackless.run()
        log.append("inner caught")

    tasklet(inner)()
    stackless.run()
    assert log == ["inner caught"]


@pytest.mark.parametrize("wake", ["insert", "run"])
def test_outer_run_returns_when_its_caller_is_woken(wake):
    """The inner run() on top of it is popped and returns None in turn."""
    log = []

    def inner():
        tasklet(waker)()
        log.append(("inner", stackless.run()))

    def waker():
        getattr(stackless.main, wake)()
        log.append("waker ends")

    inner_tasklet = tasklet(inner)()
    result = stackless.run()
    log.append(("main", result))
    assert inner_tasklet.alive
    stackless.run()
    assert not inner_tasklet.alive
    assert log.index(("main", None)) < log.index(("inner", None))
    assert len(log) == 3 and "waker ends" in log


def test_woken_outer_run_leaves_no_watchdog_behind():
    """After all were popped a new run() works as before."""
    log = []

    def inner():
        tasklet(lambda: stackless.main.insert())()
        stackless.run()

    tasklet(inner)()
    stackless.run()
    stackless.run()
    tasklet(log.append)("a")
    stackless.run()
    assert log == ["a"]
    assert stackless.runcount == 1


def test_main_schedules_beside_a_tasklet_that_sits_in_run():
    """Its run() returns only when the ring empties while it is the innermost, i.e. main blocks."""
    log, ch = [], channel()

    def sitter():
        stackless.run()
        log.append("sitter returns")
        ch.send("woken")

    t = tasklet(sitter)()
    schedule()
    assert t.paused and stackless.runcount == 1
    for _ in range(3):
        assert schedule() is stackless.main
    tasklet(log.append)("other")
    schedule()
    assert log == ["other"] and t.paused
    assert ch.receive() == "woken"
    assert log == ["other", "sitter returns"]
    stackless.run()
    assert not t.alive


def test_main_run_beside_a_sitting_tasklet_returns_first():
    """Then main is the innermost caller, any number of times."""
    log = []

    def sitter():
        log.append(stackless.run())

    t = tasklet(sitter)()
    tasklet(log.append)("a")
    schedule()
    assert log == ["a"] and t.paused
    for _ in range(3):
        tasklet(log.append)("b")
        assert stackless.run() is None
        assert t.paused
    assert log == ["a", "b", "b", "b"]
    t.run()
    assert log[-1] is None
    assert not t.alive


def test_killing_a_sitting_tasklet():
    """Allowed: TaskletExit is raised out of its run()."""
    log = []

    def sitter():
        try:
            stackless.run()
        finally:
            log.append("finally")

    t = tasklet(sitter)()
    schedule()
    assert t.paused
    t.kill()
    assert log == ["finally"] and not t.alive
    tasklet(log.append)("a")
    assert stackless.run() is None
    assert log == ["finally", "a"]


@pytest.mark.parametrize("wake", ["run", "insert", "switch"])
def test_waking_a_sitting_tasklet(wake):
    """Its run() returns None."""
    log = []

    def sitter():
        log.append(stackless.run())

    t = tasklet(sitter)()
    schedule()
    assert t.paused
    getattr(t, wake)()
    schedule()
    assert log == [None] and not t.alive


def test_exception_after_an_inner_run_returned_goes_outward_again():
    """The watchdogs form a stack; a caller that has returned is not in it."""
    log = []

    def fails():
        raise KeyError

    def inner():
        tasklet(int)()
        stackless.run()
        log.append("inner returned")
        tasklet(fails)()

    tasklet(inner)()
    with pytest.raises(KeyError):
        stackless.run()
    assert log == ["inner returned"]


def test_inner_run_that_raises_is_off_the_stack():
    """An exception out of the inner run() leaves the outer one in place."""
    log = []

    def fails(name):
        raise KeyError(name)

    def inner():
        tasklet(fails)("first")
        with pytest.raises(KeyError, match="first"):
            stackless.run()
        tasklet(fails)("second")
        log.append("inner ends")

    tasklet(inner)()
    with pytest.raises(KeyError, match="second"):
        stackless.run()
    assert log == ["inner ends"]
