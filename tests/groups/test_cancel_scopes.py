"""Cancel scopes: which calls raise Cancelled, how long, and which block catches it."""

import copy
import gc
import math
import pickle
import threading
import time
import weakref

import pytest
import stackless
from kinds_of_waits import WAITS, forever
from other_thread import run_in_thread


def in_tasklet(function):
    """Call it in a tasklet beside another one, and return its result."""
    other = stackless.tasklet(stackless.sleep)(0.2)
    try:
        return stackless.tasklet(function)().join()
    finally:
        other.kill()


@pytest.mark.parametrize("wait", WAITS)
def test_a_call_that_would_wait_raises(wait):
    """Each kind of wait, again and again while the block lasts; the block ends without an error."""

    def body():
        raised = []
        with stackless.CancelScope() as scope:
            scope.cancel("enough")
            for _ in range(3):
                with pytest.raises(stackless.Cancelled) as caught:
                    WAITS[wait]()
                raised.append(caught.value)
            raise caught.value
        assert {(error.scope, error.args) for error in raised} == {(scope, ("enough",))}
        return "left"

    assert in_tasklet(body) == "left"


@pytest.mark.parametrize("wait", [wait for wait in WAITS if wait not in ("schedule", "sleep(0)")])
def test_a_call_that_waits_is_ended(wait):
    """By another tasklet, which goes on running: cancel() does not switch."""
    events = []

    def body():
        with stackless.CancelScope() as scope:
            events.append(scope)
            try:
                WAITS[wait]()
            except stackless.Cancelled:
                events.append("cancelled")
                raise

    tasklet = stackless.tasklet(body)()
    stackless.schedule()
    (scope,) = events
    scope.cancel()
    assert events == [scope]
    tasklet.join()
    assert events == [scope, "cancelled"]
    stackless.run(block=False)


def test_a_call_that_does_not_wait_does_not_raise():
    """There is a partner, or nothing to wait for, or the call would not wait in any case."""
    ch = stackless.channel()
    receiver = stackless.tasklet(ch.receive)()
    ended = stackless.tasklet(int)()
    stackless.run()
    with stackless.CancelScope() as scope:
        scope.cancel()
        ch.send(1)
        assert ended.join() is None
        with pytest.raises(stackless.TimeoutError):
            ch.receive(timeout=0)
        assert stackless.run() is None
    assert not receiver.alive and scope.cancelled


def test_what_a_tasklet_got_is_not_lost():
    """It was runnable when its scope was cancelled: the call that has succeeded returns."""
    ch = stackless.channel()
    got = []

    def body():
        with stackless.CancelScope() as scope:
            got.append(scope)
            got.append(ch.receive())
            stackless.sleep(60)

    tasklet = stackless.tasklet(body)()
    stackless.schedule()
    ch.preference = 1
    ch.send("value")
    got[0].cancel()
    stackless.run()
    assert got[1:] == ["value"] and not tasklet.alive


def test_the_block_that_was_cancelled_catches_it():
    """Not one further in, and not one around it."""
    left = []
    with stackless.CancelScope() as outer:
        with stackless.CancelScope() as middle:
            with stackless.CancelScope():
                middle.cancel()
                stackless.sleep(1)
            left.append("inner")
        left.append("middle")
        stackless.schedule()
    assert left == ["middle"]
    assert (outer.cancelled, middle.cancelled) == (False, True)


def test_the_outermost_of_several_cancelled_blocks_ends():
    """In whichever order they were cancelled."""
    for first in (0, 1):
        left = []
        with stackless.CancelScope() as outer:
            with stackless.CancelScope() as inner:
                scopes = [outer, inner]
                scopes[first].cancel()
                scopes[1 - first].cancel()
                stackless.sleep(1)
            left.append("inner")
        assert left == []


def test_after_the_inner_block_the_outer_one_is_still_cancelled():
    with stackless.CancelScope() as outer:
        with stackless.CancelScope() as inner:
            inner.cancel()
            try:
                stackless.sleep(1)
            finally:
                outer.cancel()
        with pytest.raises(stackless.Cancelled) as caught:
            stackless.sleep(1)
        assert caught.value.scope is outer


