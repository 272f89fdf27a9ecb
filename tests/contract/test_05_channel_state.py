"""What a channel shows, and how it is made."""

import pytest
import stackless
from stackless import channel, schedule, tasklet


def test_subclass_that_never_initialises_its_base():
    """5: fully usable; so is one that calls `super().__init__` in any way."""

    class Silent(channel):
        def __init__(self, name):
            self.name = name

    class Plain(channel):
        def __init__(self, name):
            super().__init__()
            self.name = name

    class Odd(channel):
        def __init__(self, name):
            super().__init__(self)
            self.name = name

    for kind in (Silent, Plain, Odd):
        ch, log = kind("x"), []
        tasklet(lambda ch=ch, log=log: log.append(ch.receive()))()
        schedule()
        ch.send(5)
        assert (log, ch.balance, ch.name) == ([5], 0, "x")


def test_balance_is_positive_for_senders():
    """5.1, 21.6: +n senders wait, -n receivers wait."""
    ch, balances = channel(), []
    for number in range(3):
        tasklet(ch.send)(number)
        schedule()
        balances.append(ch.balance)
    for _ in range(3):
        ch.receive()
        balances.append(ch.balance)
    for _ in range(3):
        tasklet(ch.receive)()
        schedule()
        balances.append(ch.balance)
    for _ in range(3):
        ch.send(None)
        balances.append(ch.balance)
    stackless.run()
    assert balances == [1, 2, 3, 2, 1, 0, -1, -2, -3, -2, -1, 0]


@pytest.mark.parametrize("operation", ["send", "receive"])
def test_queue_is_the_longest_waiting_tasklet(operation):
    """5.1: the first in the queue or None; `.next` leads on."""
    ch = channel()
    assert ch.queue is None
    waiting = [
        tasklet(ch.send)(n) if operation == "send" else tasklet(ch.receive)() for n in range(3)
    ]
    stackless.run()
    a, b, c = waiting
    assert [ch.queue, a.next, b.next, c.next] == [a, b, c, None]
    for left in ([b, c], [c], []):
        if operation == "send":
            ch.receive()
        else:
            ch.send(None)
        assert ch.queue is (left[0] if left else None)
    stackless.run()


def test_waiting_sender_holds_its_value_in_tempval():
    """5.2.1: the value to send, or None for a receiver, is in the caller's tempval."""
    ch, value = channel(), object()
    sender = tasklet(ch.send)(value)
    schedule()
    assert sender.tempval is value
    assert ch.receive() is value
    assert stackless.current.tempval is None
    stackless.run()
    receiver = tasklet(ch.receive)()
    schedule()
    assert receiver.tempval is None
    ch.send(value)
    stackless.run()
    assert receiver.tempval is None


def test_closing_and_closed():
    """5.1: closing after close(); closed when also no tasklet waits; both are real bools."""
    ch = channel()
    assert ch.closing is False and ch.closed is False
    tasklet(ch.send)(1)
    schedule()
    assert ch.close() is None
    assert ch.closing is True and ch.closed is False
    assert ch.receive() == 1
    assert ch.closing is True and ch.closed is True
    assert ch.open() is None
    assert ch.closing is False and ch.closed is False
    stackless.run()


@pytest.mark.parametrize(
    ("given", "read"),
    [(-1, -1), (0, 0), (1, 1), (17, 1), (-17, -1), (True, 1), (False, 0), (10**30, 1)],
)
def test_preference_is_clamped_to_its_sign(given, read):
    """5.1: any int, bools count."""
    ch = channel()
    assert ch.preference == -1
    ch.preference = given
    assert ch.preference == read
    assert type(ch.preference) is int


@pytest.mark.parametrize("bad", [None, "1", 1.0, []])
def test_preference_must_be_an_integer(bad):
    """5.1: TypeError with its text; the old value stays."""
    ch = channel()
    with pytest.raises(TypeError, match="^preference must be set to an integer$"):
        ch.preference = bad
    assert ch.preference == -1


@pytest.mark.parametrize(
    ("given", "read"), [(0, 0), (1, 1), (True, 1), (False, 0), (5, 1), (-5, 1)]
)
def test_schedule_all_reads_as_0_or_1(given, read):
    """5.1: 0/1, any int, bools count."""
    ch = channel()
    assert ch.schedule_all == 0
    ch.schedule_all = given
    assert ch.schedule_all == read


@pytest.mark.parametrize("bad", [None, "1", 1.0, []])
def test_schedule_all_must_be_an_integer(bad):
    """5.1: the text names `preference` here too."""
    ch = channel()
    with pytest.raises(TypeError, match="^preference must be set to a bool or integer$"):
        ch.schedule_all = bad
    assert ch.schedule_all == 0


@pytest.mark.parametrize("name", ["balance", "queue", "closing", "closed"])
def test_read_only_attributes(name):
    """5.1: AttributeError on writing, unchanged."""
    ch = channel()
    before = getattr(ch, name)
    with pytest.raises(AttributeError):
        setattr(ch, name, before)
    assert getattr(ch, name) == before
