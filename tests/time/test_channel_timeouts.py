"""timeout= of the channel calls."""

import gc
import threading
import weakref

import pytest
import stackless


@pytest.fixture
def channel():
    return stackless.channel()


def test_the_exception():
    """It can be caught as three different classes."""
    assert issubclass(stackless.TimeoutError, TimeoutError)
    assert issubclass(stackless.TimeoutError, RuntimeError)


@pytest.mark.parametrize("seconds", [0, 0.01])
@pytest.mark.parametrize("operation", ["receive", "send", "send_exception", "send_throw"])
def test_no_partner_comes(channel, operation, seconds):
    """TimeoutError; the queue is as before."""
    arguments = {"receive": (), "send": (1,)}.get(operation, (ValueError,))
    with pytest.raises(stackless.TimeoutError):
        getattr(channel, operation)(*arguments, timeout=seconds)
    assert (channel.balance, channel.queue) == (0, None)


def test_zero_finds_a_waiting_tasklet(channel):
    """timeout=0 takes the value of a tasklet that waits already."""
    stackless.tasklet(channel.send)(5)
    stackless.schedule()
    assert channel.receive(timeout=0) == 5
    stackless.run()


def test_in_time(channel):
    """The value arrives, and the timer is removed."""
    stackless.tasklet(lambda: (stackless.sleep(0.01), channel.send("v")))()
    assert channel.receive(timeout=60) == "v"
    assert stackless.run() is None


def test_sent_in_time(channel):
    """The same for a sender."""
    received = []
    stackless.tasklet(lambda: (stackless.sleep(0.01), received.append(channel.receive())))()
    assert channel.send("v", timeout=60) is None
    stackless.run()
    assert received == ["v"]


def test_none_is_no_limit(channel):
    """timeout=None is the same as no timeout."""
    stackless.tasklet(channel.send)(5)
    assert channel.receive(timeout=None) == 5
    stackless.run()


def test_others_stay_in_the_queue(channel):
    """Only the tasklet whose time is over leaves the queue."""
    log = []

    def receiver(name, timeout):
        try:
            log.append((name, channel.receive(timeout=timeout)))
        except stackless.TimeoutError:
            log.append((name, "late"))

    for name, timeout in [("a", None), ("b", 0.01), ("c", 60)]:
        stackless.tasklet(receiver)(name, timeout)
    stackless.schedule()
    assert channel.balance == -3
    stackless.sleep(0.03)
    assert channel.balance == -2
    channel.send(1)
    channel.send(2)
    stackless.run()
    assert log == [("b", "late"), ("a", 1), ("c", 2)]


def test_value_of_a_late_sender_is_dropped(channel):
    """The value is freed with its last reference."""

    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    with pytest.raises(stackless.TimeoutError):
        channel.send(value, timeout=0.01)
    del value
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("preference", [-1, 0, 1])
@pytest.mark.parametrize("schedule_all", [0, 1])
def test_every_way_to_meet_ends_the_timer(channel, preference, schedule_all):
    """Afterwards the tasklet waits elsewhere, and the old timer does not reach it."""
    channel.preference, channel.schedule_all = preference, schedule_all
    other = stackless.channel()
    log = []

    def receiver():
        log.append(channel.receive(timeout=0.02))
        log.append(other.receive())

    stackless.tasklet(receiver)()
    stackless.schedule()
    channel.send("first")
    stackless.sleep(0.05)
    assert log == ["first"] and other.balance == -1
    other.send("second")
    stackless.run()
    assert log == ["first", "second"]


def test_closing_ends_nothing_but_iterations(channel):
    """A receive(timeout=) stays in the queue until its time is over."""
    log = []

    def receiver():
        try:
            channel.receive(timeout=0.02)
        except stackless.TimeoutError:
            log.append("late")

    stackless.tasklet(receiver)()
    stackless.schedule()
    channel.close()
    assert channel.balance == -1
    stackless.run()
    assert log == ["late"] and channel.closed


def test_channel_callback_sees_it(channel):
    """The callback is called as for any other wait."""
    seen = []
    stackless.set_channel_callback(lambda *operation: seen.append(operation[2:]))
    with pytest.raises(stackless.TimeoutError):
        channel.receive(timeout=0.01)
    stackless.set_channel_callback(None)
    assert seen == [(0, 1)]


def test_block_trap_comes_first(channel):
    """It refuses an operation that would wait."""
    stackless.getcurrent().block_trap = True
    try:
        with pytest.raises(RuntimeError, match="does not like to be blocked"):
            channel.receive(timeout=1)
    finally:
        stackless.getcurrent().block_trap = False


def test_between_threads(channel):
    """A sender in another thread, one in time and one too late."""
    thread = threading.Timer(0.01, channel.send, ["v"])
    thread.start()
    assert channel.receive(timeout=60) == "v"
    thread.join()
    with pytest.raises(stackless.TimeoutError):
        channel.receive(timeout=0.01)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_nonsense(channel, timeout):
    """ValueError."""
    with pytest.raises(ValueError, match="timeout must not be negative or NaN"):
        channel.receive(timeout=timeout)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.receive(limit=1),
        lambda c: c.send(1, limit=1),
        lambda c: c.send(value=1),
        lambda c: c.receive(timeout=1, limit=2),
        lambda c: c.send_exception(ValueError, limit=1),
        lambda c: c.send_throw(ValueError, tb=None),
    ],
)
def test_other_keywords_are_refused(channel, call):
    """The text of the error is CPython's."""
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        call(channel)


def test_positional_timeout_is_refused(channel):
    """It is keyword-only."""
    with pytest.raises(TypeError, match="takes no arguments|expected 0 arguments"):
        channel.receive(1)
    with pytest.raises(TypeError, match="takes exactly one argument"):
        channel.send(1, 1)