def test_other_exceptions_pass():
    """They are not hidden by the cancellation of the block."""
    with pytest.raises(ZeroDivisionError):
        with stackless.CancelScope() as scope:
            scope.cancel()
            try:
                stackless.sleep(1)
            finally:
                1 / 0  # noqa: B018


def test_except_exception_does_not_catch_it():
    assert not issubclass(stackless.Cancelled, Exception)
    assert not issubclass(stackless.Cancelled, stackless.TaskletExit)
    assert stackless.Cancelled().scope is None


def test_only_the_tasklet_in_the_block_is_cancelled():
    """One that it starts by itself is not."""
    ended = []

    def other():
        stackless.sleep(0.01)
        ended.append(True)

    with stackless.CancelScope() as scope:
        stackless.tasklet(other)()
        scope.cancel()
    stackless.run()
    assert ended == [True]


# ------------------------------------------------------------------ shields


def test_a_shield_lets_clean_up_wait():
    steps = []
    with stackless.CancelScope() as scope:
        scope.cancel()
        try:
            stackless.sleep(1)
        finally:
            with stackless.shield():
                stackless.sleep(0.001)
                steps.append("clean")
            with pytest.raises(stackless.Cancelled):
                stackless.sleep(1)
            steps.append("cancelled again")
    assert steps == ["clean", "cancelled again"]


def test_cancellation_does_not_end_a_wait_behind_a_shield():
    """It is raised at the first wait after the shield."""
    ch = stackless.channel()
    steps = []

    def body():
        with stackless.CancelScope() as scope:
            steps.append(scope)
            with stackless.shield():
                steps.append(ch.receive())
            stackless.schedule()
            steps.append("not reached")

    tasklet = stackless.tasklet(body)()
    stackless.schedule()
    steps[0].cancel()
    stackless.schedule()
    assert tasklet.blocked
    ch.send("value")
    stackless.run()
    assert steps[1:] == ["value"] and not tasklet.alive


def test_a_shield_has_a_time_limit():
    with stackless.CancelScope() as scope:
        scope.cancel()
        with stackless.shield(timeout=0.01) as limit:
            forever()
        assert limit.expired
        assert stackless.current_deadline() == -math.inf


def test_a_scope_inside_a_shield_can_be_cancelled():
    with stackless.shield():
        with stackless.CancelScope() as scope:
            scope.cancel()
            stackless.sleep(60)
    assert scope.cancelled


# ------------------------------------------------------------------ deadlines


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_move_on_after(seconds):
    with stackless.move_on_after(seconds) as scope:
        forever()
        raise AssertionError("not reached")
    assert scope.expired and scope.cancelled


def test_in_time_it_does_nothing():
    with stackless.move_on_after(0.05) as scope:
        stackless.sleep(0.001)
    stackless.sleep(0.06)
    assert not scope.expired and not scope.cancelled


def test_expired_says_that_the_deadline_has_ended_the_block():
    """A block that did not wait after its deadline has done all its work."""
    with stackless.move_on_after(0.001) as scope:
        time.sleep(0.005)
        with stackless.shield():
            stackless.sleep(0.001)
        assert scope.expired
    assert scope.cancelled and not scope.expired


def test_fail_after():
    with pytest.raises(stackless.TimeoutError, match=r"timed out after 0\.01 s") as caught:
        with stackless.fail_after(0.01) as scope:
            forever()
    assert isinstance(caught.value.__cause__, stackless.Cancelled)
    assert isinstance(caught.value, TimeoutError) and scope.expired


def test_fail_after_that_was_cancelled_does_not_fail():
    """TimeoutError is for the deadline only."""
    with stackless.fail_after(60) as scope:
        scope.cancel()
        stackless.sleep(1)
    assert not scope.expired


