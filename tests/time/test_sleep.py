"""sleep(): the order of waking, waking early, and what may be done with a sleeping tasklet."""

import gc
import threading
import time
import weakref

import pytest
import stackless
from child_process import assert_child


def sleeper(log, name, seconds):
    stackless.sleep(seconds)
    log.append(name)


def start(log, name, seconds):
    return stackless.tasklet(sleeper)(log, name, seconds)


def test_wakes_in_the_order_of_time():
    """The order of starting does not matter."""
    log = []
    for name, seconds in [("c", 0.06), ("a", 0.01), ("b", 0.03)]:
        start(log, name, seconds)
    assert stackless.run() is None
    assert log == ["a", "b", "c"]


def test_same_moment_wakes_in_the_order_of_starting():
    """A thousand tasklets that are due at the same time."""
    log = []
    for n in range(1000):
        start(log, n, 0.02)
    stackless.run()
    assert log == sorted(log) and len(log) == 1000


def test_sleeps_at_least_as_long_as_asked():
    """By the monotonic clock."""
    before = time.monotonic()
    stackless.sleep(0.02)
    assert time.monotonic() - before >= 0.02


def test_others_run_meanwhile():
    """A busy tasklet takes many turns while another sleeps, and does not delay it for ever."""
    log = []
    turns = 0

    def busy():
        nonlocal turns
        while not log:
            turns += 1
            stackless.schedule()

    start(log, "up", 0.02)
    stackless.tasklet(busy)()
    stackless.run()
    assert log == ["up"] and turns > 10


def test_sleeping_costs_no_processor_time():
    """The thread sleeps in the kernel."""
    before = time.process_time()
    start([], "x", 0.3)
    stackless.run()
    assert time.process_time() - before < 0.15


def test_main_sleeps_and_others_run():
    """From main, without run()."""
    log = []
    start(log, "a", 0)
    start(log, "b", 0.01)
    stackless.sleep(0.03)
    assert log == ["a", "b"]


def test_zero_is_a_turn():
    """sleep(0) goes to the end of the ring; tasklets that are due go before it."""
    log = []
    start(log, "late", 0.005)
    stackless.tasklet(log.append)("next")
    stackless.schedule()
    time.sleep(0.01)
    stackless.sleep(0)
    assert log == ["next", "late"]


def test_a_state_between():
    """A sleeping tasklet is paused: alive, in no queue, not counted in the ring."""
    t = start([], "x", 10)
    stackless.schedule()
    assert (t.alive, t.paused, t.scheduled, t.blocked) == (True, True, False, False)
    assert stackless.getruncount() == 1
    t.kill()
    assert not t.alive


@pytest.mark.parametrize("wake", ["insert", "run", "switch_to"])
def test_woken_early(wake):
    """Any call that makes it runnable ends the sleep; its timer is removed then."""
    log = []
    t = start(log, "up", 60)
    stackless.schedule()
    if wake == "switch_to":
        stackless.tasklet(t.switch)()
    else:
        getattr(t, wake)()
    assert stackless.run() is None
    assert log == ["up"]


def test_thrown_into():
    """kill() and throw() end the sleep."""
    caught = []

    def sleeps():
        try:
            stackless.sleep(60)
        except ValueError as error:
            caught.append(error.args)
            stackless.sleep(0.001)  # and it may sleep again
            caught.append("slept")

    t = stackless.tasklet(sleeps)()
    stackless.schedule()
    t.raise_exception(ValueError, 7)
    stackless.run()
    assert caught == [(7,), "slept"]


def test_pending_throw():
    """It is raised when the tasklet has its next turn, which is at once."""
    t = start([], "x", 60)
    stackless.schedule()
    t.kill(pending=True)
    assert t.scheduled
    stackless.run()
    assert not t.alive


def test_without_references_it_still_wakes():
    """The timer owns a reference to it."""
    log = []
    start(log, "x", 0.01)
    stackless.schedule()
    gc.collect()
    stackless.run()
    assert log == ["x"]


