"""What a workflow asks its worker for. Requests are in snapshots, and so is the frame of `wait`.

They are small for that reason, and refer to nothing that belongs to a process: steps and workflows
are in them by name.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import stackless
from stackless import sync
from stackless.durable.records import GATHER

Seconds = float | datetime.timedelta

#: The name of a function, and what it is called with.
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Request:
    """Something that a workflow waits for."""

    __slots__ = (
        "began",
        "calls",
        "collect",
        "deadline",
        "done",
        "error",
        "kind",
        "last",
        "limit",
        "name",
        "number",
        "seconds",
        "tries",
        "value",
    )

    def __init__(
        self,
        kind: str,
        name: str,
        calls: tuple[Call, ...] = (),
        seconds: float | None = None,
        value: Any = None,
        limit: int = 0,
        collect: bool = False,
        number: int = 0,
        last: int = 0,
        began: float = 0.0,
        deadline: float | None = None,
        tries: int = 0,
        done: bool = False,
        error: BaseException | None = None,
    ) -> None:
        self.kind = kind
        #: Of a step or a workflow; the topic of a message; the id of a child.
        self.name = name
        #: The steps that are to be done, the workflow that is to be started.
        self.calls = calls
        #: How long to wait; None for no limit.
        self.seconds = seconds
        #: The outcome; before that, what `receive` returns after its time, the id of a new child.
        self.value = value
        #: How many steps are done at a time; 0 for all.
        self.limit = limit
        #: Whether exceptions are returned with the results.
        self.collect = collect
        #: Which of the workflow's requests it is, from 1: set when the worker first sees it.
        self.number = number
        #: The last number that belongs to it. The steps of GATHER have numbers of their own.
        self.last = last
        #: When the worker first saw it.
        self.began = began
        #: When the wait is over, since the epoch: set when the worker first sees the request.
        self.deadline = deadline
        #: How often a step has failed.
        self.tries = tries
        self.done = done
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return Request, (
            self.kind,
            self.name,
            self.calls,
            self.seconds,
            self.value,
            self.limit,
            self.collect,
            self.number,
            self.last,
            self.began,
            self.deadline,
            self.tries,
            self.done,
            self.error,
        )

    def begin(self, number: int, now: float) -> None:
        """Set the number and the time."""
        self.number, self.began = number, now
        self.last = number + (len(self.calls) if self.kind == GATHER else 0)

    def finish(self, value: Any, error: BaseException | None = None) -> None:
        """Set the outcome."""
        self.calls = ()
        self.value, self.error, self.done = value, error, True

    def outcome(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class Run:
    """A workflow in a worker, as its tasklet sees it."""

    def __init__(self) -> None:
        self.request: Request | None = None
        #: Is set when there is a request, or when it is over.
        self.event = sync.Event()


class WorkflowTasklet(stackless.tasklet[..., Any]):
    """The tasklet of a workflow. Its run is not pickled."""

    run_of: Run | None = None


class Driver(stackless.tasklet[..., Any]):
    """A tasklet of a worker that does what a workflow asks for. `key` is that of the step."""

    key: str | None = None


def current_run() -> Run | None:
    """Return the run of the workflow whose tasklet calls; None outside of workflows."""
    current = stackless.getcurrent()
    return current.run_of if isinstance(current, WorkflowTasklet) else None


def wait(request: Request) -> Any:
    """Pause the workflow until the worker has filled the request; return the outcome."""
    ask(current_run(), request)
    stackless.schedule_remove()
    return request.outcome()


def ask(run: Run | None, request: Request) -> None:
    """Let the worker do a request when the tasklet pauses. RuntimeError without a run."""
    if run is None:
        raise RuntimeError(f"{request.kind} waits in a workflow only, in its own tasklet")
    run.request = request
    run.event.set()


def in_seconds(time: Seconds) -> float:
    """Return a duration in seconds."""
    return time.total_seconds() if isinstance(time, datetime.timedelta) else float(time)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name that the store has for a function."""
    return f"{function.__module__}:{function.__qualname__}"
