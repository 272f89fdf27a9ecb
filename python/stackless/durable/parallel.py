"""Children of a workflow, and steps in parallel. Frames of these are in snapshots."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from stackless.durable.calls import StepOptions, check_workflow
from stackless.durable.records import GATHER, JOIN, START
from stackless.durable.requests import (
    Call,
    Request,
    Seconds,
    in_seconds,
    wait,
)


class Child:
    """A workflow that another one has started. It may be kept in variables and given to steps."""

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        self.id = id

    def __repr__(self) -> str:
        return f"<child workflow {self.id!r}>"

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Child) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return Child, (self.id,)

    def join(self, timeout: Seconds | None = None) -> Any:
        """Wait until it has ended; return its result, or raise its exception.

        The caller, a workflow, is a row in the store meanwhile. Raises TimeoutError after
        `timeout`, in seconds or a timedelta; WorkflowFailed if the exception cannot be pickled;
        WorkflowCancelled; RuntimeError outside of a workflow, where `app.handle(child.id)` helps.
        """
        seconds = None if timeout is None else in_seconds(timeout)
        return wait(Request(JOIN, self.id, seconds=seconds))

    result = join


def start(function: Callable[..., Any], /, *args: Any, id: str | None = None, **kwargs: Any) -> Any:
    """Start a child of the calling workflow, in the transaction that records this call.

    Returns a `Child`. `id`: its name, by default that of the caller with "/" and the number of this
    call. If there is a workflow with this id, nothing is started, and the child is that one. A
    child continues when its parent has ended, and is cancelled with it. RuntimeError outside of a
    workflow, ValueError for a function that is no workflow, TypeError for another id than a str,
    and what `stackless.dumps` raises for arguments that cannot be pickled.
    """
    request = Request(START, check_workflow(function), value=id)
    if id is not None and not isinstance(id, str):
        raise TypeError(f"an id must be a str, not {type(id).__name__}")
    request.calls = ((request.name, args, kwargs),)
    del function, args, kwargs
    return Child(wait(request))


def gather(
    *steps: Callable[[], Any] | Iterable[Callable[[], Any]],
    limit: int | None = None,
    return_exceptions: bool = False,
) -> list[Any]:
    """Do steps in parallel, and return their results in the order of the arguments.

    Each argument is a step, or `functools.partial(step, ...)` with its arguments; or there is one
    argument, an iterable of these (Python 3.11 cannot save a call with `*`). Each result is
    recorded on its own when it is there; after a crash only those that are missing are done. At
    most `limit` are done at a time, by default all. When all have ended, the exception of the first
    that has failed is raised, with a note if there are more; or with `return_exceptions` it is in
    the list instead. RuntimeError outside of a workflow, TypeError for what is no step.
    """
    if len(steps) == 1 and not callable(steps[0]):
        steps = tuple(steps[0])
    request = _gathering([_call(each) for each in steps], limit, return_exceptions)
    del steps
    return wait(request)  # type: ignore[no-any-return]


def map(
    step: Callable[..., Any],
    items: Iterable[Any],
    *,
    limit: int | None = 20,
    return_exceptions: bool = False,
) -> list[Any]:
    """Do a step for each item, at most `limit` of them at a time, as `gather` does."""
    name, args, keywords = _call(step)
    calls = [(name, (*args, item), keywords) for item in items]
    request = _gathering(calls, limit, return_exceptions)
    del step, items, args, keywords, calls
    return wait(request)  # type: ignore[no-any-return]


def _gathering(calls: list[Call], limit: int | None, collect: bool) -> Request:
    if limit is not None and limit < 1:
        raise ValueError("limit must be at least 1")
    return Request(GATHER, str(len(calls)), tuple(calls), limit=limit or 0, collect=collect)


def _call(step: Any) -> Call:
    """Return the step that is asked for, and its arguments."""
    function, args, keywords = step, (), {}
    if isinstance(step, functools.partial):
        function, args, keywords = step.func, step.args, step.keywords
    options = getattr(function, "__durable_step__", None)
    if not isinstance(options, StepOptions):
        raise TypeError(f"{function!r} is no step: decorate it with durable.step")
    return options.name, args, dict(keywords)
