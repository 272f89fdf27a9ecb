"""stackless.select: poll objects and epoll objects."""

import errno
import gc
import os

import pytest
import stackless
from stackless import select
from waiting import waiting
from waits_for_files import EACH, Pipe, by_epoll, open_descriptors

# ---------------------------------------------------------------------- poll


def test_poll_registers(pipe):
    """Adding, changing and removing behave as with the standard object."""
    waits = select.poll()
    waits.register(pipe.write)
    assert waits.poll() == [(pipe.write, select.POLLOUT)]
    waits.modify(pipe.write, select.POLLIN)
    assert waits.poll(1) == []
    waits.unregister(pipe.write)
    with pytest.raises(KeyError):
        waits.unregister(pipe.write)
    with pytest.raises(FileNotFoundError):
        waits.modify(pipe.write, select.POLLIN)
    for wrong in (object(), "x", None):
        with pytest.raises(TypeError):
            waits.register(wrong)
    with pytest.raises(ValueError, match="negative"):
        waits.register(-1)
    assert waits.poll(1) == []


def test_poll_times(pipe):
    """Milliseconds, also fractions; any negative number is no limit."""
    waits = select.poll()
    waits.register(pipe.read, select.POLLIN)
    assert waits.poll(0.5) == []
    for wrong, error in [("x", TypeError), (2**31, OverflowError), (float("nan"), ValueError)]:
        with pytest.raises(error):
            waits.poll(wrong)
    for endless in (None, -1, -1e-9, -5):
        t = waiting(waits.poll, endless)
        stackless.sleep(0.002)
        assert t.alive
        t.kill()


def test_poll_of_a_closed_descriptor(pipe):
    """POLLNVAL at once, as in the standard module."""
    made = Pipe()
    waits = select.poll()
    waits.register(made.read, select.POLLIN)
    made.close()
    assert waits.poll() == [(made.read, select.POLLNVAL)]


def test_poll_twice_at_once(pipe):
    """RuntimeError for the second call, as between threads in the standard module."""
    waits = select.poll()
    waits.register(pipe.read, select.POLLIN)
    t = waiting(waits.poll)
    with pytest.raises(RuntimeError, match="concurrent"):
        waits.poll()
    t.kill()
    assert waits.poll(0) == []


# ---------------------------------------------------------------------- epoll


def test_epoll_as_stock(pipe):
    """Creation, use and closing behave as with the standard object."""
    waits = select.epoll(10, select.EPOLL_CLOEXEC)
    assert waits.fileno() >= 0 and not waits.closed
    waits.register(pipe.write)
    with pytest.raises(FileExistsError):
        waits.register(pipe.write, select.EPOLLIN)
    assert waits.poll(maxevents=1) == [(pipe.write, select.EPOLLOUT)]
    waits.modify(pipe.write, select.EPOLLIN)
    assert waits.poll(timeout=0.001) == []
    waits.unregister(pipe.write)
    with pytest.raises(FileNotFoundError):
        waits.unregister(pipe.write)
    with pytest.raises(ValueError, match="maxevents"):
        waits.poll(0, 0)
    with pytest.raises(TypeError):
        waits.poll("x")
    waits.close()
    waits.close()
    assert waits.closed
    for call in (waits.fileno, waits.poll, lambda: waits.register(pipe.read), waits.__enter__):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(ValueError, match="sizehint"):
        select.epoll(-2)


def test_epoll_fromfd(pipe):
    """A second object for a copy of the descriptor."""
    with select.epoll() as first:
        first.register(pipe.read, select.EPOLLIN)
        with select.epoll.fromfd(os.dup(first.fileno())) as second:
            assert type(second) is select.epoll
            stackless.tasklet(os.write)(pipe.write, b"x")
            assert second.poll() == [(pipe.read, select.EPOLLIN)]


def test_epoll_registers_while_a_tasklet_waits(pipe):
    """A new entry counts at once."""
    with select.epoll() as waits:
        found = []
        t = waiting(lambda: found.append(waits.poll()))
        os.write(pipe.write, b"x")
        waits.register(pipe.read, select.EPOLLIN)
        stackless.run()
        assert found == [[(pipe.read, select.EPOLLIN)]] and not t.alive


def test_epoll_closed_while_a_tasklet_waits(pipe):
    """OSError in the waiting tasklet; another file may have the number afterwards."""
    waits, caught = select.epoll(), []
    waits.register(pipe.read, select.EPOLLIN)

    def polls():
        try:
            waits.poll()
        except OSError as error:
            caught.append(error.errno)

    waiting(polls)
    number = waits.fileno()
    waits.close()
    stackless.run()
    assert caught == [errno.EBADF]
    with select.epoll() as again:
        assert again.fileno() == number
        again.register(pipe.read, select.EPOLLIN)
        stackless.tasklet(lambda: (stackless.sleep(0.001), os.write(pipe.write, b"x")))()
        assert again.poll(10) == [(pipe.read, select.EPOLLIN)]


def test_epoll_that_is_dropped(pipe):
    """It closes itself, and its number is not remembered."""
    before = open_descriptors()
    for _ in range(3):
        waits = select.epoll()
        waits.register(pipe.read, select.EPOLLIN)
        assert waits.poll(0.001) == []
        del waits
        gc.collect()
    stackless.tasklet(lambda: (stackless.sleep(0.001), os.write(pipe.write, b"x")))()
    assert by_epoll(pipe.read, 10)
    assert open_descriptors() == before or open_descriptors() == before + 3  # the poller


def test_epoll_edges(pipe):
    """Edge-triggered and one-shot entries."""
    with select.epoll() as waits:
        waits.register(pipe.read, select.EPOLLIN | select.EPOLLET)
        for _ in range(3):
            stackless.tasklet(os.write)(pipe.write, b"x")
            assert waits.poll(5) == [(pipe.read, select.EPOLLIN)]
            assert waits.poll(0.001) == []
        waits.modify(pipe.read, select.EPOLLIN | select.EPOLLONESHOT)
        assert waits.poll() == [(pipe.read, select.EPOLLIN)]
        assert waits.poll(0.001) == []


@EACH
def test_epoll_can_be_waited_for(wait, pipe):
    """It is a descriptor like others."""
    with select.epoll() as inner:
        inner.register(pipe.read, select.EPOLLIN)
        assert not wait(inner.fileno(), 0.001)
        stackless.tasklet(os.write)(pipe.write, b"x")
        assert wait(inner.fileno(), 10)
        assert inner.poll(0) == [(pipe.read, select.EPOLLIN)]
