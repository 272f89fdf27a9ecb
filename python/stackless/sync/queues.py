"""Queues: the engine's, and those whose items are kept by Python code, under a lock."""

from __future__ import annotations

import sys
from collections import deque
from heapq import heappop, heappush
from queue import Empty, Full
from time import monotonic
from typing import Any, TypeVar

from stackless._stackless import Lock, _Queue, _set_queue_parts, _Waiters
from stackless.sync.conditions import Condition

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "ShutDown"]

_T = TypeVar("_T")

if sys.version_info >= (3, 13):
    from queue import ShutDown
else:

    class ShutDown(Exception):
        """Raised by put() of a queue after shutdown(), and by get() once it is empty."""


#: The methods by which a subclass says how items are kept.
_HOOKS = "_init", "_qsize", "_put", "_get"


class Queue(_Queue[_T]):
    """A queue, first in, first out, as `queue.Queue`.

    maxsize: the maximum number of items, 0 or less for no limit: put() waits while there are as
    many. A subclass may replace `_init`, `_qsize`, `_put` and `_get`, which are called with the
    attribute `mutex` held.
    """

    #: True if get() removes the item that was put last.
    _last_first = False
    #: True if items are kept by methods in Python.
    _hooked = False

    def __init__(self, maxsize: int = 0) -> None:
        self._begin(maxsize, self._last_first, self._hooked)
        if self._hooked:
            self._init(maxsize)

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        if "_hooked" not in vars(cls) and any(name in vars(cls) for name in _HOOKS):
            cls._hooked = True

    def _init(self, maxsize: int) -> None:
        self.queue = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: _T) -> None:
        self.queue.append(item)

    def _get(self) -> Any:
        return self.queue.popleft()


class LifoQueue(Queue[_T]):
    """A queue whose get() returns the item that was put last, as `queue.LifoQueue`."""

    _last_first = True

    _hooked = False

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _get(self) -> Any:
        return self.queue.pop()


class PriorityQueue(Queue[_T]):
    """A queue whose get() returns the lowest item, as `queue.PriorityQueue`."""

    _hooked = True

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _put(self, item: _T) -> None:
        heappush(self.queue, item)

    def _get(self) -> Any:
        return heappop(self.queue)


# ------------------------------------------------------------------ queues with hooks


def _deadline(block: bool, timeout: float | None) -> float | None:
    """Return when to stop waiting; None for no limit."""
    if not block:
        return 0.0
    if timeout is None:
        return None
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return monotonic() + timeout


def _has_time(condition: Condition, until: float | None) -> bool:
    """Wait until the condition is notified. False if there is no time left."""
    left = None if until is None else until - monotonic()
    if left is not None and left <= 0:
        return False
    condition.wait(left)
    return True


def _put(self: Queue[Any], item: Any, block: bool, timeout: float | None = None) -> None:
    with self.not_full:
        until = None
        while not self.is_shutdown and 0 < self.maxsize <= self._qsize():
            until = until or _deadline(block, timeout)
            if not _has_time(self.not_full, until):
                raise Full
        if self.is_shutdown:
            raise ShutDown
        self._put(item)
        self.unfinished_tasks += 1
        self.not_empty.notify()


def _get(self: Queue[Any], block: bool, timeout: float | None = None) -> Any:
    with self.not_empty:
        until = None
        while not self._qsize():
            if self.is_shutdown:
                raise ShutDown
            until = until or _deadline(block, timeout)
            if not _has_time(self.not_empty, until):
                raise Empty
        item = self._get()
        self.not_full.notify()
        return item


def _join(self: Queue[Any]) -> None:
    with self.all_tasks_done:
        while self.unfinished_tasks:
            self.all_tasks_done.wait()


def _task_done(self: Queue[Any]) -> None:
    with self.all_tasks_done:
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self.unfinished_tasks -= 1
        if not self.unfinished_tasks:
            self.all_tasks_done.notify_all()


def _shut_down(self: Queue[Any], immediate: bool) -> None:
    with self.mutex:
        self.is_shutdown = True
        while immediate and self._qsize():
            self._get()
            self.unfinished_tasks = max(self.unfinished_tasks - 1, 0)
        for condition in self.not_empty, self.not_full, self.all_tasks_done:
            condition.notify_all()


# ------------------------------------------------------------------ what the program may use


class _QueueCondition(Condition):
    """A condition of a queue of the engine: what waits there is looked at, too."""

    def __init__(self, owner: Queue[Any], waiters: _Waiters) -> None:
        super().__init__(owner.mutex)
        self._owner = owner
        self._waiters = waiters

    def notify(self, n: int = 1) -> None:
        super().notify(n)
        self._owner._settle()


def _part(self: Queue[Any], number: int, waiters: _Waiters) -> Any:
    """Return a new lock (0), or a condition on the queue's lock."""
    if number == 0:
        return Lock()
    return Condition(self.mutex) if self._hooked else _QueueCondition(self, waiters)


_set_queue_parts(Empty, Full, ShutDown, deque, _put, _get, _join, _task_done, _shut_down, _part)
