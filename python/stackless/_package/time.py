"""`stackless.timeout`, `run_tasklet` and `run_all`: time limits, and waiting for some tasklets."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from stackless import _stackless

_P = ParamSpec("_P")
_R = TypeVar("_R")


class timeout:
    """A context manager that raises TimeoutError when its block takes longer than `seconds`.

    The block may call anything that waits by means of tasklets: sleep(), channels, run(), library
    code that uses them. The exception is raised where the tasklet waits, or else at its next
    switching call; code that neither waits nor switches is not interrupted. Blocks may be nested:
    if several limits have expired, the innermost is raised first. None and infinity set no limit.

    Inside the block the exception is TimeoutExit, a BaseException, so that `except Exception` in
    library code does not catch it. At its end the block replaces its own TimeoutExit, and no other,
    by TimeoutError, or by `exception`, an instance or class, if that is given.

    The limit applies to the tasklet that enters the block; one object is for one block at a time.
    Raises TypeError if seconds is not a number, ValueError if it is negative or NaN, RuntimeError
    if it is entered twice.
    """

    __slots__ = ("_exception", "_expired", "_number", "_seconds")

    def __init__(
        self,
        seconds: float | None,
        exception: BaseException | type[BaseException] | None = None,
    ) -> None:
        try:
            fits = seconds is None or seconds >= 0
        except TypeError:
            given = type(seconds).__name__
            raise TypeError(f"seconds must be a number or None, not {given}") from None
        if not fits:
            raise ValueError("seconds must not be negative or NaN")
        self._seconds = seconds
        self._exception = exception
        self._expired = False
        self._number: int | None = None

    @property
    def seconds(self) -> float | None:
        """float or None: the limit in seconds."""
        return self._seconds

    @property
    def expired(self) -> bool:
        """bool: True if this limit ended its block."""
        return self._expired

    def __enter__(self) -> Self:
        if self._number is not None:
            raise RuntimeError("this timeout is in use by another block")
        self._expired = False
        self._number = _stackless._limit_start(self, self._seconds)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        number, self._number = self._number, None
        if number is not None:
            _stackless._limit_stop(number)
        if isinstance(error, _stackless.TimeoutExit) and error.args[:1] == (self,):
            self._expired = True
            if self._exception is not None:
                raise self._exception from error
            raise _stackless.TimeoutError(f"timed out after {self._seconds:g} s") from error

    def __reduce__(self) -> tuple[type[timeout], tuple[object, ...]]:
        # The copy of a tasklet that was pickled inside the block continues without a limit.
        return timeout, (self._seconds, self._exception)

    def __repr__(self) -> str:
        return f"stackless.timeout({self._seconds!r})"


class _Started(threading.local):
    """The tasklets that this thread's next run_all() waits for, in the order of their start."""

    def __init__(self) -> None:
        self.tasklets: list[_stackless.tasklet] = []


_started = _Started()


@overload
def run_tasklet(
    function: Callable[..., _R], /, *args: Any, name: str | None, **kwargs: Any
) -> _stackless.tasklet[..., _R]: ...


@overload
def run_tasklet(
    function: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs
) -> _stackless.tasklet[_P, _R]: ...


def run_tasklet(
    function: Callable[..., Any], /, *args: Any, name: Any = None, **kwargs: Any
) -> Any:
    """Start function(*args, **kwargs) as a tasklet that `run_all` waits for, and return it.

    It runs in a copy of the caller's context. The function's result is kept for tasklet.join().
    `name` is that of the tasklet. Raises TypeError if the function is not callable, or the name is
    not a str.
    """
    tasklet = _stackless.tasklet(function).set_context(contextvars.copy_context())
    if name is not None:
        tasklet.name = name
    tasklet._keep_result()
    tasklet(*args, **kwargs)
    _started.tasklets.append(tasklet)
    return tasklet


def run_all() -> list[Any]:
    """Run until all tasklets that this thread started with `run_tasklet` have ended.

    Returns their results in the order of their start. Tasklets that they start with `run_tasklet`
    meanwhile are waited for as well; other tasklets, which may be endless, are not. An exception
    that one of them does not catch is raised here; the others stay as they are, and another call
    waits for them. Raises RuntimeError if none of the remaining tasklets can continue (deadlock),
    or if the caller is one of them.
    """
    results = []
    while _started.tasklets:
        tasklet = _started.tasklets[0]
        try:
            results.append(tasklet.join())
        finally:
            if not tasklet.alive:
                _started.tasklets.remove(tasklet)
    return results
