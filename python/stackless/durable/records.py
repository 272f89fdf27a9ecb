"""What the store of durable workflows takes and gives: plain data, no connection, no tasklet."""

from __future__ import annotations

import dataclasses

#: States of a workflow. READY: to be claimed; RUNNING: in a worker.
READY, RUNNING, SLEEPING, WAITING = "ready", "running", "sleeping", "waiting"
PAUSED, DONE, FAILED, CANCELLED, STUCK = "paused", "done", "failed", "cancelled", "stuck"
#: Those after which nothing of the workflow runs any more. A stuck one may be repaired.
OVER = (DONE, FAILED, CANCELLED)

#: Kinds of requests. GATHER: several steps in parallel; UPGRADE: an upgrade point.
STEP, GATHER, SLEEP, RECEIVE = "step", "gather", "sleep", "receive"
START, JOIN, UPGRADE = "start", "join", "upgrade_point"

STATUSES = (READY, RUNNING, SLEEPING, WAITING, PAUSED, DONE, FAILED, CANCELLED, STUCK)


class DurableError(Exception):
    """The base class of the errors of durable workflows."""


class LeaseLost(DurableError):
    """Another worker has claimed the workflow: nothing of this one was written."""


class WrongState(DurableError):
    """This cannot be done to a workflow in its state; the text names both."""


class WorkflowFailed(DurableError):
    """A workflow has failed with an exception that cannot be pickled; its traceback is the text."""


class WorkflowStuck(DurableError):
    """A workflow cannot be continued here; the text says why."""


class Diverged(WorkflowStuck):
    """A workflow that was run again asked for something else than what is recorded."""


class WorkflowCancelled(DurableError):
    """The workflow whose result was asked for was cancelled."""


class Cancelled(BaseException):
    """Is raised in a workflow that is cancelled, by the durable call that it is in or makes next.

    Once: in `finally` blocks durable calls work as ever. It is no subclass of Exception, so that
    `except Exception` does not hide it.
    """


class NoSuchWorkflow(DurableError, LookupError):
    """The store has no workflow with this id."""


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """A process that runs workflows."""

    id: str
    #: The name of the app whose workflows it runs.
    app: str
    #: Where its process can be looked for: a machine since it was started.
    machine: str
    pid: int
    #: When the process began, in clock ticks since the machine was started.
    began: int
    #: The Python whose snapshots it can load.
    python: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked of a workflow from outside, while a worker had it."""

    cancel: bool = False
    pause: bool = False
    #: The function that is to take its place.
    migrate: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A workflow that a worker has claimed. Only writes with this token are accepted."""

    id: str
    token: int
    function: str
    #: A blob: what the function is called with.
    arguments: bytes
    #: The number of its first request.
    entry: int
    #: A blob of its tasklet, or None if there is none yet.
    snapshot: bytes | None
    #: The number of the first request whose outcome is not in the snapshot.
    position: int
    #: The number of the last request that is recorded.
    steps: int
    wanted: Wanted


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A step of a workflow that has ended, or another request of it."""

    number: int
    #: The name of a step's or child's function, the topic of a message, the id of a joined child.
    name: str
    began: float
    ended: float
    #: The text of its exception, or None.
    error: str | None
    #: "step", "gather", "sleep", "receive", "start", "join" or "upgrade_point".
    kind: str = "step"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a request has given."""

    number: int
    kind: str
    name: str
    #: Whether the value is an exception.
    failed: bool
    #: A blob; None for what the request itself says, usually None.
    value: bytes | None


@dataclasses.dataclass(slots=True)
class Snapshot:
    """A saved tasklet."""

    #: A blob.
    data: bytes
    #: The number of the first request whose outcome is not in it.
    position: int
    #: Digests of the code that it needs, joined.
    codes: bytes


@dataclasses.dataclass(slots=True)
class Record:
    """A request that is done."""

    step: Step
    #: A blob of its value or exception; None for what the request itself says.
    value: bytes | None = None
    #: What the workflow was before it.
    snapshot: Snapshot | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """A workflow that is to be started."""

    id: str
    app: str
    function: str
    arguments: bytes
    parent: str | None = None


@dataclasses.dataclass(slots=True)
class Save:
    """What is written in one transaction. Its claim ends with it unless the status is RUNNING."""

    id: str
    token: int
    status: str
    #: None: the last one stays.
    snapshot: Snapshot | None = None
    #: The Pythons that can load it; "" for all.
    python: str = ""
    #: When it is to be claimed again, in seconds since the epoch; None: never by itself.
    due: float | None = None
    #: The topic for whose message it waits.
    topic: str | None = None
    #: The child for whose end it waits.
    awaits: str | None = None
    records: tuple[Record, ...] = ()
    #: The number of a message that it has received.
    received: int | None = None
    #: Children that it starts.
    starts: tuple[Start, ...] = ()
    #: The exception of its cancellation was raised in it.
    cancelled: bool = False
    #: An upgrade point that it has passed: a blob of the arguments of what takes its place.
    point: bytes | None = None
    #: The function that takes its place, with the arguments of the point.
    migrated: str | None = None
    #: Code objects of the snapshots, by digest.
    code: tuple[tuple[bytes, bytes], ...] = ()
    #: A blob of what the function returned or raised.
    result: bytes | None = None
    #: The number of the request whose exception has ended it.
    failed: int | None = None
    #: The traceback of its exception, or why it is stuck.
    error: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A message that was sent to a workflow and not received yet."""

    number: int
    #: A blob.
    value: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
    """What the store knows of a workflow."""

    id: str
    function: str
    status: str
    #: Whether there is a snapshot.
    begun: bool
    #: How many requests are recorded.
    steps: int
    due: float | None
    topic: str | None
    #: The child for whose end it waits, and the workflow whose child it is.
    awaits: str | None
    parent: str | None
    worker: str | None
    #: The Python that can load it, "" for all.
    python: str
    created: float
    updated: float
    snapshot: bytes | None
    result: bytes | None
    #: The number of the request whose exception has ended it.
    failed: int | None
    error: str | None

    @property
    def needs(self) -> str | None:
        """Which interpreter can load it, such as "CPython 3.12 on x86_64"; None for all."""
        return needed(self.python)


def needed(python: str) -> str | None:
    """Return which interpreter can load what a worker has noted the Python of; None for all."""
    name, version, *_, machine = python.split(" ") if python else ("", "", "")
    names = {"cpython": "CPython", "pypy": "PyPy"}
    return f"{names.get(name, name)} {version} on {machine}" if name else None
