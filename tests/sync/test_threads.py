"""Primitives between tasklets of several threads and threads without tasklets."""

import os
import queue as standard_queue
import random
import signal
import threading
import time

import pytest
import stackless
from child_process import assert_child, in_child_process
from other_thread import run_in_thread, wait_until
from stackless import sync

NIGHTLY = bool(os.environ.get("STACKLESS_NIGHTLY"))


def start_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def test_a_thread_waits_for_a_tasklet_and_the_other_way_round():
    """An event that is set in a thread wakes a tasklet, and one set by a tasklet a thread."""
    there, back, log = sync.Event(), sync.Event(), []

    def thread():
        log.append(there.wait(60))
        back.set()

    def tasklet():
        there.set()
        log.append(back.wait(60))

    started = start_thread(thread)
    stackless.tasklet(tasklet)()
    stackless.run()
    started.join(60)
    assert log == [True, True]


def test_arrival_decides_between_threads_and_tasklets():
    """The lock goes to whom came first, of either kind."""
    lock, order = sync.Lock(), []
    lock.acquire()

    def user(name):
        with lock:
            order.append(name)

    threads = []
    for n in range(8):
        if n % 3 == 1:
            threads.append(start_thread(user, n))
            wait_until(lambda n=n: stackless._stackless._waiting(lock) == n + 1)
        else:
            stackless.tasklet(user)(n)
            stackless.run()
    lock.release()
    wait_until(lambda: stackless.run() or len(order) == 8)
    for thread in threads:
        thread.join(60)
    assert order == list(range(8))


def test_none_of_the_hand_overs_is_lost():
    """Tasklets of two threads and plain threads count under one lock."""
    rounds = 30_000 if NIGHTLY else 500
    lock, total, workers = sync.Lock(), 0, 12

    def count(n):
        nonlocal total
        for step in range(n):
            with lock:
                before = total
                if step % 5 == 0:
                    stackless.schedule()
                total = before + 1

    def plain(n):
        nonlocal total
        for step in range(n):
            with lock:
                before = total
                if step % 50 == 0:
                    time.sleep(0)
                total = before + 1

    def with_tasklets():
        joined = [stackless.tasklet(count)(rounds) for _ in range(workers)]
        for each in joined:
            each.join()

    threads = [start_thread(plain, rounds) for _ in range(workers)]
    threads.append(start_thread(with_tasklets))
    with_tasklets()
    for thread in threads:
        thread.join(600)
    assert total == 3 * workers * rounds and not lock.locked()


@pytest.mark.parametrize("kind", [sync.Queue, sync.SimpleQueue, sync.LifoQueue, sync.PriorityQueue])
def test_items_between_threads(kind):
    """Each item arrives once, whoever gets it."""
    made, got, count = kind(), [], 2000

    def consume(pause):
        while (item := made.get()) >= 0:
            got.append(item)
            if item % 10 == 0:
                pause(0)

    threads = [start_thread(consume, time.sleep) for _ in range(3)]
    tasklets = [stackless.tasklet(consume)(stackless.sleep) for _ in range(3)]

    def produce():
        for item in range(count):
            made.put(item)
            if item % 7 == 0:
                stackless.schedule()

    stackless.tasklet(produce)().join()
    wait_until(lambda: stackless.run() or made.qsize() == 0)
    for _ in range(6):
        made.put(-1)
    for each in tasklets:
        each.join()
    for thread in threads:
        thread.join(60)
    assert sorted(got) == list(range(count))


def test_times_in_a_thread():
    """The same results as in a tasklet."""

    def plain():
        lock = sync.Lock()
        lock.acquire()
        before = time.monotonic()
        results = [lock.acquire(timeout=0.01), sync.Event().wait(0.01)]
        with pytest.raises(standard_queue.Empty):
            sync.Queue().get(timeout=0.01)
        with pytest.raises(standard_queue.Empty):
            sync.SimpleQueue().get(timeout=0.01)
        condition = sync.Condition()
        with condition:
            results.append(condition.wait(0.01))
        return results, time.monotonic() - before >= 0.05

    assert run_in_thread(plain) == ([False, False, False], True)


