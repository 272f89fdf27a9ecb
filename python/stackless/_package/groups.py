"""`stackless.TaskGroup`, the functions that make cancel scopes, and `stackless.map`.

The engine has the scopes themselves (`CancelScope`), the tree of them, and the end of a group's
block. Here is what is built on them: the policy for the errors of a group's tasklets, and names for
the usual kinds of scopes.
"""

from __future__ import annotations

import contextvars
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar

from stackless import _stackless

_T = TypeVar("_T")
_R = TypeVar("_R")


def move_on_after(seconds: float | None) -> _stackless.CancelScope:
    """Return a cancel scope whose block ends, without an error, when `seconds` have passed.

    `with move_on_after(5) as scope: ...`; then `scope.expired` says whether the time has ended the
    block. None and infinity set no limit; with 0 the first call that would wait ends the block.
    Raises TypeError if seconds is not a number, ValueError if it is negative or NaN.
    """
    return _stackless.CancelScope(seconds)


def fail_after(seconds: float | None) -> _stackless.CancelScope:
    """Return a cancel scope that ends its block with TimeoutError when `seconds` have passed.

    As move_on_after() otherwise. Unlike `timeout`, which raises once and in the tasklet that has
    entered it only, the scope cancels all that is done inside it, until the block is left.
    """
    return _stackless.CancelScope(seconds, fail=True)


def shield(timeout: float | None = None) -> _stackless.CancelScope:
    """Return a cancel scope that cancellation from outside does not reach: for cleaning up.

    Calls in its block wait as usual although a scope around it is cancelled. `timeout`, in seconds,
    ends the block, so that cleaning up does not take for ever; None is no limit. Errors as for
    move_on_after(). kill() and `with timeout()` are not held off.
    """
    return _stackless.CancelScope(timeout, shield=True)


class Backoff:
    """How long a group waits before it starts a failed tasklet again: see `TaskGroup`.

    first: seconds before the first new start. factor: each further wait is this many times longer.
    longest: the longest wait; after a run of at least this time the waits begin with `first` again.
    attempts: the number of new starts in a row, None for no limit; after the last one the
    exception counts. Raises TypeError for what is not a number, ValueError for numbers that make
    no sense.
    """

    __slots__ = ("attempts", "factor", "first", "longest")

    def __init__(
        self,
        first: float = 0.1,
        factor: float = 2.0,
        longest: float = 30.0,
        attempts: int | None = None,
    ) -> None:
        if not 0 <= first <= longest:
            raise ValueError("first must not be negative, nor greater than longest")
        if not factor >= 1:
            raise ValueError("factor must be at least 1")
        if attempts is not None and attempts < 0:
            raise ValueError("attempts must not be negative")
        self.first = first
        self.factor = factor
        self.longest = longest
        self.attempts = attempts

    def __repr__(self) -> str:
        return (
            f"stackless.Backoff(first={self.first!r}, factor={self.factor!r}, "
            f"longest={self.longest!r}, attempts={self.attempts!r})"
        )


