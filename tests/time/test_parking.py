"""Tasklets that are parked while they wait for time."""

import threading

import pytest
import stackless
from stackless import _stackless, socket

log = []


@pytest.fixture(autouse=True)
def fresh_log():
    log.clear()


def sleeps(seconds):
    stackless.sleep(seconds)
    log.append("slept")


def receives(channel):
    log.append(channel.receive(timeout=60))


def receives_too_late(channel):
    try:
        channel.receive(timeout=0.02)
    except stackless.TimeoutError:
        log.append("late")


def limited():
    try:
        with stackless.timeout(0.02):
            stackless.sleep(60)
    except stackless.TimeoutError:
        log.append("late")


def joins(t):
    log.append(t.join())


def calls(function):
    log.append(stackless.to_thread(function))


def reads(s):
    log.append(s.recv(10))


def parked(function, *arguments):
    t = stackless.tasklet(function)(*arguments)
    stackless.schedule()
    _stackless._park(t)
    assert _stackless._is_parked(t)
    return t


def test_sleep():
    """The timer wakes it."""
    parked(sleeps, 0.01)
    stackless.run()
    assert log == ["slept"]


def test_receive():
    """A value that comes in time, and one that comes too late."""
    channel, other = stackless.channel(), stackless.channel()
    parked(receives, channel)
    parked(receives_too_late, other)
    channel.send("v")
    stackless.run()
    assert log == ["v", "late"]


def test_timeout_block():
    """The limit reaches it."""
    parked(limited)
    stackless.run()
    assert log == ["late"]


def test_join():
    """The joined result arrives, and the tasklet's own result as well."""
    t = stackless.tasklet(lambda: (stackless.sleep(0.01), "result")[1])()
    waiting = parked(joins, t)
    waiting.join()
    stackless.run()
    assert log == ["result"]


def test_result_of_a_parked_one():
    """The return value of its function is kept."""

    def function():
        stackless.sleep(0.01)
        return "result"

    t = parked(function)
    assert t.join() == "result"


def test_to_thread():
    """The worker thread reports to it."""
    release = threading.Event()
    parked(calls, release.wait)
    release.set()
    stackless.run()
    assert log == [True]


@pytest.mark.parametrize("by_hand", [False, True])
def test_recv(by_hand):
    """Woken by data; or by hand, and then it must wait again."""
    near, far = socket.socketpair()
    with near, far:
        t = parked(reads, near)
        if by_hand:
            for _ in range(3):
                t.insert()
                stackless.schedule()
                assert t.paused and log == []
        far.send(b"data")
        stackless.run()
    assert log == [b"data"]


def test_recv_closed():
    """OSError in a parked tasklet."""
    near, far = socket.socketpair()

    def body():
        with pytest.raises(OSError):
            near.recv(1)
        log.append("closed")

    with far:
        parked(body)
        near.close()
        stackless.run()
    assert log == ["closed"]


def test_thousands_share_few_stacks():
    """More sleepers than stacks are kept: those that have waited longest are parked."""
    before = stackless.get_stack_limits()
    stackless.set_stack_limits(park_above=100)
    try:
        tasklets = [stackless.tasklet(sleeps)(0.05) for _ in range(1000)]
        stackless.schedule()
        assert any(_stackless._is_parked(t) for t in tasklets)
        stackless.run()
    finally:
        stackless.set_stack_limits(park_above=before.park_above)
    assert log == ["slept"] * 1000


def test_frames_taken_away():
    """bind(None) of a sleeper: its timer is removed, and a tasklet that joins it continues."""
    t = stackless.tasklet(sleeps)(0.01)
    stackless.tasklet(joins)(t)
    stackless.schedule()
    t.bind(None)
    stackless.run()
    assert log == [None] and not t.alive


def test_frames_taken_away_inside_a_limit():
    """The limit is removed, too."""
    t = stackless.tasklet(limited)()
    stackless.schedule()
    t.bind(None)
    stackless.sleep(0.03)
    assert log == [] and not t.alive


@pytest.mark.parametrize("function", [lambda: stackless.sleep(60), limited])
def test_stays_in_its_thread(function):
    """bind_thread() refuses a tasklet that waits for something that belongs to its thread."""
    t = stackless.tasklet(function)()
    stackless.schedule()
    errors = []

    def in_thread():
        stackless.getmain()
        try:
            t.bind_thread()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert "can't (re)bind a tasklet that sleeps" in errors[0]
    t.kill()
