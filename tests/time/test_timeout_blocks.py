"""with stackless.timeout(): nested, around other code, and that nothing is left over."""

import gc
import math
import threading
import weakref

import pytest
import stackless


def forever():
    stackless.channel().receive()


WAITS = {
    "sleep": lambda: stackless.sleep(60),
    "channel": forever,
    "schedule": lambda: [stackless.schedule() for _ in iter(int, 1)],
    "schedule_remove": lambda: stackless.schedule_remove(),
    "to_thread": lambda: stackless.to_thread(threading.Event().wait, 1),
    "run": lambda: beside_a_sleeper(lambda sleeper: stackless.run()),
    "join": lambda: beside_a_sleeper(lambda sleeper: sleeper.join()),
}


def beside_a_sleeper(wait):
    sleeper = stackless.tasklet(stackless.sleep)(60)
    try:
        wait(sleeper)
    finally:
        sleeper.kill()


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("where", ["main", "tasklet"])
def test_ends_every_kind_of_wait(wait, where):
    """In main, and in a tasklet beside other tasklets."""
    ended = []

    def body():
        with pytest.raises(stackless.TimeoutError, match=r"timed out after 0\.02 s"):
            with stackless.timeout(0.02) as limit:
                WAITS[wait]()
        ended.append(limit.expired)

    if where == "main":
        if wait == "schedule_remove":
            pytest.skip("returns at once in main")
        body()
    else:
        stackless.tasklet(body)()
        stackless.tasklet(stackless.sleep)(0.1)
        stackless.run()
    assert ended == [True]


def test_in_time_it_does_nothing():
    """The limit is removed: the tasklet may wait longer afterwards."""
    with stackless.timeout(0.02) as limit:
        stackless.sleep(0.001)
    stackless.sleep(0.04)
    assert not limit.expired


@pytest.mark.parametrize("seconds", [None, math.inf])
def test_no_limit(seconds):
    """None and infinity."""
    with stackless.timeout(seconds):
        stackless.sleep(0.01)


def test_works_around_code_that_catches_exceptions():
    """A library's `except Exception` does not stop it, its `finally` runs."""
    log = []

    def library():
        while True:
            try:
                stackless.sleep(60)
            except Exception:
                log.append("swallowed")
            finally:
                log.append("finally")

    with pytest.raises(stackless.TimeoutError) as caught, stackless.timeout(0.01):
        library()
    assert log == ["finally"]
    assert isinstance(caught.value.__cause__, stackless.TimeoutExit)


def outcome_of_nested(outer_seconds, inner_seconds, seconds=60):
    log = []
    with pytest.raises(stackless.TimeoutError):
        with stackless.timeout(outer_seconds) as outer:
            try:
                with stackless.timeout(inner_seconds) as inner:
                    stackless.sleep(seconds)
            except stackless.TimeoutError:
                log.append("inner")
                stackless.sleep(60)
    return log, outer.expired, inner.expired


def test_inner_first():
    """The inner limit is reached first: the outer one continues, and is reached later."""
    assert outcome_of_nested(0.05, 0.01) == (["inner"], True, True)


def test_outer_first():
    """The outer TimeoutError passes through the inner block, which does not take it for its own."""
    assert outcome_of_nested(0.01, 60) == ([], True, False)


def test_both_at_once():
    """The innermost limit counts; the outer one follows at the next wait."""
    import time

    log = []
    with pytest.raises(stackless.TimeoutError):
        with stackless.timeout(0.01) as outer:
            try:
                with stackless.timeout(0.01) as inner:
                    time.sleep(0.03)
                    stackless.sleep(60)
            except stackless.TimeoutError:
                log.append((outer.expired, inner.expired))
                stackless.sleep(60)
    assert log == [(False, True)] and outer.expired


def test_value_under_way_is_not_lost():
    """A tasklet got a value, and reached its limit before its turn: it receives the value, and the
    exception at its next switching call."""
    import time

    channel = stackless.channel()
    channel.preference = 0
    log = []

    def receiver():
        try:
            with stackless.timeout(0.01):
                log.append(channel.receive())
                stackless.schedule()
                log.append("not here")
        except stackless.TimeoutError:
            log.append("late")

    stackless.tasklet(receiver)()
    stackless.schedule()
    channel.send("value")
    time.sleep(0.03)
    for _ in range(100):
        stackless.schedule()
    assert log == ["value", "late"]


def test_block_left_before_the_exception_goes_off():
    """Nothing is raised after the block."""
    import time

    channel = stackless.channel()
    channel.preference = 0
    log = []

    def receiver():
        with stackless.timeout(0.01) as limit:
            log.append(channel.receive())
        stackless.schedule()
        log.append(limit.expired)

    stackless.tasklet(receiver)()
    stackless.schedule()
    channel.send("value")
    time.sleep(0.03)
    for _ in range(100):
        stackless.schedule()
    assert log == ["value", False]


@pytest.mark.parametrize("exception", [KeyError("k"), KeyError])
def test_own_exception(exception):
    """An instance or a class."""
    with pytest.raises(KeyError), stackless.timeout(0.01, exception):
        stackless.sleep(60)


def test_other_exceptions_pass():
    """Exceptions that are raised inside the block."""
    with pytest.raises(KeyError), stackless.timeout(60):
        raise KeyError


def test_may_be_used_again_but_not_twice():
    """It can be used for one block at a time."""
    limit = stackless.timeout(60)
    with limit:
        with pytest.raises(RuntimeError, match="in use"):
            limit.__enter__()
    with limit:
        pass


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_nonsense(seconds):
    """ValueError, before anything begins."""
    with pytest.raises(ValueError, match="must not be negative or NaN"):
        stackless.timeout(seconds)


def test_entered_here_left_there():
    """A generator that another tasklet finishes: the limit stays with the tasklet that entered."""

    def generator():
        with stackless.timeout(0.02):
            yield

    log = []

    def enters():
        g = generator()
        next(g)
        stackless.tasklet(lambda: next(g, None))()
        try:
            stackless.sleep(0.05)
            log.append("slept")
        except stackless.TimeoutExit:
            log.append("hit")

    stackless.tasklet(enters)()
    stackless.run()
    assert log == ["slept"]


def test_tasklet_ends_inside_a_block():
    """Suspended in a generator: the limit ends with the tasklet."""

    def generator():
        with stackless.timeout(0.01):
            yield

    kept = []

    def enters():
        kept.append(generator())
        next(kept[0])

    t = stackless.tasklet(enters)()
    stackless.run()
    gone = weakref.ref(t)
    del t
    gc.collect()
    assert gone() is None
    stackless.sleep(0.03)
    kept.clear()


def test_killed_inside_a_block():
    """TaskletExit passes through, and no limit is left."""

    def body():
        with stackless.timeout(0.02):
            stackless.sleep(60)

    t = stackless.tasklet(body)()
    stackless.schedule()
    t.kill()
    assert not t.alive
    stackless.sleep(0.04)


def test_around_run_with_nothing_to_do():
    """run() does not wait for a limit that is only over run() itself."""
    with stackless.timeout(60):
        assert stackless.run() is None


def test_limits_of_a_thread_that_ends():
    """The main tasklet of a thread leaves behind a generator that is suspended in a block."""
    kept = []

    def in_thread():
        def generator():
            with stackless.timeout(60):
                yield

        kept.append(generator())
        next(kept[0])

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    kept.clear()
    assert stackless.run() is None
