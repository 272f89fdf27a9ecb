"""Pipes, and the three ways to wait until a file can be read."""

import gc
import os

import pytest
from stackless import select


class Pipe:
    """Standard descriptors, of which the module knows nothing."""

    def __init__(self):
        self.read, self.write = os.pipe()

    def close(self):
        os.close(self.read)
        os.close(self.write)


def by_select(number, timeout=None):
    found = select.select([number], [], [], timeout)
    assert found[1:] == ([], [])
    return found[0] == [number]


def by_poll(number, timeout=None):
    waits = select.poll()
    waits.register(number, select.POLLIN)
    return waits.poll(None if timeout is None else timeout * 1000) == [(number, select.POLLIN)]


def by_epoll(number, timeout=None):
    with select.epoll() as waits:
        waits.register(number, select.EPOLLIN)
        return waits.poll(timeout) == [(number, select.EPOLLIN)]


EACH = pytest.mark.parametrize("wait", [by_select, by_poll, by_epoll])


def open_descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
