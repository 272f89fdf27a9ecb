"""The channels of stackless.scheduler: they can be cleared, and may have a queue."""

import sys
import threading
import traceback

import pytest
import stackless
import stackless.scheduler as scheduler
from scheduler_tasklets import fail


def test_clear_kills_the_tasklets_that_wait_here():
    here, elsewhere = scheduler.channel(), scheduler.channel()
    log = []

    def wait(name, channel):
        try:
            channel.send(name)
        except TaskletExit:  # noqa: F821
            log.append(name)
            raise

    tasklets = [scheduler.tasklet(wait)(name, here) for name in "ab"]
    other = scheduler.tasklet(elsewhere.receive)()
    scheduler.run()
    assert here.balance == 2
    here.clear()
    assert here.balance == 0 and log == ["a", "b"]
    assert not any(t.alive for t in tasklets)
    assert other.blocked and elsewhere.balance == -1
    elsewhere.clear()
    here.clear()


def test_clear_survives_one_that_comes_back():
    """A tasklet that catches TaskletExit and waits again is not killed a second time."""
    channel, log = scheduler.channel(), []

    def stubborn():
        for name in "ab":
            try:
                channel.receive()
            except TaskletExit:  # noqa: F821
                log.append(name)

    scheduler.tasklet(stubborn)()
    scheduler.run()
    channel.clear()
    assert log == ["a"] and channel.balance == -1
    channel.clear()
    assert log == ["a", "b"] and channel.balance == 0


def test_a_queue_channel_never_blocks_the_sender():
    channel = scheduler.QueueChannel()
    assert (channel.preference, len(channel), channel.balance) == (1, 0, 0)
    with scheduler.block_trap():
        for value in "abc":
            channel.send(value)
    assert (len(channel), channel.balance, list(channel.data_queue)[0]) == (3, 3, (True, "a"))
    assert [channel.receive() for _ in range(3)] == ["a", "b", "c"]
    assert (len(channel), channel.balance) == (0, 0)
    assert channel  # empty, but its truth value is True, as for every channel


def test_a_waiting_receiver_gets_the_value():
    channel, log = scheduler.QueueChannel(), []
    scheduler.tasklet(lambda: log.append(channel.receive()))()
    scheduler.run()
    assert channel.balance == -1
    channel.send("x")
    assert log == [] and len(channel) == 0  # the sender continues
    scheduler.run()
    assert log == ["x"]


def test_queued_exceptions():
    channel = scheduler.QueueChannel()
    try:
        fail()
    except ValueError:
        channel.send_throw(*sys.exc_info())
    channel.send_exception(KeyError, 1, 2)
    channel.send_exception(IndexError("instance"))
    channel.send_throw(OSError, (1, "two"))
    channel.send_throw(KeyError, "one")
    channel.send_throw(KeyError)
    assert channel.balance == 6
    with pytest.raises(ValueError, match="text") as caught:
        channel.receive()
    assert traceback.extract_tb(caught.tb)[-1].name == "fail"
    for kind, args in [
        (KeyError, (1, 2)),
        (IndexError, ("instance",)),
        (OSError, (1, "two")),
        (KeyError, ("one",)),
        (KeyError, ()),
    ]:
        with pytest.raises(kind) as caught:
            channel.receive()
        assert caught.value.args == args


@pytest.mark.parametrize("waiting", [False, True], ids=["queued", "waiting"])
@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("send_exception", ("text",)),
        ("send_exception", (KeyError(), 1)),
        ("send_exception", ()),
        ("send_throw", (1,)),
        ("send_throw", (KeyError(), 1)),
        ("send_throw", (KeyError, None, 1)),
        ("send_throw", ()),
        ("send", ()),
    ],
)
def test_wrong_exceptions_are_refused(waiting, method, args):
    """As by every channel, at the sender; nothing changes."""
    channel = scheduler.QueueChannel()
    if waiting:
        scheduler.tasklet(channel.receive)()
        scheduler.run()
    before = channel.balance
    with pytest.raises(TypeError):
        getattr(channel, method)(*args)
    assert (channel.balance, len(channel)) == (before, 0)
    channel.clear()


def test_iterating_over_a_queue_channel():
    channel, log = scheduler.QueueChannel(), []
    assert channel.send_sequence("ab") == 2
    channel.send_exception(StopIteration)
    assert list(channel) == ["a", "b"]
    channel.send_sequence("cd")
    channel.close()
    assert (channel.closing, channel.closed) == (True, False)
    with pytest.raises(ValueError, match="closed channel"):
        channel.send("e")
    with pytest.raises(ValueError, match="closed channel"):
        channel.send_exception(KeyError)
    assert list(channel) == ["c", "d"]
    assert channel.closed
    channel.open()
    scheduler.tasklet(lambda: log.extend(channel))()
    scheduler.run()
    channel.send("f")
    channel.close()
    scheduler.run()
    assert log == ["f"]


def test_queue_channels_between_threads():
    """Nothing is lost, nothing comes twice, no tasklet waits while the queue has a value."""
    channel, count, senders = scheduler.QueueChannel(), 3000, 3
    results = stackless.channel()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def send(sender):
        for number in range(count):
            channel.send((sender, number))

    def receive():
        got = [channel.receive() for _ in range(count)]
        results.send(got)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(senders)]
    threads += [threading.Thread(target=receive) for _ in range(senders)]
    try:
        for thread in threads:
            thread.start()
        got = [item for _ in range(senders) for item in results.receive()]
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert sorted(got) == [(n, i) for n in range(senders) for i in range(count)]
    assert (len(channel), channel.balance) == (0, 0)
