"""The decorators, and what is called inside of a workflow. Frames of these are in its snapshots."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

import stackless
from stackless.durable.records import RECEIVE, SLEEP, STEP, UPGRADE
from stackless.durable.requests import (
    Request,
    Seconds,
    ask,
    current_run,
    in_seconds,
    name_of,
    wait,
)

P = ParamSpec("P")
R = TypeVar("R")

# ------------------------------------------------------------------ workflows


@dataclasses.dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """How a workflow is kept."""

    function: Callable[..., Any] | None = None
    #: Whether it is saved at each step, or only where it waits.
    each_step: bool = True
    #: Bytes of a snapshot above which there is a warning.
    snapshot_limit: int = 1 << 20
    #: Whether the snapshots of all steps are kept.
    history: bool = False
    #: Whether it may be run again with its recorded results.
    replay: bool = False


#: By name, as the store has it.
workflows: dict[str, WorkflowOptions] = {}


def workflow_named(name: str) -> WorkflowOptions:
    """Return a workflow; its module is imported if necessary. LookupError if there is none."""
    if name not in workflows:
        importlib.import_module(name.partition(":")[0])
    if name not in workflows:
        raise LookupError(f"there is no workflow {name}")
    return workflows[name]


def check_workflow(function: Callable[..., Any]) -> str:
    """Return the name of a workflow. ValueError if it is none."""
    name = name_of(function)
    found = workflows.get(name)
    if found is None or found.function is not function:
        raise ValueError(f"{name} is no workflow: decorate it with durable.workflow")
    return name


def _check_place(kind: str, function: Callable[..., Any]) -> None:
    if "<locals>" in function.__qualname__:
        raise ValueError(f"a {kind} must not be inside of a function: {function.__qualname__}")


@overload
def workflow(function: Callable[P, R]) -> Callable[P, R]: ...


@overload
def workflow(
    function: None = None,
    *,
    snapshot: str = "step",
    snapshot_limit: int = 1 << 20,
    history: bool = False,
    replay: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def workflow(
    function: Callable[..., Any] | None = None,
    *,
    snapshot: str = "step",
    snapshot_limit: int = 1 << 20,
    history: bool = False,
    replay: bool = False,
) -> Any:
    """Decorator: a function that can be started as a workflow, `app.start(function, ...)`.

    The store has it by its module and qualified name, so it must be found by these. It stays the
    function that it is: a call of it is an ordinary call. `snapshot`: "step", it is saved with each
    step; or "wait", only where it waits: after a crash it continues there, and the steps that
    follow get their recorded results. `snapshot_limit`: bytes; the first snapshot that is larger is
    logged as a warning, with the variables that make it large. `history`: the snapshots of all
    steps are kept, so that it can be forked at each. `replay`: where its snapshot cannot be loaded,
    as by another version of Python, it is run again from its beginning with its recorded results.
    Raises ValueError for a function inside of another one, and for arguments that make no sense.
    """
    if function is None:
        return functools.partial(
            workflow,
            snapshot=snapshot,
            snapshot_limit=snapshot_limit,
            history=history,
            replay=replay,
        )
    _check_place("workflow", function)
    if snapshot not in ("step", "wait"):
        raise ValueError(f'snapshot must be "step" or "wait", not {snapshot!r}')
    if history and snapshot != "step":
        raise ValueError('history needs snapshot="step"')
    if snapshot_limit < 1:
        raise ValueError("snapshot_limit must be at least 1")
    workflows[name_of(function)] = WorkflowOptions(
        function, snapshot == "step", snapshot_limit, history, replay
    )
    return function


# ------------------------------------------------------------------ steps


class StepOptions:
    """How a step is done: its function, and what is done when it fails."""

    __slots__ = ("backoff", "function", "in_transaction", "name", "retries", "timeout")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any] | None,
        retries: int = 0,
        backoff: Callable[[int], float] | None = None,
        timeout: float | None = None,
        in_transaction: bool = False,
    ) -> None:
        self.name = name
        #: None if this process has no such step.
        self.function = function
        self.retries = retries
        self.backoff = backoff or exponential(1.0)
        self.timeout = timeout
        #: Whether it gets a connection, and is committed with its record.
        self.in_transaction = in_transaction

    def __reduce__(self) -> tuple[Any, ...]:
        return step_named, (self.name,)


#: By name.
steps: dict[str, StepOptions] = {}


def step_named(name: str) -> StepOptions:
    """Return a step; its module is imported if necessary. Without a function if there is none.

    A step that has been done may be gone: the frame of its last call refers to it.
    """
    if name not in steps:
        try:
            importlib.import_module(name.partition(":")[0])
        except ImportError:
            return StepOptions(name, None)
    return steps.get(name) or StepOptions(name, None)


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
    return _call_of(StepOptions(name_of(function), function, retries, backoff, limit))


def transaction(
    function: Callable[..., R] | None = None,
    *,
    retries: int = 0,
    backoff: Callable[[int], float] | None = None,
) -> Any:
    """Decorator: a step whose writes into the store's own database commit together with its record.

    So they happen exactly once. The function gets a connection as its first argument, which its
    call in a workflow leaves out: a `sqlite3.Connection`, or that of psycopg. It runs in the thread
    that writes, while other workflows' records wait, so it should be short, and it must not
    commit, roll back or switch. Its arguments are copies. When it raises, what it has written is
    undone, and the exception is recorded. `retries` and `backoff` are those of `step`. Outside of a
    workflow the call is an ordinary call, with a connection.
    """
    if function is None:
        return functools.partial(transaction, retries=retries, backoff=backoff)
    if retries < 0:
        raise ValueError("retries must not be negative")
    _check_place("transaction", function)
    return _call_of(StepOptions(name_of(function), function, retries, backoff, None, True))


def _call_of(options: StepOptions) -> Callable[..., Any]:
    # A parameter: a variable of the frame, which can be deleted, as that of a closure cannot.
    @functools.wraps(options.function)  # type: ignore[arg-type]
    def call(*args: Any, _durable_step: StepOptions = options, **kwargs: Any) -> Any:
        run = current_run()
        if run is None:
            return _durable_step.function(*args, **kwargs)  # type: ignore[misc]
        request = Request(STEP, _durable_step.name, ((_durable_step.name, args, kwargs),))
        del args, kwargs, _durable_step  # the request has what it needs
        # As `wait` does it, without a second frame: there is a snapshot for each step.
        ask(run, request)
        del run
        stackless.schedule_remove()
        return request.outcome()

    call.__durable_step__ = options  # type: ignore[attr-defined]
    steps[options.name] = options
    return call


def idempotency_key() -> str:
    """Return a text that is the same each time when this step of this workflow is tried.

    RuntimeError if it is not called by a step of a workflow, in the step's own tasklet.
    """
    key = getattr(stackless.getcurrent(), "key", None)
    if not isinstance(key, str):
        raise RuntimeError("there is no step of a workflow here")
    return key


# ------------------------------------------------------------------ waiting


def sleep(time: Seconds) -> None:
    """Wait for a time, in seconds or a timedelta: the workflow is a row in the store meanwhile.

    RuntimeError outside of a workflow.
    """
    wait(Request(SLEEP, "", seconds=in_seconds(time)))


def receive(topic: str, *, timeout: Seconds | None = None, default: Any = None) -> Any:
    """Return the oldest message of a topic that was sent to this workflow; wait if there is none.

    The workflow is a row in the store while it waits. After `timeout`, in seconds or a timedelta,
    `default` is returned. RuntimeError outside of a workflow, TypeError for another topic than a
    str.
    """
    if not isinstance(topic, str):
        raise TypeError(f"a topic must be a str, not {type(topic).__name__}")
    seconds = None if timeout is None else in_seconds(timeout)
    return wait(Request(RECEIVE, topic, seconds=seconds, value=default))


def upgrade_point(name: str, state: Any) -> None:
    """Mark where newer code may take the place of this workflow: `app.migrate(ids, to=function)`.

    Then the workflow continues as `function(state)`, and the caller is dropped where it is. If no
    migration was asked for, it continues. The state is kept in the store, so that a workflow that
    fails later can be migrated as well. RuntimeError outside of a workflow.
    """
    if not isinstance(name, str):
        raise TypeError(f"a name must be a str, not {type(name).__name__}")
    wait(Request(UPGRADE, name, ((name, (state,), {}),)))
