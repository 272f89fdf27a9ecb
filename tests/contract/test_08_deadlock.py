"""Deadlocks: no tasklet is left to run. Each test has its own process: see child_process."""

import threading

import pytest
import stackless
from child_process import assert_child, in_child_process
from other_thread import wait_until
from stackless import channel, schedule, schedule_remove, tasklet

DEADLOCK = "Deadlock: the last runnable tasklet cannot be blocked."
RECEIVING = "the main tasklet is receiving without a sender available."
SENDING = "the main tasklet is sending without a receiver available."


def error_text(function, *arguments):
    with pytest.raises(RuntimeError) as caught:
        function(*arguments)
    assert type(caught.value) is RuntimeError
    return str(caught.value)


def assert_at_rest(*channels):
    assert stackless.runcount == 1
    assert stackless.current is stackless.main
    assert stackless.main.scheduled and not stackless.main.blocked
    assert stackless.main.next is stackless.main
    assert stackless.main.tempval is None
    for ch in channels:
        assert ch.balance == 0 and ch.queue is None


@in_child_process
def test_lone_main_cannot_block():
    """Step 3: the operation fails, the channel is unchanged, the operation may be tried again."""
    ch = channel()
    for _ in range(2):
        assert error_text(ch.receive) == DEADLOCK
        assert_at_rest(ch)
        assert error_text(ch.send, 1) == DEADLOCK
        assert_at_rest(ch)
        assert error_text(next, ch) == DEADLOCK
        assert error_text(ch.send_exception, KeyError) == DEADLOCK
        assert error_text(ch.send_throw, KeyError) == DEADLOCK
        assert error_text(ch.send_sequence, [1]) == DEADLOCK
        assert_at_rest(ch)


@in_child_process
def test_lone_main_behind_others_in_the_queue():
    """Step 3: tasklets that wait already keep their places."""
    ch = channel()
    first, second = tasklet(ch.receive)(), tasklet(ch.receive)()
    stackless.run()
    assert error_text(ch.receive) == DEADLOCK
    assert ch.balance == -2 and ch.queue is first and first.next is second and second.next is None
    assert stackless.runcount == 1
    ch.send(1)
    ch.send(2)
    assert_at_rest(ch)


@in_child_process
def test_main_receives_while_a_tasklet_returns():
    """A tasklet that ends with an empty ring wakes a blocked main with an error."""
    ch = channel()
    t = tasklet(int)()
    assert error_text(ch.receive) == RECEIVING
    assert not t.alive
    assert_at_rest(ch)


@in_child_process
def test_main_sends_while_a_tasklet_returns():
    """The same for a sending main."""
    ch = channel()
    tasklet(int)()
    assert error_text(ch.send, 1) == SENDING
    assert_at_rest(ch)


@in_child_process
def test_main_iterates_while_a_tasklet_returns():
    """The same for a main in a for loop."""
    ch = channel()
    tasklet(int)()
    assert error_text(list, ch) == RECEIVING
    assert_at_rest(ch)


@in_child_process
def test_only_the_last_tasklet_to_end_wakes_main():
    """While others are runnable there is no error."""
    ch, log = channel(), []
    for name in "abc":
        tasklet(log.append)(name)
    assert error_text(ch.receive) == RECEIVING
    assert log == ["a", "b", "c"]
    assert_at_rest(ch)


@in_child_process
def test_killed_last_tasklet_wakes_main():
    """Ending by TaskletExit is an end like any other."""
    ch = channel()
    tasklet(lambda: stackless.current.kill())()
    assert error_text(ch.receive) == RECEIVING
    assert_at_rest(ch)


@in_child_process
def test_exception_of_the_last_tasklet_replaces_the_text():
    """If it ended with an exception, main gets that instead."""
    ch = channel()

    def fails():
        raise KeyError("instead")

    tasklet(fails)()
    with pytest.raises(KeyError, match="instead"):
        ch.receive()
    assert_at_rest(ch)


@in_child_process
def test_tasklet_blocks_for_ever_while_main_receives():
    """The Deadlock text is raised in the tasklet, then, uncaught, in main."""
    ch, other, seen = channel(), channel(), []

    def body():
        try:
            other.receive()
        except RuntimeError as error:
            seen.append((str(error), other.balance, stackless.main.blocked, ch.balance))
            raise

    t = tasklet(body)()
    assert error_text(ch.receive) == DEADLOCK
    assert seen == [(DEADLOCK, 0, True, -1)]
    assert not t.alive
    assert_at_rest(ch, other)


@in_child_process
def test_tasklet_that_catches_the_deadlock_can_help_main():
    """The failed operation changes nothing: tasklet and main continue."""
    ch, other, seen = channel(), channel(), []

    def body():
        seen.append(error_text(other.receive))
        ch.send("help")

    tasklet(body)()
    assert ch.receive() == "help"
    stackless.run()
    assert seen == [DEADLOCK]
    assert_at_rest(ch, other)


