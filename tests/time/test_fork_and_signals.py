"""Ctrl-C, signal handlers, and fork while tasklets wait."""

import os

import pytest
from child_process import assert_child

PREPARE = """
import os, signal, stackless, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupt_soon():
    threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
"""

WAITS = [
    "stackless.sleep(60)",
    "stackless.channel().receive(timeout=60)",
    "stackless.to_thread(threading.Event().wait, 5)",
    "stackless.tasklet(stackless.sleep)(60).join()",
    "(stackless.tasklet(stackless.sleep)(60), stackless.run())",
]


def child(source, **options):
    assert_child(PREPARE + source, **options)


@pytest.mark.parametrize("wait", WAITS)
def test_interrupted(wait):
    """KeyboardInterrupt is raised where the thread sleeps; afterwards everything works."""
    child(
        f"""
interrupt_soon()
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted")
stackless.sleep(0.001)
print("slept")
""",
        prints="interrupted slept",
    )


def test_interrupt_goes_to_the_innermost_run():
    """Not to the sleeping tasklet."""
    child(
        """
log = []
def sleeps():
    stackless.sleep(0.2)
    print("woke")
def runs():
    try:
        stackless.run()
    except KeyboardInterrupt:
        print("inner")
stackless.tasklet(runs)()
stackless.tasklet(sleeps)()
interrupt_soon()
stackless.run()
""",
        prints="inner woke",
    )


def test_signal_handler_runs_during_a_sleep():
    """The sleep continues to its end."""
    child(
        """
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
before = time.monotonic()
stackless.sleep(0.3)
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(seen) > 3, time.monotonic() - before >= 0.3)
""",
        prints="True True",
    )


def test_handler_that_wakes_the_sleeper():
    """insert() ends the sleep."""
    child(
        """
main = stackless.getcurrent()
signal.signal(signal.SIGALRM, lambda *_: main.insert())
signal.setitimer(signal.ITIMER_REAL, 0.02)
stackless.sleep(60)
print("woken")
""",
        prints="woken",
    )


def test_handler_cannot_sleep():
    """No switch is possible inside a signal handler."""
    child(
        """
def handler(*_):
    try:
        stackless.sleep(1)
    except RuntimeError:
        print("refused")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.02)
stackless.sleep(0.1)
""",
        prints="refused",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore")
class TestFork:
    def test_sleepers_continue_in_both(self):
        """Each process has its own timers from then on."""
        child(
            """
log = []
for n in (3, 1, 2):
    stackless.tasklet(lambda n=n: (stackless.sleep(n / 50), log.append(n)))()
stackless.schedule()
pid = os.fork()
stackless.run()
assert log == [1, 2, 3], log
if pid:
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
else:
    os._exit(5)
""",
            prints="5",
        )

    def test_worker_threads_do_not_survive(self):
        """A tasklet that waits for one gets RuntimeError in the child; new calls work."""
        child(
            """
import warnings
warnings.simplefilter("ignore")
release = threading.Event()
log = []
def waits():
    try:
        log.append(stackless.to_thread(release.wait))
    except RuntimeError as error:
        log.append(str(error))
stackless.tasklet(waits)()
stackless.schedule()
pid = os.fork()
if pid:
    release.set()
    stackless.run()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(log, status)
else:
    stackless.run()
    ok = log == ["the worker thread did not survive the fork"]
    ok = ok and stackless.to_thread(int, "7") == 7
    os._exit(4 if ok else 1)
""",
            prints="[True] 4",
        )