def test_deadlines_nest():
    """Each block is ended by its own deadline, whichever is first."""
    for outer_time, inner_time, ends in ((0.01, 60, "outer"), (60, 0.01, "inner")):
        with stackless.move_on_after(outer_time) as outer:
            with stackless.move_on_after(inner_time) as inner:
                forever()
            assert ends == "inner"
        assert (outer.expired, inner.expired) == (ends == "outer", ends == "inner")


def test_a_deadline_can_be_moved():
    began = time.monotonic()
    with stackless.move_on_after(60) as scope:
        assert began + 59 < scope.deadline < began + 70
        scope.deadline = time.monotonic() + 0.01
        forever()
    assert scope.expired
    with stackless.move_on_after(0.01) as scope:
        scope.deadline = math.inf
        stackless.sleep(0.02)
    assert not scope.expired
    with stackless.CancelScope() as scope:
        assert scope.deadline == math.inf
        scope.deadline = -1
        forever()
    assert scope.expired


def test_a_deadline_before_the_block():
    scope = stackless.CancelScope()
    scope.deadline = time.monotonic() + 0.01
    with scope:
        forever()
    assert scope.expired


@pytest.mark.parametrize("value", [math.nan, "soon", None])
def test_a_deadline_is_a_number(value):
    scope = stackless.CancelScope()
    with pytest.raises((TypeError, ValueError)):
        scope.deadline = value
    with pytest.raises(AttributeError):
        del scope.deadline
    assert scope.deadline == math.inf


def test_a_deadline_is_moved_from_another_thread():
    """It wakes the thread, which sleeps."""
    with stackless.move_on_after(60) as scope:
        thread = threading.Timer(0.02, lambda: setattr(scope, "deadline", 0))
        thread.start()
        forever()
    thread.join()
    assert scope.expired


def test_current_deadline():
    assert stackless.current_deadline() == math.inf
    with stackless.move_on_after(100) as outer:
        assert stackless.current_deadline() == outer.deadline
        with stackless.timeout(50):
            assert stackless.current_deadline() < outer.deadline - 40
        with stackless.shield():
            assert stackless.current_deadline() == math.inf
        with stackless.move_on_after(10) as inner:
            assert stackless.current_deadline() == inner.deadline
        outer.cancel()
        assert stackless.current_deadline() == -math.inf


def test_run_waits_for_a_deadline():
    """As for a sleep, unless the tasklet is a daemon."""
    for daemon in (False, True):
        ended = []

        def body(ended=ended):
            with stackless.move_on_after(0.01):
                forever()
            ended.append(True)

        tasklet = stackless.tasklet(body)()
        tasklet.daemon = daemon
        stackless.run()
        assert ended == ([] if daemon else [True])
        stackless.sleep(0.02)
        assert ended == [True]


def test_beside_a_timeout_block():
    """The block whose time is over first ends, whichever kind it is."""
    with stackless.move_on_after(60) as scope:
        with pytest.raises(stackless.TimeoutError):
            with stackless.timeout(0.01):
                forever()
    assert not scope.cancelled
    with stackless.timeout(60) as limit:
        with stackless.move_on_after(0.01) as scope:
            forever()
    assert scope.expired and not limit.expired


# ------------------------------------------------------------------ use and misuse


@pytest.mark.parametrize(
    ("make", "seconds"),
    [
        (make, seconds)
        for make in (stackless.move_on_after, stackless.fail_after, stackless.shield)
        for seconds in ("1", -1, math.nan)
    ],
)
def test_seconds_are_a_number(make, seconds):
    with pytest.raises(TypeError if seconds == "1" else ValueError):
        make(seconds)


@pytest.mark.parametrize("make", [stackless.move_on_after, stackless.fail_after, stackless.shield])
def test_without_a_limit(make):
    for seconds in (None, math.inf):
        with make(seconds) as scope:
            stackless.sleep(0.001)
        assert scope.deadline == math.inf


def test_cancelled_before_the_block():
    scope = stackless.CancelScope()
    scope.cancel()
    with scope:
        stackless.sleep(60)
        raise AssertionError("not reached")
    assert scope.cancelled


