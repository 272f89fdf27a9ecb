"""TaskletExecutor: the interface of concurrent.futures, and who can wait for its futures."""

import concurrent.futures
import contextvars
import threading

import pytest
import stackless
from child_process import assert_child
from other_thread import run_in_thread

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


def slow(value, seconds=0.005):
    stackless.sleep(seconds)
    return value


def fail(error):
    raise error


def test_is_an_executor():
    with stackless.TaskletExecutor(2) as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        future = executor.submit(slow, 1, seconds=0.001)
        assert isinstance(future, concurrent.futures.Future)
        assert not future.done()
        assert future.result() == 1
        assert future.done() and future.exception() is None


def test_at_most_so_many_at_a_time():
    running, most = set(), []

    def work(number):
        running.add(number)
        most.append(len(running))
        stackless.sleep(0.001)
        running.remove(number)

    with stackless.TaskletExecutor(3) as executor:
        futures = [executor.submit(work, i) for i in range(10)]
    assert max(most) == 3
    assert all(future.done() for future in futures)


def test_without_a_limit():
    with stackless.TaskletExecutor() as executor:
        gate = stackless.channel()
        futures = [executor.submit(gate.receive) for _ in range(100)]
        stackless.schedule()
        assert gate.balance == -100
        gate.send_sequence(range(100))
    assert [future.result() for future in futures] == list(range(100))


def test_exceptions():
    with stackless.TaskletExecutor(1) as executor:
        for error in (ValueError("wrong"), KeyboardInterrupt()):
            future = executor.submit(fail, error)
            assert future.exception() is error
            with pytest.raises(type(error)):
                future.result()


def test_a_killed_call():
    with stackless.TaskletExecutor(1) as executor:
        future = executor.submit(lambda: stackless.getcurrent().kill())
        assert isinstance(future.exception(), stackless.TaskletExit)


def test_only_the_calling_tasklet_waits():
    with stackless.TaskletExecutor(1) as executor:
        future = executor.submit(slow, "value")
        ticks = []
        with stackless.TaskGroup() as group:
            waiting = [group.start(future.result) for _ in range(3)]
            group.start(lambda: ticks.append(stackless.sleep(0.001)))
        assert [tasklet.join() for tasklet in waiting] == ["value"] * 3
        assert ticks == [None]


@pytest.mark.parametrize("method", ["result", "exception"])
def test_timeouts(method):
    with stackless.TaskletExecutor(1) as executor:
        future = executor.submit(slow, 1, 0.02)
        for seconds in (0, 0.001):
            with pytest.raises(concurrent.futures.TimeoutError):
                getattr(future, method)(seconds)
        assert getattr(future, method)(60) in (1, None)
        assert getattr(future, method)(0) in (1, None)


def test_cancel():
    """What has not begun is not called; those that wait get CancelledError."""
    called = []
    with stackless.TaskletExecutor(1) as executor:
        first = executor.submit(slow, 1)
        second = executor.submit(called.append, 2)
        waiting = stackless.tasklet(second.exception)()
        stackless.schedule()
        assert not first.cancel()
        assert second.cancel() and second.cancel()
        assert second.cancelled() and second.done()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting.join()
        with pytest.raises(concurrent.futures.CancelledError):
            second.result()
        assert first.result() == 1
    assert called == []


def test_map():
    """In the order of the items, with all the standard arguments."""
    with stackless.TaskletExecutor(2) as executor:
        results = executor.map(lambda a, b: slow(a + b, 0.001 * (3 - a)), [1, 2, 3], [10, 20, 30])
        assert list(results) == [11, 22, 33]
        assert list(executor.map(slow, [1, 2], timeout=60, chunksize=5)) == [1, 2]
        with pytest.raises(concurrent.futures.TimeoutError):
            list(executor.map(slow, [1], [0.05], timeout=0.001))
        with pytest.raises(ZeroDivisionError):
            list(executor.map(lambda a: 1 / a, [1, 0]))


@pytest.mark.skipif(
    "buffersize" not in concurrent.futures.Executor.map.__code__.co_varnames, reason="3.14 has it"
)
def test_map_with_buffersize():
    begun = []

    def work(number):
        begun.append(number)
        return slow(number, 0.001)

    with stackless.TaskletExecutor() as executor:
        results = executor.map(work, range(10), buffersize=2)
        assert next(results) == 0
        assert len(begun) < 5
        assert list(results) == list(range(1, 10))


def test_callbacks_and_as_completed():
    told = []
    with stackless.TaskletExecutor() as executor:
        futures = [executor.submit(slow, i) for i in range(3)]
        futures[0].add_done_callback(lambda future: told.append(future.result()))
    assert told == [0]
    assert {future.result() for future in concurrent.futures.as_completed(futures)} == {0, 1, 2}


