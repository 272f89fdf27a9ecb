"""What a tasklet or a thread waits for that another host does: a request.

A tasklet of the cluster waits with `schedule_remove()`, called by Python code alone, so that it can
be pickled meanwhile. Its request is one of its variables: it moves with it, and is made again at
the new place. Others (native threads, main tasklets, tasklets that a program has started itself)
wait in a channel.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import stackless
from stackless.cluster.records import WITHDRAWN

if TYPE_CHECKING:
    from stackless.cluster.tasklets import Task

#: The target of a request to the host of the caller, wherever it is.
LOCAL = -1


class Request:
    """Something that a host is asked to do, and the answer.

    about: for people, what it is. `answered` and the rest are set by the host of the caller.
    """

    __slots__ = (
        *("target", "op", "arguments", "about", "number", "deadline", "answered", "status"),
        *("value", "task", "gate", "timed_out", "host"),
    )

    def __init__(
        self,
        target: int,
        op: str,
        arguments: tuple[Any, ...],
        about: str,
        timeout: float | None = None,
    ) -> None:
        self.target = target
        self.op = op
        self.arguments = arguments
        self.about = about
        #: Where and as what it is known, or was when it was answered.
        self.host = self.number = 0
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.answered = False
        self.timed_out = False
        self.status = WITHDRAWN
        self.value: Any = None
        self.task: Task | None = None
        self.gate: stackless.channel | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What moves: the time that is left instead of the deadline."""
        state = {name: getattr(self, name) for name in self.__slots__}
        state["gate"] = None
        if self.deadline is not None:
            state["deadline"] = self.deadline - time.monotonic()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        if self.deadline is not None:
            self.deadline += time.monotonic()

    def answer(self, status: int, value: Any) -> None:
        """Keep the answer, and let the caller continue. In the thread of the host."""
        if self.answered:
            return
        self.status = status
        self.value = value
        self.answered = True
        if self.task is not None:
            self.task.resume()
        elif self.gate is not None:
            self.gate.send(None)


def pause(request: Request) -> None:
    """Wait until the request was answered. Raises what is raised in the calling tasklet."""
    if request.task is None:
        assert request.gate is not None
        request.gate.receive()
        return
    while not request.answered:
        stackless.schedule_remove(None)