def test_a_reentrant_lock_of_a_thread():
    """Its owner is the thread until it uses tasklets, and then its main tasklet."""

    def plain():
        lock = sync.RLock()
        lock.acquire()
        log = []
        stackless.tasklet(lambda: log.append(lock.acquire(False)))()
        stackless.run()
        lock.acquire()
        lock.release()
        lock.release()
        return log

    assert run_in_thread(plain) == [False]


def test_a_thread_that_ends_with_waiters():
    """Its tasklets leave the queue, and the lock goes to the next one."""
    lock, log = sync.Lock(), []
    lock.acquire()

    def thread():
        stackless.tasklet(lambda: log.append(lock.acquire()))()
        stackless.run()

    run_in_thread(thread)
    stackless.tasklet(lambda: log.append(("here", lock.acquire())))()
    stackless.run()
    lock.release()
    stackless.run()
    assert log == [("here", True)]


def test_a_thread_that_ends_with_a_lock():
    """As with threading, the lock stays acquired, and any thread may release it."""
    lock = sync.Lock()
    run_in_thread(lock.acquire)
    assert not lock.acquire(timeout=0.01)
    lock.release()
    assert lock.acquire(False)


@in_child_process
def test_a_signal_handler_sets_an_event():
    """Main waits without other tasklets: the handler runs meanwhile, and this is no deadlock."""
    event = sync.Event()
    signal.signal(signal.SIGALRM, lambda *_: event.set())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert event.wait() is True


@in_child_process
def test_a_service_that_waits_for_a_signal():
    """Main waits for an event that a handler sets, with workers that wait for jobs."""
    stop, jobs = sync.Event(), sync.Queue()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    for _ in range(3):
        stackless.tasklet(jobs.get)()
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    assert stop.wait() is True
    for _ in range(3):
        jobs.put(1)
    stackless.run()


def test_control_c_ends_a_wait():
    """KeyboardInterrupt comes out of acquire(), whose lock is not taken."""
    assert_child(
        """
        import os, signal, threading, time
        from stackless import sync
        lock = sync.Lock()
        lock.acquire()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            lock.acquire()
        except KeyboardInterrupt:
            print("interrupted")
        lock.release()
        print(lock.locked())
        """,
        prints="interrupted False",
    )


def test_control_c_in_a_thread_without_tasklets():
    """The same where stackless was imported by another thread, and main blocks in the system."""
    assert_child(
        """
        import os, signal, threading, time
        def load():
            import stackless.sync
        thread = threading.Thread(target=load)
        thread.start(); thread.join()
        from stackless import sync
        lock = sync.Lock()
        lock.acquire()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            lock.acquire()
        except KeyboardInterrupt:
            print("interrupted")
        lock.release()
        print(lock.locked())
        """,
        prints="interrupted False",
    )