def test_cancelled_after_the_block():
    """Nothing happens any more."""
    with stackless.CancelScope() as scope:
        pass
    scope.cancel("late")
    assert not scope.cancelled and scope.reason is None
    stackless.sleep(0.001)


def test_entered_once_only():
    with stackless.CancelScope() as scope:
        with pytest.raises(RuntimeError, match="only once"):
            scope.__enter__()
    with pytest.raises(RuntimeError, match="only once"):
        scope.__enter__()
    with pytest.raises(RuntimeError, match="not entered"):
        stackless.CancelScope().__exit__(None, None, None)


def test_left_by_another_tasklet():
    """An error there; the tasklet that has entered it is not in it any more."""
    scope = stackless.CancelScope()
    entered = stackless.channel()

    def body():
        scope.__enter__()
        entered.receive()
        stackless.sleep(0.001)
        return "ended"

    tasklet = stackless.tasklet(body)()
    stackless.schedule()
    with pytest.raises(RuntimeError, match="by the tasklet that entered it"):
        scope.__exit__(None, None, None)
    assert scope.cancelled
    tasklet.kill()


def test_left_by_another_thread():
    with stackless.CancelScope() as scope:
        with pytest.raises(RuntimeError, match="by the tasklet that entered it"):
            run_in_thread(lambda: scope.__exit__(None, None, None))
    assert scope.cancelled
    stackless.sleep(0.001)


def test_left_out_of_order():
    """Generators may do that: each scope is removed where it is."""
    first, second = stackless.CancelScope(), stackless.CancelScope()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    first.cancel()
    stackless.sleep(0.001)
    second.cancel()
    with pytest.raises(stackless.Cancelled) as caught:
        stackless.sleep(1)
    assert second.__exit__(stackless.Cancelled, caught.value, None) is True
    stackless.sleep(0.001)


def test_cancel_from_another_thread():
    with stackless.CancelScope() as scope:
        thread = threading.Timer(0.02, scope.cancel, ["from a thread"])
        thread.start()
        forever()
    thread.join()
    assert scope.reason == "from a thread"


def test_a_killed_tasklet_leaves_its_scopes():
    """kill() is not cancellation: it passes shields."""
    scopes = []

    def body():
        with stackless.move_on_after(60) as scope, stackless.shield() as inner:
            scopes[:] = scope, inner
            forever()

    tasklet = stackless.tasklet(body)()
    stackless.schedule()
    tasklet.kill()
    assert not tasklet.alive
    assert ["left" in repr(scope) for scope in scopes] == [True, True]
    assert stackless.run() is None


def test_dropped_with_its_frames():
    """A paused tasklet that nothing refers to vanishes, with its scopes and their timers."""

    def body():
        with stackless.move_on_after(60):
            stackless.schedule_remove()

    tasklet = stackless.tasklet(body)()
    stackless.schedule()
    gone = weakref.ref(tasklet)
    del tasklet
    gc.collect()
    assert gone() is None
    assert stackless.run() is None


def test_repr():
    scope = stackless.CancelScope()
    assert repr(scope).startswith("<stackless.CancelScope not entered at 0x")
    with scope:
        assert repr(scope).startswith("<stackless.CancelScope at 0x")
        scope.cancel()
        assert repr(scope).startswith("<stackless.CancelScope cancelled at 0x")
    assert repr(scope).startswith("<stackless.CancelScope left, cancelled at 0x")
    assert repr(stackless.shield()).startswith("<stackless.CancelScope not entered, shielded at")


def test_is_not_pickled():
    for scope in (stackless.CancelScope(), stackless.TaskGroup()):
        for use in (pickle.dumps, copy.copy, stackless.dumps):
            with pytest.raises(TypeError, match="cannot pickle a (CancelScope|TaskGroup)"):
                use(scope)


def test_no_reference_is_lost_or_left():
    """Scopes and the exceptions that they raise go when nothing refers to them."""
    gone = []
    for make in (stackless.CancelScope, stackless.shield, stackless.TaskGroup):
        with make() as scope:
            scope.cancel(object())
            stackless.sleep(1)
        gone.append(weakref.ref(scope))
        del scope
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
