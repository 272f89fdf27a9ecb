"""What takes the place of methods of `multiprocessing`: its connections, and its locks.

Its processes are the standard ones. Connections keep functions of `os` of their own. Locks are
semaphores of the system, which block a thread.
"""

from __future__ import annotations

import atexit
import functools
import os
import time
from multiprocessing import connection, util
from typing import Any

from stackless._stackless import _cooperates, _give_way
from stackless.monkey.waiting import Patch, ask

_util: Any = util

#: Seconds between the first two attempts to acquire a lock.
_FIRST_PAUSE = 0.0005


def _sends(standard: Any) -> Any:
    @functools.wraps(standard)
    def _send(self: Any, buf: Any, *write: Any) -> Any:
        return standard(self, buf, *(write or (os.write,)))

    return _send


def _receives(standard: Any) -> Any:
    @functools.wraps(standard)
    def _recv(self: Any, size: int, *read: Any) -> Any:
        return standard(self, size, *(read or (os.read,)))

    return _recv


def _acquires(standard: Any) -> Any:
    """Return a method that acquires a lock; `standard(lock, blocking, timeout)` does so."""

    def acquire(lock: Any, block: bool = True, timeout: float | None = None) -> bool:
        if not block or not _cooperates():
            done: bool = standard(lock, block, timeout)
            return done
        _give_way()
        until = None if timeout is None else time.monotonic() + timeout
        acquired: bool = ask(lambda: standard(lock, False), bool, until, _FIRST_PAUSE)
        return acquired

    return acquire


def _of_locks(kind: Any) -> list[Patch]:
    """Return the patches of the class SemLock, whose objects have `acquire` of their own."""
    acquire: Any = _acquires(lambda lock, *arguments: lock._semlock.acquire(*arguments))
    make_methods = getattr(kind._make_methods, "_stackless_standard", kind._make_methods)

    def _make_methods(self: Any) -> None:
        make_methods(self)
        self.acquire = functools.partial(acquire, self)

    def __enter__(self: Any) -> bool:
        acquired: bool = acquire(self)
        return acquired

    _make_methods._stackless_standard = make_methods  # type: ignore[attr-defined]
    return [(kind, "_make_methods", _make_methods), (kind, "__enter__", __enter__)]


def exit_before_tasklets() -> None:
    """Let `multiprocessing` end what it has begun, in tasklets for example, before these end."""
    atexit.unregister(_util._exit_function)
    atexit.register(_util._exit_function)


def of_multiprocessing() -> list[Patch]:
    """The patches of connections and locks. Locks that exist already stay as they are."""
    kind: Any = connection.Connection
    patches: list[Patch] = []
    for name, make in ("_send", _sends), ("_recv", _receives):
        standard = vars(kind)[name]
        patches.append((kind, name, make(getattr(standard, "__wrapped__", standard))))
    try:
        from multiprocessing.synchronize import SemLock
    except ImportError:  # a system without semaphores
        return patches
    return patches + _of_locks(SemLock)
