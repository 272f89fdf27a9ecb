"""Nothing is left running after a task group: kills, deadlocks, exit, threads, collection."""

import gc
import threading

import pytest
import stackless
from child_process import assert_child, in_child_process
from group_helpers import Log, forever, group_with
from other_thread import run_in_thread, wait_until


def test_a_killed_owner_cancels_its_tasklets():
    """In the body, and while it waits at the end of the block; it ends after them."""
    for in_body in (True, False):
        log = Log()

        def owner(in_body=in_body, log=log):
            with stackless.TaskGroup() as group:
                group.start(log.sleeper, "child", 60)
                if in_body:
                    forever()

        tasklet = stackless.tasklet(owner)()
        for _ in range(3):
            stackless.schedule()
        tasklet.kill()
        stackless.run(block=False)
        assert not tasklet.alive and log == [("child", stackless.Cancelled)]


def test_tasklets_that_ignore_cancellation_are_killed():
    """Once the owner got several exceptions while it waited for them."""
    log = Log()

    def stubborn():
        with stackless.shield():
            log.sleeper("child", 60)

    owner = stackless.tasklet(group_with)(stubborn)
    for _ in range(3):
        stackless.schedule()
    for i in range(3):
        assert log == []
        owner.kill()
        for _ in range(3):
            stackless.schedule()
        assert owner.alive == (i < 2)
    assert log == [("child", stackless.TaskletExit)]


@in_child_process
def test_deadlock():
    """All tasklets wait for each other: an error of the group, which cancels them."""
    log = Log()
    with pytest.raises(ExceptionGroup) as caught:
        with stackless.TaskGroup() as group:
            group.start(log.sleeper, "sleeper", 0.001)
            group.start(forever)
    assert [type(error) for error in caught.value.exceptions] == [RuntimeError]
    assert log == ["sleeper"]


@in_child_process
def test_deadlock_behind_shields():
    ended = []

    def stubborn():
        try:
            with stackless.shield():
                forever()
        finally:
            ended.append(True)

    with pytest.raises(ExceptionGroup) as caught:
        group_with(stubborn)
    assert {type(error) for error in caught.value.exceptions} == {RuntimeError}
    assert ended == [True]


def test_tasklets_that_never_end():
    """The group gives up, with an error that says so."""

    def immortal():
        tasklets.append(stackless.getcurrent())
        while not allowed:
            try:
                with stackless.shield():
                    forever()
            except BaseException:  # noqa: S110
                pass

    allowed, tasklets = [], []
    owner = stackless.tasklet(group_with)(immortal)
    watching = stackless.tasklet(owner.join)()
    for _ in range(100):
        stackless.schedule()
        if not owner.alive:
            break
        owner.kill(pending=True)
    with pytest.raises(RuntimeError, match="do not end"):
        watching.join()
    allowed.append(True)
    tasklets[0].kill()
    assert not tasklets[0].alive


def test_what_the_owner_waits_for_is_told():
    """In reprs, and in snapshots."""
    owner = stackless.tasklet(group_with)(forever)
    for _ in range(3):
        stackless.schedule()
    assert "joining 1 tasklet of its task group" in repr(owner)
    (info,) = [each for each in stackless.snapshot() if each.serial == owner.number]
    assert "joining 1 tasklet of its task group" in info.reason
    owner.kill()
    stackless.run()


def test_keyboard_interrupt_while_it_waits():
    assert_child(
        """
        import signal, stackless
        def child():
            try:
                stackless.sleep(60)
            except BaseException as error:
                print(type(error).__name__)
                raise
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with stackless.TaskGroup() as group:
                group.start(child)
        except KeyboardInterrupt:
            print("interrupted", group.tasklets)
        """,
        prints="Cancelled interrupted []",
    )


def test_at_exit():
    """The tasklets are cancelled, and clean up, as their owner is killed."""
    assert_child(
        """
        import stackless
        def child():
            try:
                stackless.sleep(60)
            finally:
                print("cleaned", flush=True)
        def owner():
            with stackless.TaskGroup() as group:
                group.start(child)
        stackless.tasklet(owner)()
        stackless.run(block=False)
        """,
        prints="cleaned",
    )


def test_system_exit_in_a_tasklet_of_a_group():
    assert_child(
        """
        import sys, stackless
        with stackless.TaskGroup() as group:
            group.start(stackless.sleep, 60)
            group.start(sys.exit, 7)
        """,
        exits=7,
    )