class TaskGroup(_stackless._Group):
    """A block that starts tasklets, and ends when all of them have ended.

        with stackless.TaskGroup() as group:
            group.start(fetch, first_url)
            group.start(fetch, second_url)

    If one of them raises an exception, or the block does, the others are cancelled; when all have
    ended, the exceptions are raised together, as an ExceptionGroup, also if there is only one.
    KeyboardInterrupt and SystemExit are raised as they are, and the others are their context. A
    tasklet that is killed (TaskletExit) just ends.
    cancel() ends the block without an error. A tasklet that has entered the block and is killed
    cancels the others, and waits for them before it ends.

    on_error: "cancel" is the rule above; with "log" an Exception of a tasklet is logged (to the
    logger "stackless"), and the others continue. restart: True, or a Backoff, starts a tasklet
    that has raised an Exception again after a pause, and logs the exception.

    A group is a CancelScope: reason, deadline and the rest apply to it. Raises TypeError or
    ValueError for other arguments; RuntimeError if it is entered twice, or left by another tasklet.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        on_error: Literal["cancel", "log"] = "cancel",
        restart: bool | Backoff = False,
    ) -> None:
        if on_error not in ("cancel", "log"):
            raise ValueError(f'on_error must be "cancel" or "log", not {on_error!r}')
        if not isinstance(restart, (bool, Backoff)):
            raise TypeError(f"restart must be a bool or a Backoff, not {type(restart).__name__}")
        super().__init__()
        if restart or on_error == "log":
            backoff = Backoff() if restart is True else restart or None
            self._supervise(_Supervisor(on_error == "log", backoff).call)

    @property
    def tasklets(self) -> list[_stackless.tasklet]:
        """list: the tasklets of the group that have not ended, in the order of their start."""
        return self._members


class _Supervisor:
    """Calls the functions of a group's tasklets as `on_error` and `restart` say."""

    __slots__ = ("backoff", "log")

    def __init__(self, log: bool, backoff: Backoff | None) -> None:
        self.log = log
        self.backoff = backoff

    def call(
        self, function: Callable[..., _R], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> _R | None:
        failures, pause = 0, 0.0
        while True:
            began = time.monotonic()
            try:
                return function(*arguments, **keywords)
            except Exception as error:
                backoff = self.backoff
                if backoff is not None and time.monotonic() - began >= backoff.longest:
                    failures = 0
                again = backoff is not None and backoff.attempts not in (failures,)
                if not again and not self.log:
                    raise
                if again:
                    assert backoff is not None
                    grown = pause * backoff.factor if failures else backoff.first
                    pause = min(grown, backoff.longest)
                    failures += 1
                _report(error, pause if again else None)
            if not again:
                return None
            _stackless.sleep(pause)


def _report(error: Exception, pause: float | None) -> None:
    """Log the exception of the running tasklet; `pause` is the time until it starts again."""
    import logging

    what = "ended" if pause is None else f"starts again after {pause:g} s"
    logging.getLogger("stackless").error(
        "%r of a task group failed, and %s", _stackless.getcurrent(), what, exc_info=error
    )


def map(
    function: Callable[[_T], _R], items: Iterable[_T], limit: int = 20, ordered: bool = True
) -> Iterator[_R]:
    """Return an iterator over function(item) for all items, computed by up to `limit` tasklets.

    Tasklets are started while the results are taken, in the calling tasklet's context; not more
    than `limit` items are being worked on, or wait to be taken, at a time. The results have the
    order of the items or, with ordered=False, that in which they are ready. An exception of the
    function, or of the items, is raised by the iterator. It ends the iteration, and so does its
    close(): the tasklets are cancelled, and have ended then.
    Raises TypeError if function is not callable or items cannot be iterated, ValueError if limit is
    less than 1.
    """
    if not callable(function):
        raise TypeError("map() needs a callable")
    if limit < 1:
        raise ValueError("limit must be at least 1")
    return _results(function, iter(items), limit, ordered)


class _Task:
    """One call that `map` makes in a tasklet, which can be cancelled."""

    __slots__ = ("error", "result", "scope", "tasklet")

    def __init__(
        self, function: Callable[[_T], _R], item: _T, done: Callable[[_Task], None]
    ) -> None:
        self.error: BaseException | None = None
        self.result: Any = None
        self.scope = _stackless.CancelScope()
        self.tasklet = _stackless.tasklet(self._run).set_context(contextvars.copy_context())
        self.tasklet(function, item, done)

    def _run(self, function: Callable[[_T], _R], item: _T, done: Callable[[_Task], None]) -> None:
        try:
            with self.scope:
                self.result = function(item)
        except BaseException as error:
            self.error = error
        finally:
            done(self)


def _results(
    function: Callable[[_T], _R], items: Iterator[_T], limit: int, ordered: bool
) -> Iterator[_R]:
    started: deque[_Task] = deque()
    finished: deque[_Task] = deque()
    ready = _stackless.channel()
    ready.preference = 1  # a call that is done ends before the caller continues

    def done(task: _Task) -> None:
        if not ordered:
            finished.append(task)
            if ready.balance < 0:
                ready.send(None)

    more = True
    try:
        while True:
            while more and len(started) < limit:
                try:
                    item = next(items)
                except StopIteration:
                    more = False
                else:
                    started.append(_Task(function, item, done))
            if not started:
                return
            while not ordered and not finished:
                ready.receive()
            task = started[0] if ordered else finished.popleft()
            task.tasklet.join()
            started.remove(task)
            if task.error is not None:
                raise task.error
            yield task.result
    finally:
        for task in started:
            task.scope.cancel()
        with shield():
            for task in started:
                task.tasklet.join()
