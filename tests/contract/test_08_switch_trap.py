"""Section 8.6: while the switch trap is set, nothing switches."""

import threading

import pytest
import stackless
from stackless import channel, schedule, schedule_remove, switch_trap, tasklet


@pytest.fixture
def trap():
    assert switch_trap(1) == 0
    yield
    assert switch_trap(-1) == 1


def paused():
    t = tasklet(schedule_remove)(None)
    t.run()
    return t


def blocked(ch):
    t = tasklet(ch.receive)()
    t.run()
    return t


def refused(call, *args):
    count = stackless.runcount
    with pytest.raises(RuntimeError, match="^switch_trap$"):
        call(*args)
    assert stackless.runcount == count and stackless.current is stackless.main


def test_trap_is_a_counter():
    """3: returns the old value; without an argument it only asks."""
    assert [switch_trap(2), switch_trap(), switch_trap(change=-2), switch_trap()] == [0, 2, 2, 0]
    with pytest.raises(TypeError):
        switch_trap("x")


@pytest.mark.parametrize("call", [schedule, schedule_remove, stackless.run])
def test_functions(call):
    t = tasklet(int)()
    switch_trap(1)
    refused(call)
    assert t.scheduled
    switch_trap(-1)
    stackless.run()
    assert not t.alive


@pytest.mark.parametrize(
    "method, args",
    [
        ("run", ()),
        ("switch", ()),
        ("kill", ()),
        ("throw", (KeyError,)),
        ("raise_exception", (KeyError,)),
    ],
)
def test_methods_leave_the_target_paused(method, args):
    """8.6: a paused target is paused again."""
    t = paused()
    switch_trap(1)
    refused(getattr(t, method), *args)
    assert t.paused and t.tempval is None
    switch_trap(-1)
    t.kill()


def test_send_and_receive():
    """8.6: blocking or not, as soon as another tasklet would run; everything is undone."""
    ch = channel()
    receiver = blocked(ch)
    switch_trap(1)
    refused(ch.send, 1)
    assert ch.balance == -1 and ch.queue is receiver and receiver.tempval is None
    tasklet(int)()
    refused(channel().receive)
    switch_trap(-1)
    ch.send(1)
    stackless.run()


def test_no_error_where_nothing_switches(trap):
    """8.6: alone, to oneself, or a hand-over that does not switch."""
    assert schedule() is stackless.current
    assert stackless.run() is None
    stackless.current.run()
    switch_trap(-1)
    ch = channel()
    ch.preference = 0
    receiver = blocked(ch)
    switch_trap(1)
    ch.send(1)
    assert receiver.scheduled and not receiver.blocked
    switch_trap(-1)
    stackless.run()
    switch_trap(1)


def test_waking_another_thread(trap):
    """8.6: allowed, as nothing switches here."""
    ch = channel()
    thread = threading.Thread(target=ch.receive)
    thread.start()
    while ch.balance == 0:
        pass
    ch.send(1)
    thread.join()


def test_blocked_target_is_named_first(trap):
    """4.2, 21.21: switch() to a blocked tasklet complains about that."""
    switch_trap(-1)
    ch = channel()
    t = blocked(ch)
    switch_trap(1)
    with pytest.raises(RuntimeError, match="blocked"):
        t.switch()
    switch_trap(-1)
    t.kill()
    switch_trap(1)


def test_per_thread(trap):
    """3: the counter belongs to the thread."""
    result = []

    def other():
        tasklet(result.append)("ran")
        schedule()
        result.append(switch_trap())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert result == ["ran", 0]