# ------------------------------------------------------------------ threads


def test_tasklets_in_other_threads():
    """The group waits for them, and cancels them there."""
    log = Log()

    def thread(seconds):
        stackless.getcurrent()
        started.append(group.start(log.sleeper, "there", seconds))
        stackless.run()

    for cancels in (False, True):
        started = []
        log.clear()
        with stackless.TaskGroup() as group:
            other = threading.Thread(target=thread, args=(60 if cancels else 0.01,), daemon=True)
            other.start()
            wait_until(lambda started=started: started and started[0].frame)
            if cancels:
                group.cancel()
        other.join(60)
        assert log == [("there", stackless.Cancelled) if cancels else "there"]


def test_the_thread_of_a_tasklet_ends():
    """So does the tasklet: the block does not wait for it."""
    with stackless.TaskGroup() as group:
        tasklet = run_in_thread(lambda: group.start(forever))
        run_in_thread(lambda: (group.start(forever), stackless.schedule()))
    assert not tasklet.alive and group.tasklets == []


def test_the_owner_s_thread_ends():
    """Its tasklets in other threads are cancelled."""
    log, groups = Log(), []

    def owner():
        group = stackless.TaskGroup()
        group.__enter__()
        groups.append(group)

    run_in_thread(owner)
    with pytest.raises(RuntimeError, match="has ended"):
        groups[0].start(log.sleeper, "late")
    assert groups[0].tasklets == []


def test_left_by_another_tasklet():
    log = Log()
    groups = []

    def owner():
        groups.append(stackless.TaskGroup().__enter__())
        groups[0].start(log.sleeper, "child", 60)
        stackless.sleep(0.005)
        return "not cancelled"

    tasklet = stackless.tasklet(owner)()
    stackless.schedule()
    stackless.schedule()
    with pytest.raises(RuntimeError, match="its members were cancelled"):
        groups[0].__exit__(None, None, None)
    assert tasklet.join() == "not cancelled"
    assert log == [("child", stackless.Cancelled)]


def test_a_generator_that_is_closed():
    """GeneratorExit goes through; the tasklets have ended."""
    log = Log()

    def generator():
        with stackless.TaskGroup() as group:
            group.start(log.sleeper, "child", 60)
            yield group

    running = generator()
    next(running)
    stackless.schedule()
    running.close()
    assert log == [("child", stackless.Cancelled)]


def test_a_group_refers_to_its_tasklets():
    """One that waits where nothing else can reach it is no garbage: it can be cancelled."""
    log = Log()

    def child():
        try:
            forever()
        except stackless.Cancelled:
            log.append("cancelled")
            raise

    with stackless.TaskGroup() as group:
        group.start(child)
        stackless.schedule()
        gc.collect()
        group.cancel()
    assert log == ["cancelled"]


@pytest.mark.filterwarnings("ignore:leaked tasklet")
def test_a_dropped_group():
    """Nothing can reach the owner any more, which waits in the block: both end."""
    log = Log()

    def owner():
        with stackless.TaskGroup() as group:
            group.start(log.sleeper, "child", 60)
            forever()

    stackless.tasklet(owner)()
    for _ in range(3):
        stackless.schedule()
    for _ in range(3):
        gc.collect()
        stackless.run(block=False)
    assert log == [("child", stackless.Cancelled)]


def test_many_tasklets():
    done = []
    with stackless.TaskGroup() as group:
        for i in range(20_000):
            group.start(done.append, i)
    assert done == list(range(20_000))
    with stackless.TaskGroup() as group:
        for _ in range(5_000):
            group.start(forever)
        stackless.schedule()
        group.cancel()


@pytest.mark.parametrize("collects", [False, True])
def test_an_error_after_the_end_of_the_block_is_not_lost(collects):
    """The owner will not continue, so no block raises it: it is that of a bare tasklet."""

    def child():
        try:
            forever()
        finally:
            raise ValueError("from the child")

    def owner():
        with stackless.TaskGroup() as group:
            group.start(child)
            stackless.schedule_remove()

    tasklet = stackless.tasklet(owner)()
    stackless.run()
    tasklet.bind(None)
    if collects:
        gc.collect()
    with pytest.raises(ValueError, match="from the child") as caught:
        stackless.run()
    assert isinstance(caught.value.__context__, stackless.Cancelled)