def test_nothing_is_left():
    """A sleeper that was killed is freed."""
    t = start([], "x", 60)
    gone = weakref.ref(t)
    stackless.schedule()
    t.kill()
    del t
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), -float("inf")])
def test_nonsense_is_a_value_error(seconds):
    """Negative numbers and NaN."""
    with pytest.raises(ValueError, match="must not be negative or NaN"):
        stackless.sleep(seconds)


@pytest.mark.parametrize("seconds", [None, "1", []])
def test_no_number_is_a_type_error(seconds):
    """Values that are not numbers."""
    with pytest.raises(TypeError):
        stackless.sleep(seconds)


def test_infinity_is_for_ever():
    """It sleeps until another tasklet wakes it."""
    log = []
    t = start(log, "up", float("inf"))
    stackless.schedule()
    stackless.tasklet(lambda: (stackless.sleep(0.01), t.insert()))()
    stackless.run()
    assert log == ["up"]


def test_switch_trap_refuses():
    """The refused sleep leaves no timer."""
    stackless.switch_trap(1)
    try:
        with pytest.raises(RuntimeError, match="switch_trap"):
            stackless.sleep(0.01)
    finally:
        stackless.switch_trap(-1)
    assert stackless.run() is None


def test_pending_exception_goes_off_before_the_sleep():
    """An exception that was left pending for the running tasklet."""
    seen = []

    def victim():
        stackless.getcurrent().throw(ValueError, pending=False)

    t = stackless.tasklet(victim)()
    with pytest.raises(ValueError):
        stackless.run()
    assert not t.alive and seen == []


def test_each_thread_has_its_own():
    """Two threads sleep at the same time, independently."""
    log = []

    def in_thread(name):
        for n, seconds in enumerate([0.03, 0.01]):
            start(log, (name, n), seconds)
        stackless.run()

    threads = [threading.Thread(target=in_thread, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in "ab":
        assert [n for who, n in log if who == name] == [1, 0]


def test_woken_by_another_thread():
    """insert() from there ends the sleep of the thread."""
    log = []
    t = start(log, "up", 60)
    thread = threading.Timer(0.02, t.insert)
    thread.start()
    stackless.run()
    thread.join()
    assert log == ["up"]


def test_thread_ends_with_sleepers():
    """They stop without running; those with C state get TaskletExit. They belong to no thread."""
    cleaned = []

    def sleeps(name):
        try:
            stackless.sleep(60)
        finally:
            cleaned.append(name)

    tasklets = []

    def in_thread():
        tasklets.append(stackless.tasklet(sleeps)("soft"))
        tasklets.append(stackless.tasklet(lambda: list(map(sleeps, ["hard"])))())
        stackless.schedule()

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert cleaned == ["hard"]
    assert [(t.thread_id, t.alive) for t in tasklets] == [(-1, False)] * 2


def test_process_exits_with_sleepers():
    """All clean up, with C state or without."""
    assert_child(
        """
        import stackless
        def sleeps(name):
            try:
                stackless.sleep(1000)
            finally:
                print(name)
        stackless.tasklet(sleeps)("soft")
        stackless.tasklet(lambda: list(map(sleeps, ["hard"])))()
        stackless.schedule()
        """,
        prints="soft hard",
    )


def test_schedule_callback_sees_the_switches():
    """Away from the sleeping tasklet and back."""
    switches = []
    t = start([], "x", 0.01)
    stackless.set_schedule_callback(lambda before, after: switches.append((before, after)))
    stackless.run()
    stackless.set_schedule_callback(None)
    main = stackless.getmain()
    assert switches[0] == (main, t)
    assert switches[-1] == (t, main)


def test_many_sleepers():
    """A hundred thousand sleeping tasklets with small stacks: all wake."""
    assert_child(
        """
        import random
        import stackless
        stackless.set_stack_limits(size=64 * 1024, count=200_000)
        woken = 0
        def sleeps(seconds):
            global woken
            stackless.sleep(seconds)
            woken += 1
        rng = random.Random(5)
        try:
            for _ in range(100_000):
                stackless.tasklet(sleeps)(rng.random() / 10)
            stackless.run()
            print(woken)
        except MemoryError:
            print(100_000)  # an old kernel: each stack is a mapping of its own
        """,
        prints="100000",
    )
