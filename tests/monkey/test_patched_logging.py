"""Patched logging: only one tasklet at a time is inside a handler."""

import logging
import logging.handlers
import socketserver
import threading
import time

import pytest
import stackless
from stackless import monkey
from stackless.sync import RLock

pytestmark = pytest.mark.usefixtures("patched")


class Slow(logging.Handler):
    """A handler that waits in the middle of emit()."""

    def __init__(self):
        super().__init__()
        self.wrote = []

    def emit(self, record):
        self.wrote.append(("begins", record.getMessage()))
        time.sleep(0.005)
        self.wrote.append(("ends", record.getMessage()))


@pytest.fixture
def logger():
    logger = logging.Logger("test")
    logger.addHandler(Slow())
    return logger


def test_a_handler_is_for_one_tasklet_at_a_time(logger, ticks):
    """Tasklets and threads; other tasklets continue while these wait."""
    for n in range(3):
        stackless.run_tasklet(logger.warning, f"{n}")
    thread = threading.Thread(target=logger.warning, args=["thread"])
    thread.start()
    stackless.run_all()
    while thread.is_alive():
        time.sleep(0.001)
    wrote = logger.handlers[0].wrote
    assert len(wrote) == 8
    for begins, ends in zip(wrote[::2], wrote[1::2], strict=True):
        assert (begins[0], ends[0]) == ("begins", "ends") and begins[1] == ends[1]
    assert ticks.number > 5


def test_handlers_made_before():
    """They get such a lock as well; a lock that is held at that time is kept."""
    monkey.unpatch_all()
    free, held = Slow(), Slow()
    held.acquire()
    monkey.patch_all()
    assert isinstance(free.lock, RLock)
    assert not isinstance(held.lock, RLock)
    held.release()
    monkey.unpatch_all()
    assert isinstance(free.lock, RLock) and not isinstance(Slow().lock, RLock)
    assert logging.NullHandler().lock is None
    with free.lock:
        free.handle(logging.LogRecord("x", 10, "x", 1, "text", (), None))
    assert len(free.wrote) == 2


def test_null_handler():
    assert logging.NullHandler().lock is None


def test_lock_is_reentrant():
    lock = RLock()
    with lock, lock:
        assert lock.acquire(blocking=False)
        assert "count=3" in repr(lock)
        lock.release()
    assert "count=0" in repr(lock)
    with pytest.raises(RuntimeError):
        lock.release()
    with pytest.raises(ValueError):
        lock.acquire(False, 1)


def test_lock_belongs_to_a_tasklet(ticks):
    lock = RLock()
    with lock:
        stackless.run_tasklet(lock.acquire, False)
        stackless.run_tasklet(lock.acquire, timeout=0.005)
        assert stackless.run_all() == [False, False]
        waiting = stackless.run_tasklet(lock.acquire)
        time.sleep(0.005)
        assert waiting.alive
    assert stackless.run_all() == [True]
    stackless.run_tasklet(lock.acquire, False)
    assert stackless.run_all() == [False], "its owner has ended, and it is still taken"


def test_lock_and_threads():
    """A thread waits for a tasklet's lock, and a tasklet for a thread's lock."""
    lock = RLock()
    got = []

    def in_thread():
        with lock:
            got.append("thread")
            time.sleep(0.01)

    with lock:
        thread = threading.Thread(target=in_thread)
        thread.start()
        time.sleep(0.01)
        got.append("main")
    while "thread" not in got:
        time.sleep(0.001)

    def in_tasklet():
        with lock:
            got.append("tasklet")

    stackless.run_tasklet(in_tasklet)
    stackless.run_all()
    thread.join()
    assert got == ["main", "thread", "tasklet"]


def test_lock_where_nothing_can_switch():
    """The lock belongs to the thread there, as the standard one does: no deadlock."""
    lock = RLock()

    def holds():
        with lock:
            stackless.schedule_remove()

    holding = stackless.tasklet(holds)()
    stackless.schedule()
    entered = []

    def callback(*_):
        with lock:
            entered.append(True)

    stackless.set_schedule_callback(callback)
    stackless.tasklet(lambda: None)()
    stackless.run()
    stackless.set_schedule_callback(None)
    assert entered
    holding.insert()
    stackless.run()


def test_logging_over_the_network(ticks):
    """A SocketHandler that waits does not mix up its records."""
    received = []

    class Receiver(socketserver.StreamRequestHandler):
        def handle(self):
            while header := self.rfile.read(4):
                received.append(len(self.rfile.read(int.from_bytes(header, "big"))))

    class Threads(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Threads(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        handler = logging.handlers.SocketHandler(*server.server_address)
        logger = logging.Logger("network")
        logger.addHandler(handler)
        for n in range(20):
            stackless.run_tasklet(logger.warning, "x" * 100_000 + str(n))
        stackless.run_all()
        with stackless.timeout(10):
            while len(received) < 20:
                time.sleep(0.005)
        handler.close()
        server.shutdown()
        thread.join()
    assert all(size > 100_000 for size in received)
