"""A lock for code that may wait while it holds the lock, in threads with and without tasklets."""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from time import monotonic
from types import TracebackType

from stackless._stackless import _cooperates, getcurrentid
from stackless._stackless import sleep as _sleep

#: Seconds between two attempts to take a lock that another tasklet or thread holds (rare).
PAUSE = 0.002


class TaskletLock:
    """A reentrant lock, as `threading.RLock()`, that belongs to the tasklet that has acquired it.

    A tasklet that has to wait for it lets the others of its thread run. Where nothing can switch,
    the lock belongs to the thread, as the standard one does.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._thread = 0
        self._tasklet = 0
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock, once more if the caller holds it; return True if it was acquired.

        Waits at most `timeout` seconds, without a limit if that is negative, and not at all unless
        `blocking`. ValueError for a timeout without blocking.
        """
        if not blocking and timeout >= 0:
            raise ValueError("can't specify a timeout for a non-blocking call")
        thread, waits = get_ident(), _cooperates()
        tasklet = getcurrentid() if waits else thread
        if self._thread == thread and (self._tasklet == tasklet or not waits):
            self._count += 1
            return True
        if waits and blocking:
            until = monotonic() + timeout
            while not (acquired := self._lock.acquire(False)):
                if 0 <= timeout and until <= monotonic():
                    break
                _sleep(PAUSE)
        else:
            acquired = self._lock.acquire(blocking, timeout)
        if acquired:
            self._thread, self._tasklet, self._count = thread, tasklet, 1
        return acquired

    def release(self) -> None:
        """Undo one acquire(). RuntimeError if the calling thread does not hold the lock."""
        if self._thread != get_ident():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if self._count == 0:
            self._thread = self._tasklet = 0
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        # In a forked child the tasklets of the forking thread exist too: if one of them holds the
        # lock, it will release it.
        if self._thread != get_ident():
            self.__init__()  # type: ignore[misc]

    def __repr__(self) -> str:
        state = f"acquired {self._count} times" if self._count else "free"
        return f"<TaskletLock, {state}>"
