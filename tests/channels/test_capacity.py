"""Channels with a buffer: `channel(capacity=n)`. What each operation does with the values in it."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import stackless
from child_process import in_child_process
from stackless import channel, schedule, tasklet


class Thing:
    """An object to which a weak reference is possible."""


def filled(*values, capacity=None):
    ch = channel(capacity=len(values) if capacity is None else capacity)
    for value in values:
        ch.send(value)
    return ch


def sender(ch, *values):
    """Return a tasklet that waits in `ch` to send the first of these values."""

    def send_all():
        for value in values:
            ch.send(value)

    t = tasklet(send_all)()
    t.run()
    assert t.blocked
    return t


# ---------------------------------------------------------------- send and receive


def test_sends_return_while_there_is_room():
    """Values come out in the order in which they went in; None is a value."""
    ch = channel(capacity=3)
    for value in (1, None, "x"):
        assert ch.send(value) is None
    assert (ch.balance, ch.queue, ch.capacity) == (3, None, 3)
    assert [ch.receive() for _ in range(3)] == [1, None, "x"]
    assert ch.balance == 0


def test_senders_wait_when_the_buffer_is_full():
    """The balance counts values in the buffer and senders alike; the queue has only the latter."""
    ch = filled("a", "b")
    first, second = sender(ch, "c"), sender(ch, "d")
    assert (ch.balance, ch.queue, first.next) == (4, first, second)
    first.kill()
    second.kill()


def test_a_receive_makes_the_first_waiting_sender_runnable():
    """Its value takes the place that became free, and it goes to the end of the ring: no switch."""
    ch, log = filled("a", "b"), []
    first, second = sender(ch, "c"), sender(ch, "d")
    other = tasklet(log.append)("other")
    assert ch.receive() == "a"
    assert (ch.balance, ch.queue, log) == (3, second, [])
    assert (first.blocked, first.scheduled, other.next) == (False, True, first)
    assert [ch.receive() for _ in range(3)] == ["b", "c", "d"]
    assert (ch.balance, ch.queue) == (0, None)
    stackless.run()
    assert not first.alive and not second.alive


@pytest.mark.parametrize("preference", [-1, 0, 1])
@pytest.mark.parametrize("schedule_all", [0, 1])
def test_no_operation_with_the_buffer_switches(preference, schedule_all):
    """Whatever preference and schedule_all say: they are for two tasklets that meet."""
    ch, log = channel(capacity=2), []
    ch.preference, ch.schedule_all = preference, schedule_all
    tasklet(log.append)("other")
    ch.send(1)
    ch.send(2)
    assert (ch.receive(), ch.receive(), log) == (1, 2, [])
    stackless.run()


def test_the_preference_of_a_channel_with_a_buffer_is_the_caller():
    """So a send to a waiting receiver does not switch either. Without a buffer it prefers that."""
    ch, log = channel(capacity=1), []
    assert (ch.preference, channel().preference, channel(capacity=0).preference) == (0, -1, -1)
    tasklet(lambda: log.append(ch.receive()))()
    schedule()
    assert ch.balance == -1
    ch.send("x")
    assert (log, ch.balance) == ([], 0)
    schedule()
    assert log == ["x"]


@pytest.mark.parametrize(
    ("preference", "schedule_all", "order"),
    [(-1, 0, ["r1", "s1"]), (0, 0, ["s1", "r1"]), (1, 0, ["s1", "r1"]), (0, 1, ["x", "r1", "s1"])],
)
def test_two_tasklets_that_meet_are_ordered_as_without_a_buffer(preference, schedule_all, order):
    """The table of the contract, for a sender that finds a waiting receiver."""

    def play(ch):
        ch.preference, ch.schedule_all = preference, schedule_all
        log = []

        def send():
            ch.send(1)
            log.append("s1")

        def receive():
            ch.receive()
            log.append("r1")

        tasklet(receive)()
        schedule()
        tasklet(send)()
        tasklet(log.append)("x")
        stackless.run()
        return log

    log = play(channel(capacity=2))
    assert log == play(channel())
    assert [event for event in log if event in order] == order


def test_a_switch_trap_and_a_block_trap_allow_what_does_not_wait():
    ch = channel(capacity=1)
    me = stackless.current
    me.block_trap = True
    stackless.switch_trap(1)
    try:
        ch.send(1)
        assert ch.receive() == 1
        with pytest.raises(RuntimeError):
            ch.receive()
        ch.send(2)
        with pytest.raises(RuntimeError):
            ch.send(3)
    finally:
        stackless.switch_trap(-1)
        me.block_trap = False
    assert (ch.balance, ch.receive()) == (1, 2)


def test_timeouts():
    """A send into room and a receive of a value in the buffer succeed with the timeout 0."""
    ch = channel(capacity=1)
    ch.send(1, timeout=0)
    for timeout in (0, 0.01):
        with pytest.raises(stackless.TimeoutError):
            ch.send(2, timeout=timeout)
    assert (ch.balance, ch.receive(timeout=0)) == (1, 1)
    for timeout in (0, 0.01):
        with pytest.raises(stackless.TimeoutError):
            ch.receive(timeout=timeout)
    assert ch.balance == 0


def test_a_sender_with_a_timeout_is_admitted():
    ch = filled(1)
    t = tasklet(ch.send)(2, timeout=100)
    t.run()
    assert (t.blocked, ch.receive(), ch.balance) == (True, 1, 1)
    stackless.run()
    assert not t.alive


@pytest.mark.parametrize("end", ["kill", "throw", "remove"])
def test_a_sender_that_leaves_the_queue_takes_its_value_along(end):
    ch = filled(1)
    first, second = sender(ch, 2), sender(ch, 3)
    if end == "kill":
        first.kill()
    elif end == "throw":
        with pytest.raises(KeyError):
            first.throw(KeyError)
    else:
        first.kill(pending=True)
    assert (ch.balance, ch.queue) == (2, second)
    assert [ch.receive(), ch.receive(), ch.balance] == [1, 3, 0]
    stackless.run()


def test_send_sequence_fills_the_buffer_and_waits_then():
    ch, sent = channel(capacity=3), []
    t = tasklet(lambda: sent.append(ch.send_sequence(range(5))))()
    t.run()
    assert (ch.balance, t.blocked, sent) == (4, True, [])
    assert [ch.receive() for _ in range(2)] == [0, 1]
    stackless.run()
    assert (sent, ch.balance) == ([5], 3)


# ---------------------------------------------------------------- exceptions


def test_exceptions_are_kept_in_the_buffer():
    """They are raised in the receiver that takes them, in their order."""
    ch = channel(capacity=3)
    ch.send_exception(ValueError, "one")
    try:
        raise KeyError("two")
    except KeyError as error:
        ch.send_throw(KeyError, error, error.__traceback__)
    ch.send(stackless.bomb(IndexError, "three"))
    assert ch.balance == 3
    for kind, text in ((ValueError, "one"), (KeyError, "two"), (IndexError, "three")):
        with pytest.raises(kind, match=text):
            ch.receive()


def test_stop_iteration_in_the_buffer_ends_a_loop():
    ch = channel(capacity=4)
    ch.send(1)
    ch.send_exception(StopIteration)
    ch.send(2)
    assert list(ch) == [1]
    assert ch.receive() == 2


# ---------------------------------------------------------------- close and iteration


def test_a_closed_channel_gives_what_is_left():
    """Nothing is put into it any more, even if there is room; a loop ends behind the last value."""
    ch = filled(1, 2, capacity=5)
    ch.close()
    assert (ch.closing, ch.closed) == (True, False)
    with pytest.raises(ValueError, match="closed channel"):
        ch.send(3)
    assert (list(ch), ch.closed) == ([1, 2], True)
    with pytest.raises(ValueError, match="closed channel"):
        ch.receive()
    ch.open()
    ch.send(4)
    assert ch.receive() == 4


def test_senders_that_waited_before_close_are_served():
    ch = filled(1)
    t = sender(ch, 2)
    ch.close()
    assert (list(ch), ch.closed) == ([1, 2], True)
    stackless.run()
    assert not t.alive


def test_close_ends_a_loop_that_waits():
    ch, log = channel(capacity=2), []
    tasklet(lambda: log.extend(ch))()
    schedule()
    assert ch.balance == -1
    ch.close()
    stackless.run()
    assert (log, ch.closed) == ([], True)


# ---------------------------------------------------------------- threads


def test_values_between_threads():
    """A receiver of another thread releases the sender there: each value arrives once, in order."""
    ch, got = channel(capacity=2), []

    def receive():
        got.extend(ch.receive() for _ in range(1000))

    thread = threading.Thread(target=receive)
    thread.start()
    for value in range(1000):
        ch.send(value)
    thread.join()
    assert (got, ch.balance) == (list(range(1000)), 0)


def test_the_value_of_a_sender_whose_thread_has_ended():
    """Such a sender leaves the queue when there is room, as it does when its value is received."""
    ch, kept = filled(1), []

    def begin():
        kept.append(tasklet(ch.send)(2))
        schedule()

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    if ch.balance == 2:  # it had no C state, and has stayed in the queue
        assert (ch.receive(), ch.balance, kept[0].blocked) == (1, 1, False)
        assert ch.receive() == 2


# ---------------------------------------------------------------- lifetime


def test_values_are_released_with_the_channel():
    thing = Thing()
    ch, gone = filled(thing), weakref.ref(thing)
    del thing
    assert gone() is not None
    del ch
    assert gone() is None


def test_the_collector_finds_a_circle_through_a_buffer():
    thing = Thing()
    thing.channel = filled(thing)
    gone = weakref.ref(thing)
    del thing
    gc.collect()
    assert gone() is None


def test_a_sender_that_waits_in_garbage_is_ended():
    """Its value and those in the buffer are released."""
    thing = Thing()
    ch, gone = filled(thing), weakref.ref(thing)
    del thing
    t = tasklet(lambda ch: ch.send(None))(ch)
    t.run()
    assert t.blocked
    del ch, t
    with pytest.warns(ResourceWarning):
        gc.collect()
    assert gone() is None


def test_a_destructor_may_use_the_channel_while_it_is_cleared():
    class Uses:
        def __init__(self, ch):
            self.ch = ch

        def __del__(self):
            log.append((self.ch.balance, self.ch.receive(), self.ch.balance))

    log, ch = [], channel(capacity=3)
    ch.send(Uses(ch))
    ch.send(ch)
    ch.send(7)
    del ch
    gc.collect()
    gc.collect()  # the destructor has brought them back
    assert len(log) == 1
    assert log[0][0] == 3
    assert log[0][2] == 2


def test_a_long_chain_of_channels_is_freed():
    """Each is a value in the buffer of the next one."""
    ch = channel(capacity=1)
    for _ in range(200_000):
        outer = channel(capacity=1)
        outer.send(ch)
        ch = outer
    del ch, outer


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda ch: pickle.loads(pickle.dumps(ch)),
        lambda ch: stackless.loads(stackless.dumps(ch)),
    ],
    ids=["deepcopy", "pickle", "dumps"],
)
def test_copies_have_their_own_buffer(copied):
    ch = channel(capacity=4)
    ch.send(ch)
    ch.send([1])
    ch.send(None)
    ch.preference, ch.schedule_all = 1, 1
    ch.close()
    new = copied(ch)
    assert (new.capacity, new.balance, new.closing) == (4, 3, True)
    assert (new.preference, new.schedule_all) == (1, 1)
    assert (new.receive() is new, new.receive(), new.receive()) == (True, [1], None)
    assert ch.balance == 3


def test_a_shallow_copy_shares_the_values():
    ch = filled([1])
    new = copy.copy(ch)
    assert new.receive() is ch.receive()


def test_senders_that_wait_are_pickled_with_the_channel():
    ch = filled(1)
    t = sender(ch, 2, 3)
    new, other = stackless.loads(stackless.dumps((ch, t)))
    assert (new.balance, new.queue is other) == (2, True)
    assert [new.receive(), new.receive()] == [1, 2]
    stackless.run()
    assert (new.balance, new.receive()) == (1, 3)
    t.kill()


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ((0, 2, [], 1), TypeError),
        ((0, 2, [], "1", []), TypeError),
        ((0, 2, [], 1, ()), TypeError),
        ((0, 2, [], -1, []), ValueError),
        ((2, 2, [], 1, [1, 2]), ValueError),
    ],
)
def test_invalid_states_are_refused(state, error):
    with pytest.raises(error):
        channel().__setstate__(state)


def test_a_sender_is_not_restored_where_there_is_room():
    t = tasklet(lambda: None)()
    t.remove()
    with pytest.raises(ValueError, match="room"):
        channel().__setstate__((2, 2, [t], 3, [1]))


# ---------------------------------------------------------------- observers


def test_the_channel_callback_is_told_whether_the_caller_waits():
    ch, seen = channel(capacity=1), []
    old = stackless.set_channel_callback(
        lambda _, current, sending, willblock: seen.append((sending, willblock, current.tempval))
    )
    try:
        ch.send("a")
        t = tasklet(ch.send)("b")
        t.run()
        assert ch.receive() == "a"
        ch.receive()
        tasklet(ch.receive)().run()
    finally:
        stackless.set_channel_callback(old)
    sends, receives = (1, False, "a"), (0, False, None)
    assert seen == [sends, (1, True, "b"), receives, receives, (0, True, None)]
    ch.send(None)
    stackless.run()


def test_reprs():
    ch = channel(capacity=2)
    assert repr(ch).endswith(": 0 of 2 buffered>")
    ch.send(1)
    assert repr(ch).endswith(": 1 of 2 buffered>")
    ch.send(1)
    t = sender(ch, 3)
    ch.close()
    assert repr(ch).endswith(": 2 of 2 buffered, 1 sending, closing>")
    t.kill()
    ch.receive(), ch.receive()
    assert repr(ch).endswith(": 0 of 2 buffered, closed>")


def test_a_snapshot_shows_the_capacity():
    ch = filled(1)
    t = sender(ch, 2)
    (info,) = (info for info in stackless.snapshot() if info.state == "sending")
    assert (info.channel.balance, info.channel.capacity) == (2, 1)
    assert "(balance 2, capacity 1)" in info.reason
    t.kill()


@in_child_process
def test_a_deadlock_is_explained():
    ch = filled(1)
    with pytest.raises(RuntimeError, match="Deadlock") as caught:
        ch.send(2)
    assert "(balance 1, capacity 1)" in "".join(caught.value.__notes__)
    assert ch.balance == 1


def test_channels_that_only_hold_values_are_not_active():
    """`get_number_of_active_channels` counts those in which tasklets wait."""
    from stackless import scheduler

    before = scheduler.get_number_of_active_channels()
    ch = filled(1)
    assert scheduler.get_number_of_active_channels() == before
    t = sender(ch, 2)
    assert scheduler.get_number_of_active_channels() == before + 1
    scheduler.unblock_all_channels()
    stackless.run()
    assert (t.alive, ch.balance) == (False, 1)