def test_fork_with_held_locks_and_waiters():
    """In the child other threads do not exist: their locks can be made free, none is served."""
    assert_child(
        """
        import os, threading, time, warnings
        import stackless
        from stackless import sync
        warnings.simplefilter("ignore")  # there are threads
        lock, own, event = sync.Lock(), sync.RLock(), sync.Event()
        def thread():
            with lock:
                event.set()
                time.sleep(60)
        threading.Thread(target=thread, daemon=True).start()
        event.wait()
        waiter = sync.Lock(); waiter.acquire()
        threading.Thread(target=waiter.acquire, daemon=True).start()
        while not stackless._stackless._waiting(waiter):
            time.sleep(0.001)
        own.acquire()
        def holder():
            with kept:
                stackless.schedule_remove()
        kept = sync.Lock()
        held = stackless.tasklet(holder)()
        stackless.run()
        child = os.fork()
        if child == 0:
            lock._at_fork_reinit(); own._at_fork_reinit(); kept._at_fork_reinit()
            assert lock.acquire(False) and not own._is_owned()
            assert kept.locked()   # a tasklet that exists here will release it
            held.insert(); stackless.run()
            assert not kept.locked()
            waiter.release()
            assert waiter.acquire(False)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        prints="7",
    )


def test_exit_with_waiting_threads_and_tasklets():
    """Daemon threads and tasklets that wait do not keep the interpreter, nor crash it."""
    assert_child(
        """
        import atexit, threading, time
        import stackless
        from stackless import sync
        lock, queue = sync.Lock(), sync.Queue()
        lock.acquire()
        def clean():
            try:
                with lock:
                    pass
            finally:
                print("ended")
        for _ in range(3):
            threading.Thread(target=lock.acquire, daemon=True).start()
            threading.Thread(target=queue.get, daemon=True).start()
        while stackless._stackless._waiting(lock) < 3:
            time.sleep(0.001)
        stackless.tasklet(clean)()
        stackless.run()
        atexit.register(lock.release)
        atexit.register(queue.put, 1)
        """,
        prints="ended",
    )


def programs(seed):
    """A random program of locks, semaphores, conditions, barriers and queues: what each does."""
    source = random.Random(seed)
    count = source.randint(2, 6)
    steps = []
    for _ in range(count):
        own = []
        for _ in range(source.randint(3, 12)):
            own.append(source.choice(["lock", "rlock", "semaphore", "queue", "pause", "notify"]))
        steps.append(own)
    return steps, source.randint(1, 3)


def play(module, queues, steps, rounds, start, pause):
    """Run a program; return what it has counted. All of its workers end."""
    lock, rlock = module.Lock(), module.RLock()
    semaphore, barrier = module.BoundedSemaphore(2), module.Barrier(len(steps))
    condition, queue = module.Condition(), queues.Queue(2)
    results = {"lock": 0, "inside": 0, "most": 0, "sum": 0, "turns": 0, "barrier": []}

    def worker(own):
        for _ in range(rounds):
            for step in own:
                if step == "lock":
                    with lock:
                        before = results["lock"]
                        pause()
                        results["lock"] = before + 1
                elif step == "rlock":
                    with rlock, rlock:
                        before = results["turns"]
                        pause()
                        results["turns"] = before + 1
                elif step == "semaphore":
                    with semaphore:
                        results["inside"] += 1
                        results["most"] = max(results["most"], results["inside"])
                        pause()
                        results["inside"] -= 1
                elif step == "queue":
                    queue.put(1)
                    pause()
                    results["sum"] += queue.get()
                    queue.task_done()
                elif step == "notify":
                    with condition:
                        condition.wait(0.0005)
                        condition.notify()
                else:
                    pause()
            results["barrier"].append(barrier.wait())

    for join in [start(worker, own) for own in steps]:
        join()
    queue.join()
    assert results["most"] <= 2 and results["inside"] == 0
    results["barrier"] = sorted(results["barrier"])
    del results["most"]
    return results


@pytest.mark.parametrize("seed", range(2000 if NIGHTLY else 40))
def test_random_programs_as_on_threads(seed):
    """On tasklets, and on tasklets and threads at once, they do what they do on threads alone."""
    steps, rounds = programs(seed)
    choices = random.Random(seed)

    def start_tasklet(function, argument):
        return stackless.tasklet(function)(argument).join

    def start_either(function, argument):
        if choices.random() < 0.5:
            thread = start_thread(function, argument)
            # join() would block the tasklets of this thread.
            return lambda: wait_until(lambda: stackless.schedule() and not thread.is_alive())
        return start_tasklet(function, argument)

    def start_native(function, argument):
        return start_thread(function, argument).join

    expected = play(threading, standard_queue, steps, rounds, start_native, lambda: time.sleep(0))
    assert play(sync, sync, steps, rounds, start_tasklet, stackless.schedule) == expected
    assert play(sync, sync, steps, rounds, start_either, lambda: time.sleep(0)) == expected
    assert play(sync, sync, steps, rounds, start_native, lambda: time.sleep(0)) == expected
