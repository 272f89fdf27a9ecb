"""The functions that stackless.scheduler adds, as the Carbon engine's scheduler has them."""

import gc
import sys
import threading
import time
import weakref

import pytest
import stackless
import stackless.scheduler as scheduler
from child_process import assert_child
from other_thread import run_in_thread

# ------------------------------------------------------------------ everything of stackless


def test_everything_of_stackless_is_there():
    """One line makes a program for that scheduler run here."""
    assert set(stackless.__all__) <= set(scheduler.__all__)
    for name in scheduler.__all__:
        assert hasattr(scheduler, name)
    for name in set(stackless.__all__) - {"tasklet", "channel"}:
        assert getattr(scheduler, name) is getattr(stackless, name)
    assert issubclass(scheduler.tasklet, stackless.tasklet)
    assert issubclass(scheduler.channel, stackless.channel)


def test_computed_attributes_follow_stackless():
    assert scheduler.current is stackless.current
    assert scheduler.main is stackless.main
    assert scheduler.runcount == 1
    assert run_in_thread(lambda: scheduler.main) is not stackless.main
    for name in ("no_such_name", "__path_to_nowhere__"):
        with pytest.raises(AttributeError, match=name):
            getattr(scheduler, name)


def test_the_alias():
    assert_child(
        """
        import sys, stackless.scheduler
        sys.modules["scheduler"] = stackless.scheduler
        import scheduler
        from scheduler import QueueChannel, tasklet
        tasklet(print)("ran")
        scheduler.run()
        """,
        prints="ran",
    )


@pytest.mark.parametrize("name", sorted(set(scheduler.__all__) - set(stackless.__all__)))
def test_public_names_are_documented(name):
    thing = getattr(scheduler, name)
    assert thing.__doc__
    if isinstance(thing, type):
        for member, value in vars(thing).items():
            # For a slot of the table, the comment above it says what it is.
            if not member.startswith("_") and member != "data_queue":
                assert value.__doc__, member


# ------------------------------------------------------------------ counting


def test_calculateruncount_is_getruncount_at_all_times():
    """By walking the ring: in main, in tasklets, inside run(), blocked, in a callback."""
    seen = []

    def look(*_):
        seen.append((scheduler.calculateruncount(), scheduler.getruncount()))

    def work(channel):
        look()
        scheduler.schedule()
        look()
        channel.receive()
        look()

    look()
    channel = scheduler.channel()
    for _ in range(3):
        scheduler.tasklet(work)(channel)
    look()
    scheduler.run()
    look()
    old = scheduler.set_schedule_callback(look)
    while channel.balance < 0:
        channel.send(None)
    scheduler.set_schedule_callback(old)
    assert len(seen) > 10
    assert all(walked == counted for walked, counted in seen)
    assert {counted for _, counted in seen} >= {1, 2, 3, 4}


def test_run_n_tasklets():
    log = []
    for name in "abc":
        scheduler.tasklet(log.append)(name)
    scheduler.run_n_tasklets(2)
    assert log == ["a", "b"] and scheduler.getruncount() == 2
    scheduler.run_n_tasklets(5)
    assert log == ["a", "b", "c"]


def test_run_with_timeout_counts():
    """Completed and switched of the last run; no tasklet is interrupted."""
    for _ in range(3):
        scheduler.tasklet(scheduler.schedule)()
    assert scheduler.run_with_timeout(10**12) is None
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 3
    assert scheduler.get_tasklets_switched_last_run_with_timeout() == 6
    scheduler.run_with_timeout(10**9)
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 0
    assert scheduler.get_tasklets_switched_last_run_with_timeout() == 0


def test_run_with_timeout_ends():
    def endless():
        while True:
            scheduler.schedule()

    t, other = scheduler.tasklet(endless)(), scheduler.tasklet(endless)()
    scheduler.run_with_timeout(2_000_000)
    assert t.scheduled and not t.paused
    assert scheduler.get_tasklets_completed_last_run_with_timeout() == 0
    assert scheduler.get_tasklets_switched_last_run_with_timeout() >= 2
    for each in (t, other):
        each.remove()
        each.kill()
    with pytest.raises(ValueError):
        scheduler.run_with_timeout(-1)
    with pytest.raises(TypeError):
        scheduler.run_with_timeout("1")


def test_schedule_managers():
    """One per thread, one reference of its own when idle, freed with the thread."""
    mine = scheduler.get_schedule_manager()
    assert scheduler.get_schedule_manager() is mine
    assert mine.thread_id == threading.get_ident()
    alone = object()
    assert sys.getrefcount(mine) == sys.getrefcount(alone) + 1  # its own
    before = scheduler.get_number_of_active_schedule_managers()
    begun, go = threading.Event(), threading.Event()
    found = []

    def other():
        found.append(weakref.ref(scheduler.get_schedule_manager()))
        scheduler.getmain()
        begun.set()
        go.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    begun.wait(60)
    assert scheduler.get_number_of_active_schedule_managers() == before + 1
    assert found[0]() not in (None, mine)
    go.set()
    thread.join(60)
    gc.collect()
    assert found[0]() is None
    assert scheduler.get_number_of_active_schedule_managers() == before


