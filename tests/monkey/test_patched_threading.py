"""Threads, locks and queues of the standard library on tasklets, and what was made before."""

import sys

import pytest
from child_process import assert_child, in_child_process

BEGIN = """
    import _thread, queue, sys, threading, time
    import stackless
    from stackless import monkey
    monkey.patch_all()

    def in_tasklet(function):
        return stackless.run_tasklet(function).join()
"""


def assert_prints(source, prints, **options):
    assert_child(BEGIN + source, prints=prints, **options)


def test_a_thread_that_is_started_in_a_tasklet_is_one():
    """Each has its own identity and name; they run at the same time in one OS thread."""
    assert_prints(
        """
    seen = set()
    def work():
        time.sleep(0.05)
        seen.add((threading.get_ident(), threading.current_thread().name))
        natives.add(threading.get_native_id())
    natives = set()
    def main():
        threads = [threading.Thread(target=work) for _ in range(50)]
        before = time.monotonic()
        for each in threads:
            each.start()
        assert all(each.is_alive() for each in threads)
        assert threading.active_count() == 51
        for each in threads:
            each.join()
        assert time.monotonic() - before < 1
        assert not any(each.is_alive() for each in threads)
        assert {each.ident for each in threads} == {ident for ident, _ in seen}
        assert threading.active_count() == 1 and len(seen) == 50
    in_tasklet(main)
    print(natives == {threading.get_native_id()})
    """,
        prints="True",
    )


def test_a_thread_that_is_started_elsewhere_is_an_os_thread():
    """In main without the runner, in an OS thread, and always with the original class."""
    assert_prints(
        """
    found = []
    def work():
        found.append(threading.get_native_id())
    def start(kind):
        thread = kind(target=work)
        thread.start()
        thread.join()
    start(threading.Thread)
    in_tasklet(lambda: start(monkey.original("threading", "Thread")))
    in_tasklet(lambda: start(threading.Thread))
    def outer():
        start(threading.Thread)
    start(lambda target: threading.Thread(target=outer))
    own = threading.get_native_id()
    print(*(each == own for each in found))
    """,
        prints="False False True False",
    )


def test_locks_queues_and_conditions():
    """What threading and queue are made of waits in the tasklet."""
    assert_prints(
        """
    from concurrent.futures import ThreadPoolExecutor
    def main():
        jobs, results, barrier = queue.Queue(3), queue.SimpleQueue(), threading.Barrier(3)
        event, semaphore = threading.Event(), threading.Semaphore(2)
        def work():
            barrier.wait()
            while (job := jobs.get()) is not None:
                with semaphore:
                    time.sleep(0.001)
                results.put(job)
            if barrier.wait() == 0:
                event.set()
        threads = [threading.Thread(target=work) for _ in range(3)]
        for each in threads:
            each.start()
        for job in range(20):
            jobs.put(job)
        for _ in threads:
            jobs.put(None)
        assert event.wait(10)
        print(sorted(results.get() for _ in range(20)) == list(range(20)))
        with ThreadPoolExecutor(20) as pool:
            before = time.monotonic()
            list(pool.map(time.sleep, [0.05] * 40))
            print(time.monotonic() - before < 1)
        timer = threading.Timer(0.01, lambda: print("timer"))
        timer.start()
        timer.join()
    in_tasklet(main)
    """,
        prints="True True timer",
    )


def test_errors_go_to_excepthook():
    """Not out of run()."""
    assert_prints(
        """
    threading.excepthook = lambda args: print(args.exc_type.__name__, args.thread.name)
    def fail():
        raise KeyError
    def main():
        for target in fail, sys.exit:
            thread = threading.Thread(target=target, name="worker")
            thread.start()
            thread.join()
    in_tasklet(main)
    print("end")
    """,
        prints="KeyError worker SystemExit worker end",
    )


