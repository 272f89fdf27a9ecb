"""Loops that ask again and again, in programs written for threads.

A native thread that asks in a loop whether something has happened is interrupted by the
interpreter. A tasklet is not: it would keep all others of its OS thread from running, so that
nothing could happen. So in tasklets that are threads some of the calls that do not wait let the
others run before. (In other tasklets they never do.) The primitives of `stackless.sync` and the
other patched calls do this themselves; here are methods that are Python code of the library.
"""

from __future__ import annotations

import functools
import queue
import subprocess
import threading
from collections.abc import Callable
from queue import Full
from typing import Any

from stackless._stackless import _give_way
from stackless.monkey.waiting import Patch


def _patch(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Return the patch of a method: what `make` makes of the standard one."""
    found = vars(owner)[name]
    standard = getattr(found, "_stackless_standard", found)
    call: Any = functools.wraps(standard)(make(standard))
    call._stackless_standard = standard
    return owner, name, call


def _asks(standard: Any) -> Any:
    def call(self: Any) -> Any:
        _give_way()
        return standard(self)

    return call


def _acquires(standard: Any) -> Any:
    def acquire(self: Any, blocking: bool = True, timeout: float | None = None) -> Any:
        acquired = standard(self, blocking, timeout)
        if not acquired:
            _give_way()
        return acquired

    return acquire


def _waits(standard: Any) -> Any:
    def wait(self: Any, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            _give_way()
        return standard(self, timeout)

    return wait


def _gets(standard: Any) -> Any:
    def get(self: Any, block: bool = True, timeout: float | None = None) -> Any:
        _give_way()
        return standard(self, block, timeout)

    return get


def _puts(standard: Any) -> Any:
    def put(self: Any, item: Any, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return standard(self, item, block, timeout)
        except Full:
            _give_way()
            raise

    return put


def of_threading() -> list[Patch]:
    """Those that do not use a lock, or one that is free, or that the caller holds."""
    return [
        _patch(threading.Event, "is_set", _asks),
        _patch(threading.Semaphore, "acquire", _acquires),
        _patch(threading.Condition, "wait", _waits),
        _patch(threading.Thread, "is_alive", _asks),
    ]


def of_os() -> list[Patch]:
    """A method that keeps a standard function of its own."""
    return [_patch(subprocess.Popen, "poll", _asks)]


def of_queue() -> list[Patch]:
    """The queues that are made of locks."""
    kind = queue.Queue
    patches = [_patch(kind, "get", _gets), _patch(kind, "put", _puts)]
    return patches + [_patch(kind, name, _asks) for name in ("empty", "full", "qsize")]
