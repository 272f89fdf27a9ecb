"""Conditions and barriers, on the engine's locks and its queue of those that wait."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from threading import BrokenBarrierError
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from stackless._stackless import Lock, RLock, _Waiters

__all__ = ["Barrier", "BrokenBarrierError", "Condition"]

_T = TypeVar("_T")

#: In the place of what a lock needs to be acquired again, while it is still held.
_HELD: Any = object()


class Condition:
    """A lock, and the queue of those that wait until something has changed.

    As `threading.Condition`. lock: what has acquire() and release(), such as a Lock; None for a new
    RLock.
    """

    def __init__(self, lock: Any = None) -> None:
        self._lock = RLock() if lock is None else lock
        self._waiters = _Waiters()
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        self._release_save = getattr(self._lock, "_release_save", self._lock.release)
        self._acquire_restore = getattr(self._lock, "_acquire_restore", self._acquire_again)
        self._is_owned = getattr(self._lock, "_is_owned", self._is_locked)

    def _acquire_again(self, state: Any) -> None:
        self._lock.acquire()

    def _is_locked(self) -> bool:
        """True if the lock is held: that of a plain lock does not say by which tasklet."""
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True

    def locked(self) -> bool:
        """Return True if the lock is held."""
        held: bool = self._lock.locked()
        return held

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._waiters = _Waiters()

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        return self._lock.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__}({self._lock!r}, {len(self._waiters)})>"

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, and acquire the lock again.

        Returns True, or False when `timeout` seconds are over; None for no limit. The lock is held
        again then, also if an exception is raised. RuntimeError if the caller does not hold it.
        """
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        saved = [_HELD]
        try:
            return self._waiters.wait(timeout, self._release_save, saved)
        finally:
            if saved[0] is not _HELD:
                self._acquire_restore(saved[0])

    def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
        """Wait until `predicate()` is true or `timeout` seconds are over; return its result."""
        until = None if timeout is None else monotonic() + timeout
        while not (result := predicate()):
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the first `n` that wait; they continue once they have the lock. Never switches.

        RuntimeError if the caller does not hold the lock.
        """
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        self._waiters.notify(n)

    def notify_all(self) -> None:
        """Wake all that wait. RuntimeError if the caller does not hold the lock."""
        self.notify(len(self._waiters))

    def notifyAll(self) -> None:
        """Do what `notify_all()` does. Deprecated, as in `threading`."""
        warnings.warn(
            "notifyAll() is deprecated, use notify_all() instead", DeprecationWarning, stacklevel=2
        )
        self.notify_all()


class Barrier(threading.Barrier):
    """A place where `parties` tasklets or threads wait until all have come: `threading.Barrier`.

    action: called by one of them before they continue. timeout: the default of wait(), in seconds.
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], None] | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(parties, action, timeout)
        self._cond = Condition(Lock())
