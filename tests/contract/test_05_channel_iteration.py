"""Iterating over a channel, and close(), which wakes tasklets that wait in it."""

import sys
import threading

import pytest
import stackless
from other_thread import wait_until
from stackless import channel, schedule, tasklet


def reader(ch, log, name=None):
    """A tasklet that collects from a `for` loop; logs `name end` after it."""

    def body():
        for value in ch:
            log.append(value if name is None else f"{name} {value}")
        log.append("end" if name is None else f"{name} end")

    return tasklet(body)()


def test_iter_is_the_channel():
    """`__iter__()` is self."""
    ch = channel()
    assert iter(ch) is ch
    assert ch.__iter__() is ch


def test_next_receives():
    """`__next__` is receive() while the channel is open."""
    ch, got = channel(), []
    tasklet(ch.send)(1)
    tasklet(ch.send)(2)
    schedule()
    assert next(ch) == 1
    assert ch.__next__() == 2
    t = tasklet(lambda: got.append(next(ch)))()
    schedule()
    assert t.blocked and ch.balance == -1
    ch.send(3)
    assert got == [3]
    stackless.run()


@pytest.mark.parametrize(
    "end",
    [
        lambda ch: ch.send_exception(StopIteration),
        lambda ch: ch.send_exception(StopIteration()),
        lambda ch: ch.send_throw(StopIteration),
    ],
    ids=["send_exception", "instance", "send_throw"],
)
def test_loop_ends_when_stopiteration_is_sent(end):
    """5.4 (a)"""
    ch, log = channel(), []
    reader(ch, log)
    schedule()
    ch.send(1)
    ch.send(2)
    end(ch)
    stackless.run()
    assert log == [1, 2, "end"]


def test_loop_ends_after_close_when_no_sender_waits():
    """5.4 (b): senders waiting at close() are still read."""
    ch = channel()
    for value in range(3):
        tasklet(ch.send)(value)
    schedule()
    ch.close()
    assert list(ch) == [0, 1, 2]
    assert list(ch) == []
    assert ch.closed
    stackless.run()


def test_closed_channel_iterates_to_nothing():
    """5.4: `list(closed_channel) == []`; StopIteration at once, without switching."""
    ch, log = channel(), []
    ch.close()
    tasklet(log.append)("x")
    assert list(ch) == []
    with pytest.raises(StopIteration):
        next(ch)
    assert log == []
    stackless.run()


def test_stopiteration_sent_to_a_plain_receive():
    """5.4: is raised like any exception."""
    ch, log = channel(), []

    def body():
        try:
            ch.receive()
        except StopIteration as error:
            log.append(error.value)

    tasklet(body)()
    schedule()
    ch.send_exception(StopIteration, "value")
    assert log == ["value"]


def test_other_exceptions_leave_the_loop():
    """5.3, 5.4: only StopIteration ends it without an error."""
    ch, log = channel(), []

    def body():
        try:
            for value in ch:
                log.append(value)
        except KeyError:
            log.append("KeyError")

    tasklet(body)()
    schedule()
    ch.send(1)
    ch.send_exception(KeyError)
    assert log == [1, "KeyError"]


# ------------------------------------------------------------------ close() wakes readers


def test_close_wakes_a_reader():
    """5.4: the loop of a tasklet that already waits ends."""
    ch, log = channel(), []
    t = reader(ch, log)
    schedule()
    ch.send(1)
    ch.close()
    stackless.run()
    assert log == [1, "end"]
    assert not t.alive


def test_readers_leave_the_queue_inside_close():
    """5.4: so `closed` is true at once; no switch happens."""
    ch, log = channel(), []
    readers = [reader(ch, log) for _ in range(2)]
    schedule()
    assert ch.balance == -2
    ch.close()
    assert (ch.balance, ch.queue, ch.closing, ch.closed) == (0, None, True, True)
    assert log == []
    assert all(t.scheduled and not t.blocked and t._channel is None for t in readers)
    stackless.run()
    assert log == ["end", "end"]


def test_readers_go_to_the_end_of_the_ring_in_order():
    """5.4: FIFO, behind those already runnable."""
    ch, log = channel(), []
    for name in "abc":
        reader(ch, log, name)
    schedule()
    tasklet(log.append)("x")
    ch.close()
    tasklet(log.append)("y")
    stackless.run()
    assert log == ["x", "a end", "b end", "c end", "y"]


