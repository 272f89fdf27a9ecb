"""What the store of durable workflows takes and gives: plain data, no connection, no tasklet."""

from __future__ import annotations

import dataclasses

#: States of a workflow. READY: to be claimed; RUNNING: in a worker.
READY, RUNNING, SLEEPING, WAITING = "ready", "running", "sleeping", "waiting"
DONE, FAILED, STUCK = "done", "failed", "stuck"
#: Those after which nothing of the workflow runs any more. A stuck one may be repaired.
OVER = (DONE, FAILED)


STATUSES = (READY, RUNNING, SLEEPING, WAITING, DONE, FAILED, STUCK)


class DurableError(Exception):
    """The base class of the errors of durable workflows."""


class LeaseLost(DurableError):
    """Another worker has claimed the workflow: nothing of this one was written."""


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
class Claim:
    """A workflow that a worker has claimed. Only writes with this token are accepted."""

    id: str
    token: int
    function: str
    #: A blob: arguments if it has not begun, else its tasklet.
    snapshot: bytes
    begun: bool
    #: The number of steps that are recorded.
    steps: int


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A step that has ended."""

    number: int
    name: str
    began: float
    ended: float
    #: The text of its exception, or None.
    error: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Save:
    """What is written in one transaction. Its claim ends with it unless the status is RUNNING."""

    id: str
    token: int
    status: str
    #: None: the last one stays.
    snapshot: bytes | None = None
    #: When it is to be claimed again, in seconds since the epoch; None: never by itself.
    due: float | None = None
    #: The topic for whose message it waits.
    topic: str | None = None
    step: Step | None = None
    #: The number of a message that it has received.
    received: int | None = None
    #: Code objects of the snapshot, by digest.
    code: tuple[tuple[bytes, bytes], ...] = ()
    #: A blob of what the function returned or raised.
    result: bytes | None = None
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
    begun: bool
    steps: int
    due: float | None
    topic: str | None
    worker: str | None
    python: str
    created: float
    updated: float
    snapshot: bytes
    result: bytes | None
    error: str | None
