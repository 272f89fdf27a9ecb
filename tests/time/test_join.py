"""tasklet.join(), run_tasklet() and run_all()."""

import gc
import threading
import weakref

import pytest
import stackless
from child_process import assert_child


def after(seconds, value):
    stackless.sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value


def test_result():
    """The return value of the function, for every tasklet that joins."""
    t = stackless.tasklet(after)(0.01, "v")
    got = []
    for _ in range(3):
        stackless.tasklet(lambda: got.append(t.join()))()
    assert t.join() == "v"
    stackless.run()
    assert got == ["v"] * 3
    assert t.join() == "v" and not t.alive and t.tempval is None


def test_is_no_channel_operation():
    """The channel callback is not called: it could end the tasklet before the caller waits."""
    t = stackless.tasklet(after)(0, "v")
    seen = []

    def callback(*operation):
        seen.append(operation)
        t.kill()

    stackless.set_channel_callback(callback)
    try:
        assert t.join() == "v"
    finally:
        stackless.set_channel_callback(None)
    assert seen == []


def test_exception_goes_to_the_joiner():
    """And not to run()."""
    t = stackless.tasklet(after)(0.01, KeyError("k"))
    caught = []

    def joins():
        try:
            t.join()
        except KeyError as error:
            caught.append(error)

    stackless.tasklet(joins)()
    stackless.run()
    assert [error.args for error in caught] == [("k",)]
    with pytest.raises(KeyError):
        t.join()


def test_exception_without_a_joiner_goes_to_run():
    """As for a plain tasklet."""
    t = stackless.run_tasklet(after, 0, KeyError("k"))
    with pytest.raises(KeyError):
        stackless.run()
    with pytest.raises(RuntimeError, match="went to the caller of run"):
        t.join()
    stackless.run_all.__globals__["_started"].tasklets.remove(t)


def test_error_handler_is_not_called_when_a_tasklet_joins():
    """The exception goes to the joining tasklet instead."""
    seen = []
    stackless.set_error_handler(lambda *error: seen.append(error))
    t = stackless.tasklet(after)(0, KeyError("k"))
    with pytest.raises(KeyError):
        t.join()
    stackless.set_error_handler(None)
    assert seen == []


def test_killed_gives_none():
    """A tasklet that was started, and one that never was."""
    for started in (True, False):
        t = stackless.tasklet(after)(60, "v")
        if started:
            stackless.schedule()
        stackless.tasklet(t.kill)()
        if not started:
            t.remove()
        assert t.join() is None


def test_plain_tasklet_keeps_nothing():
    """No tasklet joined it before its end."""
    t = stackless.tasklet(after)(0, "v")
    stackless.run()
    assert t.join() is None


def test_timeout():
    """TimeoutError; the joined tasklet continues."""
    t = stackless.tasklet(after)(0.05, "v")
    with pytest.raises(stackless.TimeoutError):
        t.join(0.01)
    with pytest.raises(stackless.TimeoutError):
        t.join(timeout=0)
    assert t.join() == "v"


def test_bound_anew():
    """The second run has its own result."""
    t = stackless.tasklet(after)(0, 1)
    assert t.join() == 1
    t.bind(after)(0, 2)
    assert t.join() == 2


def test_result_is_freed():
    """When the tasklet is freed, or bound anew."""

    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    t = stackless.run_tasklet(after, 0, value)
    del value
    stackless.run_all()
    assert gone() is not None
    t.bind(after)
    assert gone() is None


def test_cycle_is_collected():
    """A tasklet that returns itself."""
    t = stackless.run_tasklet(lambda: stackless.getcurrent())
    assert stackless.run_all() == [t]
    gone = weakref.ref(t)
    del t
    gc.collect()
    assert gone() is None


def test_refused():
    """The current tasklet itself, and main."""
    with pytest.raises(RuntimeError, match="cannot join a main tasklet"):
        stackless.getmain().join()
    errors = []

    def joins_itself():
        with pytest.raises(RuntimeError, match="cannot join the current tasklet"):
            stackless.getcurrent().join()
        errors.append(1)

    stackless.tasklet(joins_itself)()
    stackless.run()
    assert errors == [1]


def test_from_another_thread():
    """Result and exception."""
    tasks = [stackless.run_tasklet(after, 0.02, "v"), stackless.tasklet(after)(0.02, KeyError("k"))]
    got = []

    ready = threading.Event()

    def joins(task):
        try:
            got.append(task.join())
        except KeyError as error:
            got.append(error.args[0])

    def in_thread():
        mine = [stackless.run_tasklet(joins, task) for task in tasks]
        stackless.schedule()
        assert all(t.blocked for t in mine)
        ready.set()
        stackless.run_all()

    thread = threading.Thread(target=in_thread)
    thread.start()
    ready.wait()
    assert stackless.run_all() == ["v"]
    stackless.run()
    thread.join()
    assert sorted(got) == ["k", "v"]


def test_its_thread_ends():
    """A tasklet has ended when its thread has."""
    kept = []
    ready = threading.Event()
    release = threading.Event()

    def in_thread():
        kept.append(stackless.tasklet(after)(60, "v"))
        stackless.schedule()
        ready.set()
        release.wait()

    thread = threading.Thread(target=in_thread)
    thread.start()
    ready.wait()
    threading.Timer(0.02, release.set).start()
    assert kept[0].join() is None
    thread.join()


def test_deadlock():
    """Two tasklets that wait for each other, and main for one of them."""
    assert_child(
        """
        import stackless
        tasklets = []
        def joins(n):
            tasklets[n].join()
        tasklets += [stackless.tasklet(joins)(1), stackless.tasklet(joins)(0)]
        try:
            tasklets[0].join()
        except RuntimeError as error:
            print(str(error)[:9])
        """,
        prints="Deadlock:",
    )


def test_run_all():
    """Waits for its own tasklets, leaves an endless one, returns the results in order."""

    def endless():
        while True:
            stackless.schedule()

    pump = stackless.tasklet(endless)()
    log = []

    def starts_another(n):
        stackless.sleep(0.01)
        if n == 1:
            stackless.run_tasklet(log.append, "another")
        return n

    for n in range(3):
        stackless.run_tasklet(starts_another, n)
    assert stackless.run_all() == [0, 1, 2, None]
    assert log == ["another"] and pump.alive
    assert stackless.run_all() == []
    pump.kill()


def test_run_all_when_one_fails():
    """The error is raised; the other tasklets finish in another call."""
    stackless.run_tasklet(after, 0.02, "a")
    stackless.run_tasklet(after, 0.001, KeyError("b"))
    with pytest.raises(KeyError):
        stackless.run_all()
    with pytest.raises(RuntimeError, match="went to the caller"):
        assert stackless.run_all() == ["a"]
    assert stackless.run_all() == []


def test_not_callable():
    """TypeError, nothing started."""
    with pytest.raises(TypeError):
        stackless.run_tasklet(3)
    assert stackless.run_all() == []
