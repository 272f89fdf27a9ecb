"""virtual_time(): sleeping takes no time, and the clocks agree."""

import queue
import socket as plain_socket
import threading
import time

import pytest
import stackless
import stackless.socket
from child_process import assert_child
from other_thread import run_in_thread
from stackless.testing import virtual_time

DAY = 86_400
real_time = time.perf_counter


def test_thirty_days_take_no_time():
    """Sleeps, time-outs and deadlines, in the right order."""
    events = []

    def sleeper():
        for _ in range(30):
            stackless.sleep(DAY)
        events.append("sleeper")

    def receiver():
        with pytest.raises(stackless.TimeoutError):
            stackless.channel().receive(timeout=29 * DAY)
        events.append("receiver")

    def limited():
        with stackless.move_on_after(DAY):
            stackless.channel().receive()
        events.append("limited")
        with pytest.raises(TimeoutError):
            with stackless.timeout(DAY):
                stackless.sleep(5 * DAY)
        events.append("timeout")

    began = real_time()
    with virtual_time() as clock:
        with stackless.TaskGroup() as group:
            for function in (sleeper, receiver, limited):
                group.start(function)
        assert clock.now == pytest.approx(30 * DAY)
    assert real_time() - began < 20
    assert events == ["limited", "timeout", "receiver", "sleeper"]


def test_the_clocks_agree():
    before = time.time(), time.monotonic()
    with virtual_time() as clock:
        began = time.time(), time.monotonic(), time.perf_counter(), stackless.clock()
        assert began[1] == time.monotonic()
        assert before[0] <= began[0] < before[0] + 60 and before[1] <= began[1] < before[1] + 60
        stackless.sleep(100)
        after = time.time(), time.monotonic(), time.perf_counter(), stackless.clock()
        assert [b - a for a, b in zip(began, after, strict=True)] == pytest.approx([100] * 4)
        assert time.monotonic_ns() == pytest.approx(time.monotonic() * 1e9, abs=1000)
        assert time.time_ns() == pytest.approx(time.time() * 1e9, abs=1e6)
        assert threading._time() == time.monotonic() == queue.time()
        clock.advance(50)
        assert clock.now == pytest.approx(150)
        with stackless.move_on_after(5) as scope:
            assert scope.deadline == pytest.approx(time.monotonic() + 5)
        with pytest.raises(ValueError, match="back"):
            clock.advance(-1)
    assert time.monotonic() < began[1] + 60
    assert threading._time is time.monotonic
    assert time.monotonic.__module__ == "time"


def test_the_clock_stands_still_while_something_runs():
    with virtual_time() as clock:
        for _ in range(1000):
            stackless.schedule()
        stackless.sleep(0)
        assert clock.now == 0


def test_one_at_a_time():
    with virtual_time() as clock:
        with pytest.raises(RuntimeError, match="in use"):
            clock.__enter__()
        with pytest.raises(RuntimeError, match="in use"):
            run_in_thread(virtual_time().__enter__)
    with pytest.raises(ZeroDivisionError):
        with virtual_time():
            1 / 0  # noqa: B018
    with virtual_time():
        pass


def test_worker_threads_take_real_time():
    """A timer that is due meanwhile, virtually, does not fire before."""
    with virtual_time() as clock:
        with stackless.timeout(1):
            assert stackless.to_thread(lambda: real_time()) is not None
        assert clock.now == 0


def test_sockets_of_the_process():
    ours, theirs = plain_socket.socketpair()
    got = []

    def receiver():
        with stackless.socket.fromfd(ours.fileno(), ours.family, ours.type) as sock:
            got.append((sock.recv(5), clock.now))

    with ours, theirs, virtual_time() as clock:
        with stackless.TaskGroup() as group:
            group.start(receiver)
            stackless.sleep(10)
            theirs.send(b"hello")
        assert got == [(b"hello", pytest.approx(10))]


def test_beside_other_threads():
    """Their tasklets keep the real clock."""

    def other():
        began = real_time()
        stackless.sleep(0.01)
        return real_time() - began

    with virtual_time():
        assert run_in_thread(other) >= 0.009


def test_with_patched_modules():
    assert_child(
        """
        from stackless import monkey
        monkey.patch_all()
        import time, threading, stackless
        from stackless.testing import virtual_time
        with virtual_time() as clock:
            t = stackless.tasklet(time.sleep)(86400)
            u = stackless.tasklet(time.sleep)(2 * 86400)
            stackless.run()
            print(round(clock.now / 86400))
        """,
        prints="2",
    )


@pytest.mark.parametrize("value", [-1, float("nan"), "1"])
def test_the_engine_s_clock(value):
    with pytest.raises((TypeError, ValueError)):
        stackless.set_virtual_clock(value)
    assert stackless.clock() == pytest.approx(time.monotonic(), abs=1)
