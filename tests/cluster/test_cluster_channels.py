"""Channels between hosts: rendezvous, buffers, order, close, timeouts, and what is never lost."""

import threading
import time

import cluster_programs as programs
import pytest
import stackless
from test_cluster_tasklets import until

HOMES = ["tests", "worker-0", "worker-1"]


@pytest.fixture(params=HOMES)
def home(request):
    return request.param


@pytest.fixture(params=[0, 3])
def channel(c, home, request):
    """A channel with each kind of home, with and without a buffer."""
    made = c.channel(capacity=request.param, on=home)
    yield made
    made.close()


# ------------------------------------------------------------------ values


def test_values_arrive_in_order(c, channel, one, other):
    receiver = c.spawn(programs.receive_all, channel, on=other)
    c.spawn(programs.send_all, channel, list(range(50)), on=one).join(30)
    channel.close()
    assert receiver.join(30) == list(range(50))


def test_any_value(c, channel):
    values = [None, True, 2**70, -1, 1.5, "text", b"bytes", [1, [2]], {"a": {1}}, (1, (2,)), len]
    receiver = c.spawn(programs.receive_all, channel)
    for value in values:
        channel.send(value)
    channel.close()
    found = receiver.join(30)
    assert found == values and [type(each) for each in found] == [type(each) for each in values]


def test_a_value_is_a_copy_also_on_one_host(c):
    channel, value = c.channel(capacity=1), [1]
    channel.send(value)
    value.append(2)
    assert channel.receive() == [1]


def test_what_cannot_be_pickled_is_refused_by_send(c, channel):
    with pytest.raises(TypeError, match="lock"):
        channel.send(threading.Lock())
    assert channel.balance == 0


def test_a_handle_is_the_same_channel_everywhere(c, one):
    channel = c.channel(on=one)

    def give_back(channel):
        return channel

    assert c.spawn(give_back, channel).join(30) == channel
    assert channel.home == one and channel.capacity == 0
    assert channel != c.channel(on=one) and "channel" in repr(channel)


# ------------------------------------------------------------------ rendezvous and buffers


def test_send_without_a_buffer_returns_when_the_value_was_taken(c, home, one):
    channel = c.channel(on=home)
    sender = c.spawn(programs.send_all, channel, ["a", "b"], on=one)
    until(lambda: channel.balance == 1)
    assert not sender.done()
    assert channel.receive() == "a"
    until(lambda: channel.balance == 1)
    assert not sender.done()
    assert channel.receive() == "b"
    sender.join(30)


def test_a_buffer_takes_as_many_values_of_each_host(c, home, one, other):
    channel = c.channel(capacity=3, on=home)
    first = c.spawn(programs.send_all, channel, range(3), on=one)
    second = c.spawn(programs.send_all, channel, range(4), on=other)
    first.join(30)
    until(lambda: channel.balance == 6)
    assert not second.done()
    for _ in range(6):
        channel.receive()
    second.join(30)
    assert channel.receive(timeout=30) in (2, 3)
    assert channel.balance == 0


def test_many_senders_and_receivers(c, channel):
    receivers = [c.spawn(programs.receive_all, channel) for _ in range(5)]
    senders = [c.spawn(programs.send_all, channel, [(n, i) for i in range(20)]) for n in range(10)]
    for each in senders:
        each.join(60)
    channel.close()
    found = [each.join(60) for each in receivers]
    assert sorted(sum(found, [])) == [(n, i) for n in range(10) for i in range(20)]
    for values in found:
        for n in range(10):
            of_one = [i for m, i in values if m == n]
            assert of_one == sorted(of_one)


# ------------------------------------------------------------------ close


def test_close_ends_loops_and_waits(c, channel, one):
    loop = c.spawn(programs.receive_all, channel, on=one)
    until(lambda: channel.balance == -1)
    waits = c.spawn(programs.receive_one, channel, on=one)
    until(lambda: channel.balance == -2)
    channel.close()
    channel.close()
    assert loop.join(30) == []
    with pytest.raises(ValueError, match="closed channel"):
        waits.join(30)
    assert channel.closed
    for operation in lambda: channel.send(1), channel.receive:
        with pytest.raises(ValueError, match="closed channel"):
            operation()
    assert list(channel) == []


def test_values_that_were_sent_before_close_are_received(c, home, one):
    channel = c.channel(capacity=5, on=home)
    c.spawn(programs.send_all, channel, range(5), on=one).join(30)
    until(lambda: channel.balance == 5)
    channel.close()
    assert not channel.closed
    assert list(channel) == list(range(5))
    assert channel.closed


def test_a_host_that_has_never_sent_learns_that_it_is_closed(c, home, one):
    channel = c.channel(capacity=5, on=home)
    channel.close()
    with pytest.raises(ValueError, match="closed channel"):
        c.spawn(programs.send_all, channel, [1], on=one).join(30)


# ------------------------------------------------------------------ timeouts, and ends


def test_receive_with_a_timeout(c, channel, one):
    taken = c.spawn(programs.ask_with_timeout, channel, 0.1, on=one).join(30)
    assert taken >= 0.09
    assert channel.balance == 0
    with pytest.raises(stackless.TimeoutError, match="receiving"):
        channel.receive(timeout=0)


def test_send_with_a_timeout_takes_the_value_back(c, home):
    channel = c.channel(on=home)
    with pytest.raises(stackless.TimeoutError, match="sending"):
        channel.send("late", timeout=0.05)
    assert channel.balance == 0
    buffered = c.channel(capacity=1, on=home)
    buffered.send("first", timeout=30)
    with pytest.raises(stackless.TimeoutError):
        buffered.send("second", timeout=0.05)
    assert buffered.receive() == "first"
    with pytest.raises(stackless.TimeoutError):
        buffered.receive(timeout=0.05)


def test_timeout_zero_takes_what_is_there(c, home):
    channel = c.channel(capacity=1, on=home)
    channel.send("there", timeout=30)
    until(lambda: channel.balance == 1)
    assert channel.receive(timeout=0) == "there"


def test_a_killed_receiver_does_not_swallow_values(c, channel, one, other):
    """Values on their way to receivers that are killed come back."""
    for _ in range(10):
        victims = [c.spawn(programs.receive_one, channel, on=each) for each in (one, other)]
        sender = c.spawn(programs.send_all, channel, [1, 2, 3])
        for victim in victims:
            victim.kill()
        got = [each.join(30) for each in victims]
        left = []
        while len(left) + len([each for each in got if each is not None]) < 3:
            left.append(channel.receive(timeout=30))
        sender.join(30)
        assert sorted([*left, *(each for each in got if each is not None)]) == [1, 2, 3]
        if channel.capacity == 0:  # otherwise later ones may have been received meanwhile
            assert left == sorted(left)


def test_a_limit_of_the_program_ends_a_wait(c, channel):
    begin = time.monotonic()
    with pytest.raises(stackless.TimeoutError):
        with stackless.timeout(0.1):
            channel.receive()
    assert time.monotonic() - begin < 20
    until(lambda: channel.balance == 0)
