"""Tasklets of the cluster: what moves with one, and what its host knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import stackless
import stackless.sync
from stackless.cluster.records import Caller, host_of_birth
from stackless.cluster.values import Encoded, Parcel

if TYPE_CHECKING:
    from stackless.cluster.waiting import Request


class Task:
    """What is known of a tasklet of the cluster; it moves with the tasklet.

    options: what its owner wants, as `spawn()` got it.
    """

    def __init__(self, tid: str, name: str, owner: int, options: dict[str, Any]) -> None:
        self.tid = tid
        self.name = name
        self.owner = owner
        self.options = options
        self.epoch = 1
        #: What it waits for, if another host does it.
        self.request: Request | None = None
        #: Hosts to which it has sent values without waiting for them to arrive.
        self.sent_to: set[int] = set()
        self.here: Here | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "here": None}

    def resume(self) -> None:
        """Let it continue. In the thread of its host."""
        here = self.here
        if here is None:
            return
        if not here.held:
            here.tasklet.insert()
        elif here.answered.balance <= 0:
            here.answered.send(None)


class ClusterTasklet(stackless.tasklet):
    """A tasklet of the cluster."""

    task: Task


class Here:
    """A tasklet while it is on this host."""

    __slots__ = ("answered", "checkpointer", "gate", "held", "loaded", "tasklet", "task", "watcher")

    def __init__(self, tasklet: ClusterTasklet) -> None:
        self.tasklet = tasklet
        self.task = tasklet.task
        #: Waits for its end.
        self.watcher: stackless.tasklet | None = None
        #: False until its function and its arguments are known.
        self.loaded = False
        #: True while it is on its way to another host: it must not continue.
        self.held = False
        #: Helpers wait here until it is not held any more,
        self.gate = stackless.sync.Event()
        #: and here until its request was answered, while it is held.
        self.answered = stackless.channel(capacity=1)
        self.checkpointer: stackless.tasklet | None = None


class Record:
    """What the owner of a tasklet knows of it."""

    __slots__ = (
        *("__weakref__", "parcel", "checkpoint", "joiners", "name", "options", "outcome", "place"),
        *("over", "tid"),
    )

    def __init__(self, tid: str, name: str, parcel: Parcel, options: dict[str, Any]) -> None:
        self.tid = tid
        self.name = name
        #: Its function and its arguments, as long as it may be started again.
        self.parcel = parcel
        self.options = options
        #: None, or how it has ended, and the encoded result or exception.
        self.outcome: tuple[int, Encoded] | None = None
        self.joiners: list[Caller] = []
        #: True from when it is known that it has ended on.
        self.over = False
        #: The id of the host where it was last known to be.
        self.place = host_of_birth(tid)
        #: The epoch of its last checkpoint, whether it was to continue at once, the checkpoint, and
        #: the cluster and the id that the tasklet had then: "cluster/id". They are others if it was
        #: restored since.
        self.checkpoint: tuple[int, bool, Parcel, str] | None = None


def current_task() -> Task | None:
    """Return the task of the calling tasklet, None if it is not one of the cluster."""
    tasklet = stackless.getcurrent()
    return tasklet.task if isinstance(tasklet, ClusterTasklet) else None


def why_paused(tasklet: stackless.tasklet) -> str:
    """Return what a tasklet waits for, in words."""
    found = [each for each in stackless.snapshot() if each.serial == tasklet.number]
    return found[0].reason if found else "it has ended"


def stack_of(tasklet: stackless.tasklet) -> Iterator[FrameType]:
    """Return the frames of a tasklet, innermost first."""
    frame = tasklet.frame
    while frame is not None:
        yield frame
        frame = frame.f_back
