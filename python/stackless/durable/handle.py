"""`Handle`: one workflow, from outside of it."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import stackless
from stackless import pickling
from stackless.durable import values
from stackless.durable.records import (
    CANCELLED,
    FAILED,
    OVER,
    STUCK,
    Diverged,
    Info,
    NoSuchWorkflow,
    Step,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowStuck,
)
from stackless.durable.snapshots import Code
from stackless.durable.waiting import wait_for

if TYPE_CHECKING:
    from stackless.durable.app import App

_HERE = os.path.dirname(__file__)


class Handle:
    """A workflow, from outside of it."""

    def __init__(self, app: App, id: str) -> None:
        self._app = app
        self.id = id

    def __repr__(self) -> str:
        return f"<Handle of workflow {self.id!r}>"

    def _info(self) -> Info:
        info = self._app._store.info(self.id)
        if info is None:
            raise NoSuchWorkflow(f"there is no workflow {self.id!r}")
        return info

    def _has_ended(self) -> bool:
        return self.status() in (*OVER, STUCK)

    def status(self) -> str:
        """Return "ready", "running", "sleeping", "waiting", "paused", "stuck", or how it has ended.

        That is "done", "failed" or "cancelled".
        """
        status = self._app._store.status(self.id)
        if status is None:
            raise NoSuchWorkflow(f"there is no workflow {self.id!r}")
        return status

    def steps(self) -> list[Step]:
        """Return what is recorded: its steps, and all else for which it has asked."""
        return self._app._store.steps(self.id)

    def send(self, topic: str, value: Any) -> None:
        """Send a message. Returns when it is on the disk.

        WrongState if the workflow has ended, TypeError for another topic than a str.
        """
        if not isinstance(topic, str):
            raise TypeError(f"a topic must be a str, not {type(topic).__name__}")
        blob = values.dump(value, self._app._keys[0])
        wait_for(self._app._store.send(self.id, topic, blob))
        self._app._wake()

    def where(self) -> tuple[pickling.SavedFrame, ...]:
        """Return the calls of its last snapshot, outermost first; nothing of it is run.

        Also after it has failed. Those of this package are left out. Empty if there is no snapshot.
        """
        info = self._info()
        if info.snapshot is None:
            return ()
        found = pickling.inspect(
            info.snapshot,
            key=self._app._keys,
            max_size=None,
            code_store=Code(self._app._store, set()),
        )
        frames = found.tasklets[0].frames if found.tasklets else ()
        return tuple(each for each in frames if os.path.dirname(each.file) != _HERE)

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the workflow has ended; return its result, or raise its exception.

        A worker has to run in another thread or process. Raises TimeoutError after `timeout`
        seconds, WorkflowFailed if the exception cannot be pickled, WorkflowStuck.
        """
        pause, waited = 0.005, 0.0
        while not self._has_ended():
            if timeout is not None and waited >= timeout:
                raise TimeoutError(f"the workflow {self.id!r} has not ended")
            stackless.sleep(pause)
            waited += pause
            pause = min(0.2, pause * 1.5)
        info = self._info()
        if info.status == STUCK:
            kind = Diverged if (info.error or "").startswith("Diverged: ") else WorkflowStuck
            raise kind(f"{self.id!r}: {info.error}")
        if info.status == CANCELLED:
            raise WorkflowCancelled(f"the workflow {self.id!r} was cancelled")
        if info.status == FAILED and info.result is None:
            raise WorkflowFailed(f"{self.id!r}: {info.error}")
        value = None if info.result is None else values.load(info.result, self._app._keys)
        if isinstance(value, BaseException) and info.status == FAILED:
            raise value
        return value

    def error(self) -> str | None:
        """Return the traceback of the exception that has ended it, or why it is stuck; or None."""
        return self._info().error

    # -------------------------------------------------------------- control

    def cancel(self) -> None:
        """Cancel it, and its children: the durable call that it is in or makes next raises.

        That is `Cancelled`, once, so `finally` blocks can do steps. A step that is being done ends
        first. It is "cancelled" when the exception has left its function, and at once if it has not
        begun or is stuck. Returns when that is on the disk. WrongState if it has ended.
        """
        self._do(self._app._store.cancel(self.id))

    def pause(self) -> None:
        """Let it do nothing more until `resume`; a step that is being done ends first.

        Times run on, and messages may be sent. WrongState if it has ended or is stuck.
        """
        self._do(self._app._store.pause(self.id))

    def resume(self) -> None:
        """Let it continue. WrongState if it is not paused."""
        self._do(self._app._store.resume(self.id))

    def retry(self) -> None:
        """Let a failed workflow continue before the step that has failed; a stuck one, as it is.

        What is recorded from that step on is dropped; of steps in parallel those with an exception
        are done again. If it failed outside of steps it continues behind the last that is recorded.
        WrongState if it is neither failed nor stuck.
        """
        self._do(self._app._store.retry(self.id))

    def fork(self, step: int | None = None, id: str | None = None) -> Handle:
        """Start a copy of it that continues before a step, or from where it is; return its handle.

        `step`: a number of `steps()`. `id`: the name of the copy, by default a random one. The copy
        has what is recorded of the steps before. It begins with the nearest snapshot before the
        step: that of the step itself for workflows with `history=True`, for the last step and for
        steps that have failed. From there to the step it is run with the recorded results, so that
        it may become stuck with `Diverged`. Messages that were not received stay with the
        original, and children are not copied. ValueError for a step that it does not have,
        WrongState if there is a workflow `id`.
        """
        new = uuid.uuid4().hex if id is None else id
        if not isinstance(new, str):
            raise TypeError(f"an id must be a str, not {type(new).__name__}")
        self._do(self._app._store.fork(self.id, step, new))
        return Handle(self._app, new)

    def _do(self, future: Any) -> None:
        wait_for(future)
        self._app._wake()