def test_shutdown():
    executor = stackless.TaskletExecutor(1)
    futures = [executor.submit(slow, i) for i in range(4)]
    stackless.schedule()
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(print)
    assert [future.cancelled() for future in futures] == [False, True, True, True]
    assert not futures[0].done()
    executor.shutdown()
    assert futures[0].result() == 0
    executor.shutdown()


def test_the_caller_s_context():
    def body():
        VARIABLE.set("caller's")
        return executor.submit(lambda: (VARIABLE.get(), VARIABLE.set("call's")))

    with stackless.TaskletExecutor(1) as executor:
        future = contextvars.copy_context().run(body)
        assert future.result()[0] == "caller's"
        assert executor.submit(VARIABLE.get).result() == "unset"


def test_threads_submit_and_wait():
    """The calls run in the executor's thread; threads without tasklets wait as usual."""
    outcome = []

    def thread():
        future = executor.submit(lambda: (slow(7), threading.get_ident()))
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0.0001)
        outcome.append(future.result(60))

    with stackless.TaskletExecutor(1) as executor:
        other = threading.Thread(target=thread)
        other.start()
        while other.is_alive():
            stackless.sleep(0.001)
    assert outcome == [(7, threading.get_ident())]


def test_tasklets_of_another_thread_wait():
    """Only they do, in that thread."""
    order = []

    def thread():
        future = executor.submit(slow, "value", 0.01)
        waiting = stackless.tasklet(lambda: order.append(future.result()))()
        stackless.tasklet(lambda: order.append(stackless.sleep(0.001)))()
        waiting.join()

    with stackless.TaskletExecutor(1) as executor:
        other = threading.Thread(target=thread)
        other.start()
        while other.is_alive():
            stackless.sleep(0.001)
    assert order == [None, "value"]


def test_the_executor_s_thread_has_ended():
    executor = run_in_thread(lambda: stackless.TaskletExecutor(1))
    with pytest.raises((RuntimeError, ValueError)):
        executor.submit(print)


@pytest.mark.parametrize(
    ("given", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError)]
)
def test_max_workers(given, error):
    with pytest.raises(error, match="max_workers"):
        stackless.TaskletExecutor(given)


def test_concurrent_futures_is_imported_when_it_is_needed():
    """Importing it takes as long as a tenth of the package."""
    assert_child(
        """
        import sys, stackless
        print("concurrent.futures" in sys.modules)
        print(stackless.TaskletExecutor.__module__, hasattr(stackless, "TaskletExecutors"))
        """,
        prints="False stackless False",
    )


# ------------------------------------------------------------------ stackless.map


def test_short_form():
    assert list(stackless.map(slow, range(50))) == list(range(50))
    assert list(stackless.map(slow, [])) == []


def test_short_form_unordered():
    """The results come as they are ready."""
    pauses = [0.03, 0.01, 0.02]
    results = stackless.map(lambda pause: slow(pause, pause), pauses, ordered=False)
    assert list(results) == sorted(pauses)


@pytest.mark.parametrize("ordered", [True, False])
def test_short_form_is_limited_and_lazy(ordered):
    running, most, taken = set(), [], []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    def work(number):
        running.add(number)
        most.append(len(running))
        stackless.sleep(0.001)
        running.remove(number)
        return number

    results = stackless.map(work, items(), limit=4, ordered=ordered)
    assert taken == []
    first = next(results)
    assert len(taken) == 4
    assert sorted([first, *results]) == list(range(20))
    assert max(most) == 4


@pytest.mark.parametrize("ordered", [True, False])
def test_short_form_with_an_error(ordered):
    """It is raised as it is, and the other calls are cancelled and have ended."""
    ended = []

    def work(number):
        try:
            stackless.sleep(0.001 if number < 2 else 60)
            return 1 / number
        finally:
            ended.append(number)

    results = stackless.map(work, [1, 0, 2, 3], ordered=ordered)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert sorted(ended) == [0, 1, 2, 3]
    assert list(results) == []


def test_short_form_that_is_left():
    """By break, by an error of the items, or because the caller is cancelled."""
    ended = []

    def work(number):
        try:
            stackless.sleep(0.001 if number == 0 else 60)
        finally:
            ended.append(number)

    def bad():
        yield 1
        raise KeyError

    for _ in stackless.map(work, range(3)):
        break
    assert sorted(ended) == [0, 1, 2]
    with pytest.raises(KeyError):
        list(stackless.map(work, bad()))
    with stackless.move_on_after(0.01) as scope:
        list(stackless.map(work, [1, 2]))
    assert scope.expired
    assert sorted(ended) == [0, 1, 1, 1, 2, 2]


def test_short_form_checks_its_arguments():
    for arguments, error in (((1, []), TypeError), ((print, 1), TypeError)):
        with pytest.raises(error):
            stackless.map(*arguments)
    with pytest.raises(ValueError, match="limit"):
        stackless.map(print, [], limit=0)