def test_close_leaves_plain_receivers_blocked():
    """5.4: only those in iteration are woken."""
    ch, log = channel(), []
    receivers = []
    reader(ch, log, "a")
    schedule()
    receivers.append(tasklet(lambda: log.append(ch.receive()))())
    schedule()
    reader(ch, log, "b")
    schedule()
    receivers.append(tasklet(lambda: log.append(ch.receive()))())
    schedule()
    assert ch.balance == -4
    ch.close()
    assert ch.balance == -2 and ch.closing and not ch.closed
    assert ch.queue is receivers[0] and ch.queue.next is receivers[1]
    stackless.run()
    assert log == ["a end", "b end"]
    ch.send(1)
    ch.send(2)
    stackless.run()
    assert log == ["a end", "b end", 1, 2]
    assert ch.closed


def test_iteration_on_a_closing_channel_with_plain_receivers():
    """5.4: `balance <= 0` and closing: StopIteration, whichever other tasklets wait."""
    ch = channel()
    tasklet(ch.receive)()
    schedule()
    ch.close()
    assert list(ch) == []
    assert ch.balance == -1
    ch.send(None)


def test_close_leaves_senders_waiting():
    """5.2, 5.4: a closing channel still serves senders."""
    ch = channel()
    t = tasklet(ch.send)(1)
    schedule()
    ch.close()
    assert t.blocked and ch.balance == 1
    assert list(ch) == [1]
    stackless.run()


@pytest.mark.parametrize("consume", [list, tuple, sum, sorted, lambda ch: [x for x in ch]])
def test_close_wakes_iteration_by_c_code(consume):
    """5.4: whether a for statement or C code calls `__next__`."""
    ch, results = channel(), []
    tasklet(lambda: results.append(consume(ch)))()
    schedule()
    ch.send(1)
    ch.send(2)
    ch.close()
    stackless.run()
    assert results in ([[1, 2]], [(1, 2)], [3])


def test_close_wakes_next_with_stopiteration():
    """5.4: the builtin next() raises it in the caller; a default is taken."""
    ch, log = channel(), []

    def body():
        try:
            next(ch)
        except StopIteration:
            log.append("stopped")

    tasklet(body)()
    tasklet(lambda: log.append(next(ch, "default")))()
    schedule()
    ch.close()
    stackless.run()
    assert log == ["stopped", "default"]


def test_close_again_and_after_open():
    """5.1: close() may be repeated; an opened channel can be read again."""
    ch, log = channel(), []
    ch.close()
    ch.close()
    ch.open()
    reader(ch, log)
    schedule()
    ch.send(1)
    ch.close()
    ch.close()
    stackless.run()
    assert log == [1, "end"]


def test_open_does_not_take_back_the_wake_up():
    """5.4: a tasklet that was woken gets its StopIteration, even if the channel opens again."""
    ch, log = channel(), []
    reader(ch, log)
    schedule()
    ch.close()
    ch.open()
    stackless.run()
    assert log == ["end"]


def test_close_from_inside_a_reader():
    """5.4: a reader that closes ends its own loop and wakes the others."""
    ch, log = channel(), []

    def closer():
        for value in ch:
            log.append(value)
            ch.close()
        log.append("closer end")

    tasklet(closer)()
    reader(ch, log, "b")
    schedule()
    ch.send(1)
    stackless.run()
    assert sorted(map(str, log)) == ["1", "b end", "closer end"]


def test_close_wakes_a_reader_of_another_thread():
    """5.4: in its own thread's ring; a thread asleep in iteration wakes up."""
    ch, seen = channel(), []

    def read():
        for value in ch:
            seen.append(value)
        seen.append(threading.get_ident())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    wait_until(lambda: ch.balance == -1)
    ch.send(1)
    wait_until(lambda: ch.balance == -1)
    ch.close()
    assert ch.balance == 0
    assert stackless.runcount == 1
    thread.join(60)
    assert seen == [1, thread.ident]


def test_exception_state_is_clean_after_the_loop():
    """8.3: the StopIteration of close() stays in the loop."""
    ch, seen = channel(), []

    def body():
        for _ in ch:
            pass
        seen.append(sys.exc_info())

    tasklet(body)()
    schedule()
    ch.close()
    stackless.run()
    assert seen == [(None, None, None)]
