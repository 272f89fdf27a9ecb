"""to_thread(): results, exceptions, tasklets that stop waiting."""

import contextvars
import threading
import time

import pytest
import stackless
from child_process import assert_child


def test_result_and_arguments():
    """The function runs on another thread."""

    def work(a, *, b):
        return a + b, threading.get_ident()

    total, ident = stackless.to_thread(work, 1, b=2)
    assert total == 3 and ident != threading.get_ident()


def test_exception():
    """Raised in the caller, with the worker's frames."""

    def work():
        raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        stackless.to_thread(work)
    assert caught.traceback[-1].name == "work"


def test_others_run_meanwhile():
    """Only the calling tasklet waits."""
    turns = 0
    done = threading.Event()

    def busy():
        nonlocal turns
        while turns < 1000:
            turns += 1
            stackless.schedule()
        done.set()

    stackless.tasklet(busy)()
    stackless.to_thread(done.wait)
    assert turns == 1000


def test_several_at_once():
    """They wait for each other, so all of them must run at once."""
    barrier = threading.Barrier(4)
    results = []
    for n in range(4):
        stackless.tasklet(lambda n=n: results.append((stackless.to_thread(barrier.wait, 30), n)))()
    stackless.run()
    assert sorted(place for place, _ in results) == [0, 1, 2, 3]


def test_more_calls_than_workers():
    """The calls wait in a queue."""
    results = []
    for n in range(300):
        stackless.tasklet(lambda n=n: results.append(stackless.to_thread(int, n)))()
    stackless.run()
    assert sorted(results) == list(range(300))


def test_context():
    """A copy of the caller's context."""
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)

    def work():
        seen = variable.get()
        variable.set(2)
        return seen

    assert stackless.to_thread(work) == 1
    assert variable.get() == 1


def test_stops_waiting(monkeypatch):
    """A limit ends the wait; the late result is dropped, a late exception is reported."""
    reported = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: reported.append(info.exc_type))
    began, release, finished = threading.Event(), threading.Event(), threading.Event()

    def work():
        began.set()
        release.wait()
        try:
            raise KeyError
        finally:
            finished.set()

    limit = 0.02
    while not began.is_set():  # a call that has not begun when the limit is reached is not made
        with pytest.raises(stackless.TimeoutError), stackless.timeout(limit):
            stackless.to_thread(work)
        limit *= 2
    release.set()
    finished.wait()
    while not reported:
        time.sleep(0.001)
    assert reported == [KeyError]


def test_killed_before_it_began():
    """A call that has not begun is not made."""
    release = threading.Event()
    calls = []
    blockers = [stackless.tasklet(stackless.to_thread)(release.wait) for _ in range(40)]
    late = stackless.tasklet(stackless.to_thread)(calls.append, 1)
    stackless.schedule()
    late.kill()
    release.set()
    stackless.run()
    assert calls == [] and not any(t.alive for t in blockers)


def test_not_callable():
    """TypeError."""
    with pytest.raises(TypeError, match="needs a callable"):
        stackless.to_thread(3)
    with pytest.raises(TypeError, match="at least 1 argument"):
        stackless.to_thread()


def test_refused_where_nothing_can_switch():
    """The function is not called."""
    calls = []
    stackless.switch_trap(1)
    try:
        with pytest.raises(RuntimeError, match="switch_trap"):
            stackless.to_thread(calls.append, 1)
    finally:
        stackless.switch_trap(-1)
    stackless.run()
    assert calls == []


def test_tasklets_on_a_worker():
    """The call may use tasklets of its own."""

    def work():
        log = []
        for n in range(3):
            stackless.tasklet(log.append)(n)
        stackless.run()
        stackless.sleep(0.001)
        return log

    assert stackless.to_thread(work) == [0, 1, 2]


def test_idle_workers_are_no_threads():
    """They do not prevent that a deadlock is found."""
    assert_child(
        """
        import stackless
        stackless.to_thread(int)
        try:
            stackless.channel().receive()
        except RuntimeError as error:
            print(str(error)[:8])
        """,
        prints="Deadlock",
    )


def test_exit_during_a_call():
    """The process does not wait for it."""
    assert_child(
        """
        import stackless, threading, time
        stackless.tasklet(stackless.to_thread)(time.sleep, 1000)
        stackless.schedule()
        print("bye")
        """,
        prints="bye",
    )


def test_exit_while_calls_return():
    """Workers that return during finalisation do no harm."""
    for seconds in (0.0, 0.005, 0.02):
        assert_child(
            f"""
            import stackless, time
            for n in range(30):
                stackless.tasklet(stackless.to_thread)(time.sleep, n / 1000)
            stackless.schedule()
            time.sleep({seconds})
            print("bye")
            """,
            prints="bye",
        )


def test_scheduler_of_a_thread_that_ends():
    """Its tasklet waited for a worker: the worker finds no waiting tasklet, and nothing breaks."""
    release = threading.Event()
    started = threading.Event()

    def work():
        started.set()
        release.wait()

    def in_thread():
        stackless.tasklet(stackless.to_thread)(work)
        stackless.schedule()
        started.wait()

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    release.set()
    assert stackless.to_thread(int, "7") == 7