def test_a_thread_without_a_thread_object():
    """_thread.start_new_thread: its identity, its arguments, its errors."""
    colon = ":" if sys.version_info < (3, 13) else ""
    assert_prints(
        """
    def work(*args, **kwargs):
        print(args, kwargs, _thread.get_ident() == ident[0])
    def fail():
        raise KeyError("text")
    def main():
        ident.append(_thread.start_new_thread(work, (1,), {"key": 2}))
        stackless.schedule()
        _thread.start_new_thread(fail, ())
        stackless.schedule()
        for wrong in (1, ()), (fail, 1), (fail, (), 1):
            try:
                _thread.start_new_thread(*wrong)
            except TypeError:
                print("refused")
    ident = []
    in_tasklet(main)
    """,
        prints="(1,) {'key': 2} True refused refused refused",
        complains=f"Exception ignored in thread started by{colon} <function fail",
    )


def test_the_end_of_the_program():
    """Threads that are no daemons run to their end; daemons are ended, and print nothing."""
    assert_prints(
        """
    import atexit
    def late():
        time.sleep(0.05)
        print("late")
        threading.Thread(target=later).start()
    def later():
        time.sleep(0.05)
        print("later")
    def daemon():
        try:
            time.sleep(60)
        finally:
            print("ended")
    def main():
        threading.Thread(target=late).start()
        threading.Thread(target=daemon, daemon=True).start()
    in_tasklet(main)
    atexit.register(print, "atexit")
    print("main")
    """,
        prints="main late later atexit ended",
    )


def test_join():
    """Times, a thread joining itself, and an OS thread that a tasklet joins."""
    assert_prints(
        """
    def main():
        thread = threading.Thread(target=time.sleep, args=[0.1])
        thread.start()
        thread.join(0.01)
        print(thread.is_alive())
        thread.join()
        print(thread.is_alive())
        def own():
            try:
                threading.current_thread().join()
            except RuntimeError as error:
                print("refused")
        thread = threading.Thread(target=own)
        thread.start()
        thread.join()
        ticks = []
        def tick():
            while not ended:
                ticks.append(1)
                time.sleep(0.002)
        ended = []
        stackless.tasklet(tick)()
        sleep = monkey.original("time", "sleep")
        native = monkey.original("threading", "Thread")(target=sleep, args=[0.1])
        native.start()
        native.join()
        ended.append(1)
        print(len(ticks) > 10, native.is_alive())
    in_tasklet(main)
    """,
        prints="True False refused True False",
    )


def test_local_and_context():
    """Each thread has its own values, and a copy of the context of its starter."""
    assert_prints(
        """
    import contextvars
    variable = contextvars.ContextVar("variable", default="none")
    class Local(threading.local):
        def __init__(self):
            self.value = []
    local = Local()
    def work(n):
        local.value.append(n)
        before = variable.get()
        variable.set(n)
        time.sleep(0.001)
        results.append((local.value, before, variable.get()))
    results = []
    def main():
        variable.set("main")
        threads = [threading.Thread(target=work, args=[n]) for n in range(3)]
        for each in threads: each.start()
        for each in threads: each.join()
        print(variable.get(), sorted(results, key=str), local.value)
    in_tasklet(main)
    """,
        prints="main [([0], 'main', 0), ([1], 'main', 1), ([2], 'main', 2)] []",
    )


def test_a_signal_for_a_thread():
    """pthread_kill goes to the OS thread of the tasklet."""
    assert_prints(
        """
    import signal
    signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
    def work():
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        time.sleep(0.01)
        assert time.pthread_getcpuclockid(threading.get_ident())
        try:
            signal.pthread_kill(99999, signal.SIGUSR1)
        except ValueError as error:
            print(error)
    def main():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    in_tasklet(main)
    """,
        prints="handled no thread has this identity",
    )


