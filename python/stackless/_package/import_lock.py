"""Imports are exclusive between tasklets, as they are between threads.

The import system has a lock for each module that is being imported. The standard ones belong to
the thread: while one tasklet waits in the body of a module, another would get the module half made.
These belong to the tasklet. One that has to wait for such a lock lets the others of its thread run;
a thread without tasklets, or where nothing can switch, blocks as before. As between threads, a
caller that would wait in a cycle gets the module as far as it is executed.

Nothing here is left half done if a tasklet is interrupted, or a finalizer imports something in
between: each change is one operation of a dict or a list.
"""

from __future__ import annotations

import importlib
from _thread import allocate_lock, get_ident
from contextlib import suppress
from typing import Any

from stackless._stackless import _cooperates, _owner, _runs_others
from stackless._stackless import sleep as _sleep

_bootstrap: Any = importlib._bootstrap

#: Seconds between two looks at the lock of another tasklet.
_PAUSE = 0.001

#: Who waits for which lock.
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
        """Who has it."""
        return self._held.get("by")

    def locked(self) -> bool:
        """Whether anybody has it."""
        return bool(self._held)

    def acquire(self) -> bool:
        """Acquire it, once more if the caller has it. importlib's error if that is a deadlock."""
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
        """Does the owner wait for what the caller has, or for the caller to end?"""
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
        if self._held:  # else it was given back before
            bell.acquire()

    def release(self) -> None:
        """Release it, as often as it was acquired. RuntimeError if it is not the caller's."""
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
    """From now on; modules whose import has begun keep their locks."""
    _bootstrap._ModuleLock = ModuleLock
