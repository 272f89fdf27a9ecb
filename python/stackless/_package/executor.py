"""`stackless.TaskletExecutor`: the interface of `concurrent.futures` with tasklets as workers."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, ParamSpec, TypeVar

from stackless import _stackless

_P = ParamSpec("_P")
_R = TypeVar("_R")


class TaskletFuture(Future[_R]):
    """The future of a call that a tasklet makes.

    result() and exception() let only the calling tasklet wait. A thread that does not use tasklets
    waits as for any other future.
    """

    _tasklet: _stackless.tasklet
    _executor: TaskletExecutor

    def _wait(self, timeout: float | None) -> bool:
        """Wait in the calling tasklet until the call has ended. False if its thread has to wait."""
        if self.done():
            return True
        if threading.get_ident() != self._executor._thread and not _stackless._cooperates():
            return False
        try:
            self._tasklet.join(timeout)
        except _stackless.TimeoutError:
            if not self.done():
                raise FutureTimeoutError from None
        return True

    def result(self, timeout: float | None = None) -> _R:
        """Return what the call returned, or raise what it raised.

        Raises TimeoutError after `timeout` seconds, CancelledError if the future was cancelled.
        """
        return super().result(0 if self._wait(timeout) else timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None. Errors as for result()."""
        return super().exception(0 if self._wait(timeout) else timeout)

    def cancel(self) -> bool:
        """Cancel the call if it has not begun. Returns False if it has."""
        if not super().cancel():
            return False
        self._executor._forget(self)
        return True


class TaskletExecutor(Executor):
    """An executor of `concurrent.futures` whose calls run in tasklets of the thread that made it.

    max_workers: the maximum number of calls at a time; None for no limit. The calls run while that
    thread runs tasklets: in run(), or when its main tasklet waits, as in result(). submit() may be
    called in any thread; the call runs in a copy of the caller's context.
    Raises TypeError or ValueError unless max_workers is None or an integer above 0.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None:
            if not isinstance(max_workers, int):
                given = type(max_workers).__name__
                raise TypeError(f"max_workers must be an integer or None, not {given}")
            if max_workers <= 0:
                raise ValueError("max_workers must be greater than 0")
        self._max_workers = max_workers
        self._thread = threading.get_ident()
        _stackless.getcurrent()  # this thread uses tasklets from now on
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: deque[TaskletFuture[Any]] = deque()
        self._all: dict[TaskletFuture[Any], None] = {}
        self._shut_down = False

    def submit(
        self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> TaskletFuture[_R]:
        """Call fn(*args, **kwargs) in a tasklet; return a future for its result.

        Raises RuntimeError after shutdown(), or if the executor's thread has ended.
        """
        future: TaskletFuture[_R] = TaskletFuture()
        future._executor = self
        tasklet = _stackless.tasklet(self._work).set_context(contextvars.copy_context())
        tasklet.bind(None, (future, fn, args, kwargs))
        future._tasklet = tasklet
        if self._thread != threading.get_ident():
            tasklet.bind_thread(self._thread)
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._all[future] = None
            self._waiting.append(future)
        self._start_more()
        return future

    def _start_more(self) -> None:
        """Start calls that wait, as many as may run."""
        while True:
            with self._lock:
                if not self._waiting or self._running == self._max_workers:
                    return
                future = self._waiting.popleft()
                if not future.set_running_or_notify_cancel():
                    continue
                self._running += 1
            future._tasklet.insert()

    def _work(
        self,
        future: TaskletFuture[_R],
        fn: Callable[..., _R],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        try:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        finally:
            with self._lock:
                self._running -= 1
                self._all.pop(future, None)
            self._start_more()

    def _forget(self, future: TaskletFuture[Any]) -> None:
        """Drop the call of a cancelled future, which has not begun."""
        with self._lock:
            if self._all.pop(future, self) is self:
                return
            waits = future in self._waiting
            if waits:
                self._waiting.remove(future)
        # Those that wait by as_completed() and wait() are told, unless _start_more() has done it.
        if waits:
            future.set_running_or_notify_cancel()
        future._tasklet.kill(pending=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, return when those that were submitted have ended.

        cancel_futures: those that have not begun are cancelled.
        """
        with self._lock:
            self._shut_down = True
            waiting = list(self._waiting) if cancel_futures else []
        for future in waiting:
            future.cancel()
        while wait and self._all:
            future = next(iter(self._all))
            try:
                future.exception()
            except CancelledError:
                pass
            if future._tasklet.alive and not future._tasklet.is_current:
                future._tasklet.join()