def test_what_was_made_before():
    """It is replaced where it is found, and listed where not."""
    assert_child(
        """
        import logging, queue, threading
        lock, held, event = threading.Lock(), threading.Lock(), threading.Event()
        made, simple, local = queue.Queue(), queue.SimpleQueue(), threading.local()
        simple.put(5)
        local.value = 6
        held.acquire()
        in_tuple = (threading.Lock(),)
        class Class:
            lock = threading.RLock()
            def __init__(self):
                self.lock = threading.Lock()
        class Slots:
            __slots__ = ("lock",)
        instance, slots = Class(), Slots()
        slots.lock = threading.Lock()
        thread = threading.Thread(target=lambda: print(threading.get_ident() < 1 << 32))
        def closure():
            own = threading.Lock()
            return lambda: own
        get = closure()
        import stackless
        from stackless import monkey, sync
        monkey.patch_all()
        for each in lock, instance.lock, slots.lock, event._cond._lock, made.mutex, get():
            assert type(each) is sync.Lock, each
        for each in Class.lock, logging._lock:
            assert type(each) is sync.RLock
        assert made.not_empty._lock is made.mutex
        assert made.not_empty.acquire.__self__ is made.mutex
        assert type(simple) is sync.SimpleQueue and simple.get() == 5
        assert type(local) is sync.local and local.value == 6
        left = {each.name: each.reason for each in monkey.status()}
        assert left["held"] == "a lock that is held" and "in a tuple" in left["in_tuple"]
        def main():
            thread.start()
            thread.join()
        stackless.run_tasklet(main).join()
        """,
        prints="True",
    )


@in_child_process
def test_unpatching():
    """The standard names are back, also in modules that have copied them."""
    import _thread
    import functools
    import queue
    import threading

    from stackless import monkey, sync

    before = [vars(module).copy() for module in (_thread, threading, queue, functools)]
    with monkey.patched("threading", "queue"):
        assert threading.Lock is sync.Lock and queue.SimpleQueue is sync.SimpleQueue
        assert monkey.original("threading", "Lock") is before[1]["Lock"]
        assert monkey.original("_thread", "get_ident") is before[0]["get_ident"]
    names = ("Lock", "RLock", "_allocate_lock", "get_ident", "local", "_CRLock", "SimpleQueue")
    for module, old in zip((_thread, threading, queue, functools), before, strict=True):
        for name in (*names, "allocate_lock", "LockType", "start_new_thread"):
            assert vars(module).get(name) is old.get(name), name
    assert sync.Lock is not threading.Lock


def test_asyncio_in_a_thread():
    """An event loop with an executor, in a thread that is a tasklet."""
    assert_prints(
        """
    import asyncio
    async def program():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(None, square, n) for n in range(5)))
    def square(n):
        time.sleep(0.01)
        return n * n
    def main():
        thread = threading.Thread(target=lambda: print(asyncio.run(program())))
        thread.start()
        thread.join()
    in_tasklet(main)
    """,
        prints="[0, 1, 4, 9, 16]",
    )


def test_fork_in_a_thread():
    """In the child the forking thread is the main one, and others can be started."""
    assert_prints(
        """
    import os, warnings
    warnings.simplefilter("ignore")
    def work():
        child = os.fork()
        if child == 0:
            assert threading.current_thread() is threading.main_thread()
            thread = threading.Thread(target=print, args=["child"])
            thread.start()
            thread.join()
            sys.stdout.flush()
            os._exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    def main():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    in_tasklet(main)
    """,
        prints="child 3",
    )


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the handles are new in Python 3.13")
def test_handles():
    """start_joinable_thread returns a handle."""
    assert_prints(
        """
    def main():
        handle = _thread.start_joinable_thread(lambda: time.sleep(0.01))
        assert not handle.is_done() and handle.ident > 0
        handle.join(0.001)
        assert not handle.is_done()
        handle.join()
        print(handle.is_done())
    in_tasklet(main)
    main()
    """,
        prints="True True",
    )


def test_modules_with_destroyed_objects():
    """asyncio goes on: on Python 3.12 its module shows destroyed objects to the collector."""
    assert_child(
        """
        import asyncio, gc
        from stackless import monkey

        async def program():
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, 1)
            return await future

        asyncio.run(program())
        monkey.patch_all()
        monkey.unpatch_all()
        gc.collect()
        print(asyncio.run(program()))
        """,
        prints="1",
    )
