"""run(threadblock=True)."""

import pytest
import stackless
from child_process import assert_child
from other_thread import run_in_thread

# Every test is a program of its own: "another thread that could act" must be a thread of the test,
# not of the test runner.

PREPARE = """
import threading, time
import stackless
from stackless import channel, schedule, schedule_remove, tasklet

def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread

def sleeping(function):
    'Call function in a moment: the other thread is asleep by then, most of the time.'
    def later():
        time.sleep(0.05)
        function()
    return later

main = stackless.main
"""


def program(source, **expected):
    lines = source.strip("\n").split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    assert_child(PREPARE + "\n".join(line[indent:] for line in lines), **expected)


@pytest.mark.parametrize("how", ["insert", "run", "kill", "throw"])
def test_it_sleeps_until_another_thread_makes_a_tasklet_runnable(how):
    """7.2: instead of returning when the ring is empty."""
    program(
        f"""
        log = []
        def body():
            try:
                schedule_remove(None)
            except (TaskletExit, KeyError):
                pass
            log.append("woken")
            main.insert()
        t = tasklet(body)()
        stackless.run()
        arguments = (KeyError,) if {how!r} == "throw" else ()
        thread = in_thread(sleeping(lambda: t.{how}(*arguments)))
        print(stackless.run(threadblock=True), log)
        thread.join()
        """,
        prints="None ['woken']",
    )


@pytest.mark.parametrize("timeout", [0, 10, 1000])
def test_it_continues_to_sleep_when_that_tasklet_has_ended(timeout):
    """7.2: each time the ring is empty, with a timeout or without."""
    program(
        f"""
        log = []
        def waker():
            for number in range(3):
                time.sleep(0.02)
                tasklets[number].insert()
            time.sleep(0.02)
            main.insert()
        tasklets = [tasklet(log.append, (number,)) for number in range(3)]
        thread = in_thread(waker)
        print(stackless.run({timeout}, threadblock=True), log)
        thread.join()
        """,
        prints="None [0, 1, 2]",
    )


def test_a_message_from_another_thread_wakes_it():
    """11.2: a channel between threads makes the receiver runnable."""
    program(
        """
        ch, log = channel(), []
        def consumer():
            for value in ch:
                log.append(value)
            main.insert()
        def producer():
            for number in range(3):
                time.sleep(0.01)
                ch.send(number)
            time.sleep(0.01)
            ch.close()
        tasklet(consumer)()
        thread = in_thread(producer)
        print(stackless.run(threadblock=True), log)
        thread.join()
        """,
        prints="None [0, 1, 2]",
    )


def test_without_other_threads_it_returns():
    """8.4.3: waiting in the process's main thread while no other thread exists, it just resumes."""
    program(
        """
        log = []
        tasklet(log.append)("ran")
        print(stackless.run(threadblock=True), log)
        print(stackless.run(threadblock=True))
        tasklet(channel().receive)()
        print(stackless.run(threadblock=True))
        """,
        prints="None ['ran'] None None",
    )


def test_it_returns_when_the_last_other_thread_has_ended():
    """8.4: a thread that ends without waking this one cannot act any more."""
    program(
        """
        thread = in_thread(lambda: time.sleep(0.05))
        print(stackless.run(threadblock=True))
        thread.join()
        """,
        prints="None",
    )


def test_without_threadblock_it_does_not_wait():
    """8.4.1: W is not in threadblock mode: it resumes at once, whatever other threads could do."""
    program(
        """
        stop = threading.Event()
        thread = in_thread(stop.wait)
        tasklet(channel().receive)()
        print(stackless.run(threadblock=False), stackless.run(1000))
        stop.set()
        thread.join()
        """,
        prints="None None",
    )


def test_the_gil_is_released_meanwhile():
    """8.4.2: other threads run."""
    program(
        """
        count = 0
        def work():
            global count
            while count < 100_000:
                count += 1
            main.insert()
        thread = in_thread(work)
        print(stackless.run(threadblock=True), count)
        thread.join()
        """,
        prints="None 100000",
    )


def test_a_worker_thread_serves_until_told_to_stop():
    """The usual use: a thread runs what other threads insert, until its main is woken."""
    program(
        """
        log, ready = [], threading.Event()
        def worker():
            global worker_main, jobs
            worker_main = stackless.main
            jobs = [tasklet(lambda n=n: log.append((n, threading.get_ident() == thread.ident)), ())
                    for n in range(3)]
            ready.set()
            log.append(stackless.run(threadblock=True))
        thread = threading.Thread(target=worker, daemon=True)
        thread.start()
        ready.wait()
        for job in jobs:
            job.insert()
            while job.alive:
                time.sleep(0.001)
        worker_main.insert()
        thread.join()
        print(log)
        """,
        prints="[(0, True), (1, True), (2, True), None]",
    )


def test_a_timeout_expires_in_threadblock_mode():
    """7.2: a tasklet that another thread wakes is interrupted as any other."""
    program(
        """
        def spin():
            for _ in range(1_000_000):
                pass
        t = tasklet(spin, ())
        thread = in_thread(sleeping(t.insert))
        print(stackless.run(1000, threadblock=True) is t, t.paused)
        thread.join()
        t.kill()
        """,
        prints="True True",
    )


def test_a_budget_of_seconds_ends_the_sleep():
    """The budget is wall-clock time from the start of run()."""
    program(
        """
        stop = threading.Event()
        thread = in_thread(stop.wait)
        print(stackless.run(threadblock=True, seconds=0.05))
        stop.set()
        thread.join()
        """,
        prints="None",
    )


def test_an_exception_wakes_it():
    """8.3: an uncaught exception is raised in the sleeping run() caller."""
    program(
        """
        def fails():
            raise KeyError("planned")
        t = tasklet(fails, ())
        thread = in_thread(sleeping(t.insert))
        try:
            stackless.run(threadblock=True)
        except KeyError as error:
            print(error)
        thread.join()
        print(stackless.runcount)
        """,
        prints="'planned' 1",
    )


@pytest.mark.parametrize("first", ["main", "other"])
def test_two_threads_that_wait_for_each_other(first):
    """8.4: the main thread continues when the only other thread is blocked in such a wait."""
    program(
        f"""
        log, ch = [], channel()
        def other():
            try:
                ch.receive()
            except RuntimeError as error:
                log.append(str(error))
        thread = in_thread(other if {first!r} == "other" else sleeping(other))
        while {first!r} == "other" and ch.balance == 0:
            time.sleep(0.001)
        print(stackless.run(threadblock=True))
        """,
        prints="None",
    )


def test_nested_in_a_plain_run():
    """8.4: the innermost caller decides; a tasklet's own run(threadblock=True) sleeps as well."""
    program(
        """
        log = []
        def sitter():
            log.append(stackless.run(threadblock=True))
        t = tasklet(sitter)()
        thread = in_thread(sleeping(t.insert))
        print(stackless.run(), log)
        thread.join()
        """,
        prints="None [None]",
    )


def test_threads_can_pass_work_in_process():
    """The same inside the test runner: main inserts into a thread that sleeps in run()."""
    made = []

    def worker():
        log = []
        made.append(stackless.main)
        stackless.tasklet(lambda: (log.append("ran"), made[0].insert()))()
        stackless.run(threadblock=True)
        return log

    assert run_in_thread(worker) == ["ran"]