@in_child_process
def test_blocking_under_run_is_no_deadlock():
    """Step 1: a caller inside run() resumes, without an error."""
    ch = channel()
    t = tasklet(ch.receive)()
    assert stackless.run() is None
    assert t.blocked
    ch.send(None)
    assert_at_rest(ch)


@in_child_process
def test_blocking_is_no_deadlock_while_main_was_switched_away_from():
    """Step 1: a main that was switched away from resumes, without an error."""
    ch = channel()
    t = tasklet(ch.receive, ())
    assert t.switch() is None
    assert t.blocked
    ch.send(None)
    assert_at_rest(ch)


@in_child_process
def test_blocked_main_beside_a_tasklet_in_run():
    """Step 1 with W = the tasklet: its run() returns, and it can help main."""
    ch, log = channel(), []

    def sitter():
        log.append(stackless.run())
        ch.send("help")

    tasklet(sitter)()
    assert ch.receive() == "help"
    stackless.run()
    assert log == [None]
    assert_at_rest(ch)


@in_child_process
def test_schedule_remove_while_main_is_blocked():
    """The last tasklet cannot remove itself either: Deadlock in it, nothing changed."""
    ch, seen = channel(), []

    def body():
        seen.append(error_text(schedule_remove, "value"))
        me = stackless.current
        seen.append((me.scheduled, me.paused, me.tempval, stackless.runcount, ch.balance))
        ch.send("help")

    tasklet(body)()
    assert ch.receive() == "help"
    stackless.run()
    assert seen == [DEADLOCK, (True, False, None, 1, -1)]
    assert_at_rest(ch)


@in_child_process
def test_uncaught_deadlock_of_schedule_remove_reaches_main():
    """Like any other exception."""
    ch = channel()
    tasklet(schedule_remove)()
    assert error_text(ch.receive) == DEADLOCK
    assert_at_rest(ch)


@in_child_process
def test_schedule_remove_of_the_last_tasklet_under_run():
    """It pauses and run() returns."""
    t = tasklet(schedule_remove)(None)
    assert stackless.run() is None
    assert t.paused
    t.run()
    assert_at_rest()


@in_child_process
def test_schedule_remove_of_a_lone_main():
    """It simply returns."""
    thing = object()
    assert schedule_remove(thing) is thing
    assert_at_rest()


@in_child_process
def test_block_trap_is_named_rather_than_deadlock():
    """5.2.4: the trap is checked before a tasklet is blocked."""
    ch = channel()
    stackless.current.block_trap = True
    text = error_text(ch.receive)
    stackless.current.block_trap = False
    assert text == "this tasklet does not like to be blocked."


def test_uncaught_deadlock_ends_the_program():
    """8.3, 8.4: with the text on stderr and code 1."""
    assert_child(
        "import stackless; stackless.channel().receive()",
        exits=1,
        complains=f"RuntimeError: {DEADLOCK}",
    )


# ------------------------------------------------------------------ with other threads


@in_child_process
def test_no_deadlock_while_another_thread_could_act():
    """Step 2: the thread sleeps until another one makes one of its tasklets runnable."""
    ch = channel()

    def act():
        wait_until(lambda: ch.balance == -1)
        ch.send("from a thread")

    thread = threading.Thread(target=act)
    thread.start()
    assert ch.receive() == "from a thread"
    thread.join()
    assert_at_rest(ch)


@in_child_process
def test_deadlock_when_the_other_thread_is_stuck_as_well():
    """Step 3: a thread that sleeps in such a wait cannot act."""
    ch, other = channel(), channel()
    got = []
    thread = threading.Thread(target=lambda: got.append(ch.receive()))
    thread.start()
    wait_until(lambda: ch.balance == -1)
    assert error_text(other.receive) == DEADLOCK
    ch.send("released")
    thread.join()
    assert got == ["released"]
    assert_at_rest(ch, other)


@in_child_process
def test_run_returns_whatever_other_threads_do():
    """7.1: a plain run() never sleeps."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    ch = channel()
    t = tasklet(ch.receive)()
    assert stackless.run() is None
    assert t.blocked
    release.set()
    thread.join()
    ch.send(None)


@in_child_process
def test_main_waits_for_a_tasklet_woken_by_another_thread():
    """8.4, 11.2: a wake-up by another thread ends the sleep; the ring continues from there."""
    ch, result = channel(), channel()

    def body():
        result.send(ch.receive() + 1)

    tasklet(body)()
    schedule()

    def act():
        wait_until(lambda: result.balance == -1)
        ch.send(41)

    thread = threading.Thread(target=act)
    thread.start()
    assert result.receive() == 42
    thread.join()
    stackless.run()
    assert_at_rest(ch, result)
