"""What is called inside of a workflow. The frames of these functions are in its snapshots.

They are short for that reason, and refer to nothing that belongs to a process: a call makes a
`Request`, which the worker fills with the outcome, and pauses its tasklet until then.
"""

from __future__ import annotations

import datetime
import functools
import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import stackless
from stackless import sync

P = ParamSpec("P")
R = TypeVar("R")

STEP, SLEEP, RECEIVE = "step", "sleep", "receive"

Seconds = float | datetime.timedelta


class Request:
    """Something that a workflow waits for. In a snapshot that was taken after a step it is done."""

    __slots__ = (
        "arguments",
        "deadline",
        "done",
        "error",
        "kind",
        "name",
        "seconds",
        "step",
        "value",
    )

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        #: Of a step; the topic of a message.
        self.name = name
        #: What a step is to do; None in snapshots.
        self.step: StepOptions | None = None
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        #: How long to wait; None for no limit.
        self.seconds: float | None = None
        #: When that is over, since the epoch: set when the worker first sees the request.
        self.deadline: float | None = None
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def finish(self, value: Any, error: BaseException | None = None) -> None:
        """Set the outcome."""
        self.step = self.arguments = None
        self.value, self.error, self.done = value, error, True

    def outcome(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class Run:
    """A workflow in a worker."""

    __slots__ = ("error", "event", "id", "over", "request", "steps", "tasklet", "token", "value")

    def __init__(self, id: str, token: int, steps: int) -> None:
        self.id = id
        self.token = token
        self.steps = steps
        self.tasklet: WorkflowTasklet
        self.request: Request | None = None
        #: Is set when there is a request, or when it is over.
        self.event = sync.Event()
        self.over = False
        self.value: Any = None
        self.error: BaseException | None = None


class WorkflowTasklet(stackless.tasklet[..., Any]):
    """The tasklet of a workflow. Its run is not pickled."""

    run_of: Run | None = None


def _run() -> Run | None:
    current = stackless.getcurrent()
    return current.run_of if isinstance(current, WorkflowTasklet) else None


def wait(request: Request) -> Any:
    """Pause the workflow until the worker has filled the request; return the outcome."""
    _ask(request)
    stackless.schedule_remove()
    return request.outcome()


def _ask(request: Request) -> None:
    run = _run()
    if run is None:
        raise RuntimeError(f"{request.kind} waits in a workflow only, in its own tasklet")
    run.request = request
    run.event.set()


# ------------------------------------------------------------------ workflows

#: By name, as the store has it.
workflows: dict[str, Callable[..., Any]] = {}


def workflow_named(name: str) -> Callable[..., Any]:
    """Return a workflow; its module is imported if necessary. LookupError if there is none."""
    if name not in workflows:
        importlib.import_module(name.partition(":")[0])
    if name not in workflows:
        raise LookupError(f"there is no workflow {name}")
    return workflows[name]


def _check_place(kind: str, function: Callable[..., Any]) -> None:
    if "<locals>" in function.__qualname__:
        raise ValueError(f"a {kind} must not be inside of a function: {function.__qualname__}")


def name_of(function: Callable[..., Any]) -> str:
    """Return the name that the store has for a function."""
    return f"{function.__module__}:{function.__qualname__}"


def workflow(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: a function that can be started as a workflow, `app.start(function, ...)`.

    The store has it by its module and qualified name, so it must be found by these. It stays the
    function that it is: a call of it is an ordinary call. Raises ValueError for a function inside
    of another one.
    """
    _check_place("workflow", function)
    workflows[name_of(function)] = function
    return function


# ------------------------------------------------------------------ steps


class StepOptions:
    """How a step is done: its function, and what is done when it fails."""

    __slots__ = ("backoff", "function", "name", "retries", "timeout")

    def __init__(
        self,
        function: Callable[..., Any],
        retries: int,
        backoff: Callable[[int], float],
        timeout: float | None,
    ) -> None:
        self.function = function
        self.name = name_of(function)
        self.retries = retries
        self.backoff = backoff
        self.timeout = timeout
        steps[self.name] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return step_named, (self.name,)


#: By name.
steps: dict[str, StepOptions] = {}


def step_named(name: str) -> StepOptions:
    """Return a step; its module is imported if necessary. LookupError if there is none."""
    if name not in steps:
        importlib.import_module(name.partition(":")[0])
    if name not in steps:
        raise LookupError(f"there is no step {name}")
    return steps[name]


def exponential(
    first: float, *, factor: float = 2.0, maximum: float = 60.0
) -> Callable[[int], float]:
    """Return a back-off: `first` seconds before the first retry, then `factor` times as long."""
    return lambda retry: min(maximum, first * factor ** (retry - 1))


def step(
    function: Callable[P, R] | None = None,
    *,
    retries: int = 0,
    backoff: Callable[[int], float] | None = None,
    timeout: Seconds | None = None,
) -> Any:
    """Decorator: a function whose result is recorded when a workflow calls it.

    It may run more than once, if the worker ends before the record is on the disk; once it is
    recorded it does not run again. `retries`: how often it is repeated after an exception (of
    Exception), before that is raised in the workflow. `backoff(n)`: seconds before retry n, from 1;
    by default `exponential(1.0)`. `timeout`: seconds, or a timedelta, after which a try fails with
    TimeoutError, where it waits. Outside of a workflow the call is an ordinary call. Raises
    ValueError for negative `retries`, and for a function inside of another one.
    """
    if function is None:
        return functools.partial(step, retries=retries, backoff=backoff, timeout=timeout)
    if retries < 0:
        raise ValueError("retries must not be negative")
    _check_place("step", function)
    limit = None if timeout is None else in_seconds(timeout)
    options = StepOptions(function, retries, backoff or exponential(1.0), limit)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        if _run() is None:
            return options.function(*args, **kwargs)
        request = _step_request(options, (args, kwargs))
        del args, kwargs  # snapshots do not need them
        return wait(request)

    return call


def _step_request(options: StepOptions, arguments: Any) -> Request:
    request = Request(STEP, options.name)
    request.step, request.arguments = options, arguments
    return request


class Driver(stackless.tasklet[..., Any]):
    """The tasklet of a worker that does what a workflow asks for. `key` is that of the step."""

    key: str | None = None


def idempotency_key() -> str:
    """Return a text that is the same each time when this step of this workflow is tried.

    RuntimeError if it is not called by a step of a workflow, in the step's own tasklet.
    """
    key = getattr(stackless.getcurrent(), "key", None)
    if not isinstance(key, str):
        raise RuntimeError("there is no step of a workflow here")
    return key


# ------------------------------------------------------------------ waiting


def in_seconds(time: Seconds) -> float:
    """Return a duration in seconds."""
    return time.total_seconds() if isinstance(time, datetime.timedelta) else float(time)


def sleep(time: Seconds) -> None:
    """Wait for a time, in seconds or a timedelta: the workflow is a row in the store meanwhile.

    RuntimeError outside of a workflow.
    """
    request = Request(SLEEP, "")
    request.seconds = in_seconds(time)
    wait(request)


def receive(topic: str, *, timeout: Seconds | None = None, default: Any = None) -> Any:
    """Return the oldest message of a topic that was sent to this workflow; wait if there is none.

    The workflow is a row in the store while it waits. After `timeout`, in seconds or a timedelta,
    `default` is returned. RuntimeError outside of a workflow, TypeError for another topic than a
    str.
    """
    if not isinstance(topic, str):
        raise TypeError(f"a topic must be a str, not {type(topic).__name__}")
    request = Request(RECEIVE, topic)
    request.seconds = None if timeout is None else in_seconds(timeout)
    request.value = default
    return wait(request)