def test_tasklet_counts():
    all_time, active = scheduler.get_all_time_tasklet_count(), scheduler.get_active_tasklet_count()
    kept = [scheduler.tasklet(), stackless.tasklet(print), scheduler.tasklet(print)("")]
    assert scheduler.get_all_time_tasklet_count() == all_time + 3
    assert scheduler.get_active_tasklet_count() == active + 3
    scheduler.run()
    assert scheduler.get_active_tasklet_count() == active + 3
    kept.clear()
    gc.collect()
    assert scheduler.get_active_tasklet_count() == active
    assert scheduler.get_all_time_tasklet_count() == all_time + 3


def test_active_channels():
    """The channels in which tasklets wait."""
    before = scheduler.get_number_of_active_channels()
    channels = [stackless.channel(), scheduler.channel(), scheduler.QueueChannel()]
    assert scheduler.get_number_of_active_channels() == before
    tasklets = [scheduler.tasklet(c.receive)() for c in channels for _ in range(2)]
    scheduler.run()
    assert scheduler.get_number_of_active_channels() == before + 3
    assert scheduler.unblock_all_channels() >= 3
    assert scheduler.get_number_of_active_channels() == 0
    assert not any(t.alive for t in tasklets)
    assert [c.balance for c in channels] == [0, 0, 0]


def test_unblocking_reaches_other_threads():
    channel, ended = scheduler.channel(), []

    def wait():
        try:
            channel.receive()
        except TaskletExit:  # noqa: F821
            ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    while channel.balance == 0:
        time.sleep(0.001)
    scheduler.unblock_all_channels()
    thread.join(60)
    assert ended == [True] and channel.balance == 0


@pytest.mark.filterwarnings("ignore:leaked tasklet:ResourceWarning")
def test_counting_while_a_channel_is_destroyed():
    """Its waiters' `finally` blocks run in the middle of its destruction."""
    seen = []

    def wait(channel):
        channel = channel.receive
        try:
            channel()
        finally:
            seen.append(scheduler.get_number_of_active_channels())
            scheduler.unblock_all_channels()

    channel = scheduler.channel()
    receive = channel.receive
    for _ in range(3):
        t = scheduler.tasklet(receive)()
        u = scheduler.tasklet(wait)(channel)
    scheduler.run()
    del channel, receive, t, u
    gc.collect()
    scheduler.unblock_all_channels()
    scheduler.run()
    assert scheduler.get_number_of_active_channels() == 0


# ------------------------------------------------------------------ nested and flat


@pytest.fixture
def flat():
    assert scheduler.get_use_nested_tasklets() is True
    assert scheduler.set_use_nested_tasklets(False) is None
    yield
    scheduler.set_use_nested_tasklets(True)


def animals():
    """bar makes Dog, Cat and Monkey, and runs Dog."""
    log = []

    def bar():
        dog = scheduler.tasklet(log.append)("Dog")
        scheduler.tasklet(log.append)("Cat")
        scheduler.tasklet(log.append)("Monkey")
        dog.run()
        log.append("(bar ends)")

    scheduler.tasklet(log.append)("Rabbit")
    scheduler.tasklet(bar)()
    scheduler.tasklet(log.append)("Donkey")
    scheduler.run()
    return " ".join(log)


def test_nested_is_as_in_stackless():
    """2.3"""
    assert animals() == "Rabbit Dog Cat Monkey (bar ends) Donkey"


def test_flat_runs_one_and_continues(flat):
    assert scheduler.get_use_nested_tasklets() is False
    assert animals() == "Rabbit Dog (bar ends) Donkey Cat Monkey"


def test_flat_concerns_plain_tasklets_and_all_threads(flat):
    def work():
        log = []
        a, b = (stackless.tasklet(log.append)(name) for name in "ab")
        a.run()
        log.append("caller")
        stackless.run()
        return log

    assert work() == run_in_thread(work) == ["a", "caller", "b"]


def test_flat_leaves_paused_blocked_and_trapped_ones_alone(flat):
    log = []
    a, b = (stackless.tasklet(log.append)(name) for name in "ab")
    scheduler.switch_trap(1)
    with pytest.raises(RuntimeError, match="switch_trap"):
        b.run()
    scheduler.switch_trap(-1)
    assert (scheduler.current.next, scheduler.current.prev) == (a, b)
    b.remove()
    b.run()
    assert log == ["b"]
    scheduler.run()
    assert log == ["b", "a"]
    channel = stackless.channel()
    c = stackless.tasklet(channel.receive)()
    scheduler.run()
    with pytest.raises(RuntimeError, match="blocked"):
        c.run()
    c.kill()
    scheduler.current.run()


def test_flat_keeps_switch(flat):
    """`t.switch()` pauses the caller: others continue to run."""
    log = []
    main = scheduler.current
    a = stackless.tasklet(log.append)("a")
    stackless.tasklet(lambda: (log.append("b"), main.insert()))()
    a.switch()
    assert log == ["a", "b"]


# ------------------------------------------------------------------ block_trap


def test_block_trap_is_set_and_put_back():
    me = scheduler.getcurrent()
    with scheduler.block_trap():
        assert me.block_trap
        with scheduler.block_trap(False):
            assert not me.block_trap
        assert me.block_trap
        with pytest.raises(RuntimeError, match="does not like to be blocked"):
            scheduler.channel().receive()
    assert not me.block_trap
    with pytest.raises(KeyError), scheduler.block_trap():
        raise KeyError
    assert not me.block_trap
