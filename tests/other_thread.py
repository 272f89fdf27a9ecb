"""Helpers for tests with more than one thread."""

import threading
import time

import stackless


def run_in_thread(function):
    """Call `function` in a new thread; return its result, or raise its exception, in this one."""
    outcome = []

    def target():
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(60)
    assert outcome, "the thread did not finish"
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def wait_until(condition):
    """Let other threads run until `condition()` is true."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.0005)


class Owner:
    """A thread that owns the tasklet `prepare(report)` makes, and then sleeps.

    Its main tasklet waits for one message on the channel `report`. Whatever the tests wake in that
    thread must therefore report before it ends; then everything runs to its end there.
    """

    def __init__(self, prepare):
        self.report = stackless.channel()
        self.prepare = prepare
        self.error = None
        self.reported = None
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()
        assert self.ready.wait(60)
        wait_until(lambda: self.report.balance < 0 or not self.thread.is_alive())

    def _live(self):
        try:
            self.main = stackless.getmain()
            self.tasklet = self.prepare(self.report)
            self.ready.set()
            self.reported = self.report.receive()
            stackless.run()
        except BaseException as error:
            self.error = error
        finally:
            self.ready.set()

    def result(self):
        """The reported value, after the thread has ended."""
        self.thread.join(60)
        assert not self.thread.is_alive(), "the owning thread was not woken"
        if self.error is not None:
            raise self.error
        return self.reported
