"""Locks that make imports exclusive between tasklets, as they are between threads.

The import system has a lock for each module that is being imported. The standard locks belong to
the thread: while one tasklet waits in the body of a module, another tasklet of the thread would get
the module before its body has ended. The locks of this module belong to the tasklet. A tasklet that
has to wait for such a lock lets the other tasklets of its thread run; a thread without tasklets, or
in which nothing can switch, blocks as with the standard lock. As between threads, a caller that
would wait in a cycle gets the module as far as its body was executed.

The state of a lock stays consistent if a tasklet is interrupted, or if a finalizer imports a module
in between: each change is one operation of a dict or a list.
"""

from __future__ import annotations

import importlib
from _thread import allocate_lock, get_ident
from contextlib import suppress
from typing import Any

from stackless._stackless import _cooperates, _owner, _runs_others
from stackless._stackless import sleep as _sleep

_bootstrap: Any = importlib._bootstrap

#: Seconds between two attempts to take a lock that another tasklet holds.
_PAUSE = 0.001

#: The owners that wait, each with the lock that it waits for.
_waiting: list[tuple[int, ModuleLock]] = []


class ModuleLock:
    """A reentrant lock that belongs to a tasklet, or to a thread without tasklets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._held: dict[str, int] = {}
        self._count = 0
        self._thread = 0
        self._bells: list[Any] = []

    @property
    def owner(self) -> int | None:
        """The id of the tasklet or thread that holds the lock, None if it is free."""
        return self._held.get("by")

    def locked(self) -> bool:
        """Return True if the lock is held."""
        return bool(self._held)

    def acquire(self) -> bool:
        """Acquire the lock, once more if the caller holds it. Raises importlib's deadlock error."""
        me = _owner()
        if self._take(me):
            return True
        _waiting.append((me, self))
        try:
            while not self._take(me):
                cooperates = _cooperates()
                if self._is_deadlock(me, cooperates):
                    raise _bootstrap._DeadlockError(f"deadlock detected by {self!r}")
                if cooperates:
                    _sleep(_PAUSE)
                else:
                    self._wait_in_thread()
        finally:
            _waiting.remove((me, self))
        return True

    def _take(self, me: int) -> bool:
        if self._held.setdefault("by", me) != me:
            return False
        self._thread = get_ident()
        self._count += 1
        return True

    def _is_deadlock(self, me: int, cooperates: bool) -> bool:
        """True if the owner waits for a lock that the caller holds, or for the caller to end."""
        if not cooperates and self._held and self._thread == get_ident():
            return True  # the owner cannot run before the caller continues
        seen: set[int | None] = {None}
        asked = [self.owner]
        while asked:
            owner = asked.pop()
            if owner is None or owner in seen:
                continue
            if owner == me or _runs_others(owner):
                return True
            seen.add(owner)
            asked.extend(lock.owner for who, lock in tuple(_waiting) if who == owner)
        return False

    def _wait_in_thread(self) -> None:
        bell = allocate_lock()
        bell.acquire()
        self._bells.append(bell)
        if self._held:  # else it was released before the bell was there
            bell.acquire()

    def release(self) -> None:
        """Undo one acquire(). RuntimeError if the caller does not hold the lock."""
        if self.owner != _owner():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if self._count == 0:
            del self._held["by"]
            with suppress(IndexError):
                while True:
                    self._bells.pop().release()

    def __repr__(self) -> str:
        return f"_ModuleLock({self.name!r}) at {id(self)}"


def install() -> None:
    """Use these locks from now on; modules whose import has begun keep their locks."""
    _bootstrap._ModuleLock = ModuleLock
