"""Tasklets that change their place.

To move one: hold it where it waits, have what it asked of other hosts withdrawn, pickle it, and
ship the blob. The target loads it, asks the directory for permission, and lets it continue; then
the source forgets it. Until then it stays there, held, and continues there if anything goes wrong.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import stackless
from stackless.cluster.asking import ask
from stackless.cluster.records import (
    DIRECTORY,
    DONE,
    WITHDRAWN,
    Caller,
    HostLost,
    MoveRefused,
)
from stackless.cluster.tasklets import ClusterTasklet, Here, Task, why_paused
from stackless.cluster.values import Parcel

if TYPE_CHECKING:
    from stackless.cluster.host import Host

log = logging.getLogger("stackless.cluster")

#: How many seconds a host that ends tries to move a tasklet that cannot move, and how often.
_PATIENCE, _PAUSE = 3.0, 0.05


class Moves:
    """The part of a host that sends tasklets to other hosts, and takes them in."""

    def __init__(self, host: Host) -> None:
        self._host = host
        #: Tasklets that could not move away from this host, which is about to end.
        self.staying: set[str] = set()
        host.calls.update(move=self._move, go=self._go, arrive=self._arrive)

    # ------------------------------------------------------------------ away

    def _move(self, caller: Caller, tid: str, to: int) -> Any:
        here = self._host.tasks.here.get(tid)
        if here is None:
            return self._host.tasks.elsewhere(tid)
        self._host.helper(self._moving, here, to, caller)
        return self._host.LATER

    def _go(self, caller: Caller, to: int) -> Any:
        """A tasklet on this host wants to continue on another one."""
        here = self._host.here_of(caller)
        if here is None:
            raise MoveRefused("only a tasklet that was started with spawn() can go to another host")
        if to == self._host.id:
            return None
        self._host.helper(self._moving, here, to, caller, True)
        return self._host.LATER

    def _moving(self, here: Here, to: int, caller: Caller, going: bool = False) -> None:
        try:
            self.move(here, to)
        except Exception as error:
            self._host.fail(caller, error)
        else:
            if not going:  # otherwise the request has moved, and is answered over there
                self._host.answer(caller, [True, to])

    def move(self, here: Here, to: int) -> None:
        """Move a tasklet, in a helper. Raises MoveRefused with the reason; then it continues here.

        Returns without an error if it has ended, or has moved elsewhere meanwhile.
        """
        tasks, task = self._host.tasks, here.task
        while here.held:
            here.gate.wait()
        while not here.loaded and tasks.here.get(task.tid) is here:
            stackless.schedule()
        if tasks.here.get(task.tid) is not here or not here.tasklet.alive:
            return
        if to == self._host.id:
            return
        name = self._host.name_of(to)
        if to not in self._host.hosts or to in self._host.draining:
            raise MoveRefused(f"{task.name!r} cannot move to {name}, which has left or is leaving")
        other = self._host.other_python(to)
        if other:
            raise MoveRefused(f"{task.name!r} cannot move to {name}: {other}")
        here.held = True
        here.gate.clear()
        runnable = False
        try:
            runnable = self._hold(here)
            if not here.tasklet.alive:
                self._release(here, False)
                return
            self._flush(here, to)
            task.epoch += 1
            try:
                self._ship(here, to, runnable)
            except BaseException:
                task.epoch -= 1
                raise
        except BaseException:
            self._release(here, runnable)
            raise
        # It may have come back before the answer has: the answers of two hosts overtake each other.
        if tasks.here.get(task.tid) is here:
            tasks.went(task.tid, to)
        tasks.forget(here)
        here.held = False
        here.gate.set()

    def _hold(self, here: Here) -> bool:
        """Make sure that a tasklet stays as it is. True if it is to continue at once elsewhere."""
        task, tasklet = here.task, here.tasklet
        request = task.request
        if request is not None and request.limited:
            # The limit would not move, and could let it continue while it is on its way.
            raise MoveRefused(f"{task.name!r} cannot move inside of a time limit or cancel scope")
        if request is not None and not request.answered:
            if request.op != "go":
                self._host.withdraw(request)
                while not request.answered:
                    here.answered.receive()
                if request.status == WITHDRAWN and not request.timed_out:
                    request.answered = False
                    return False
                return True
            return False
        if tasklet.scheduled and not tasklet.blocked:
            tasklet.remove()
            return True
        reason = why_paused(tasklet)
        raise MoveRefused(f"{task.name!r} cannot move: it waits for its own host: {reason}")

    def _release(self, here: Here, runnable: bool) -> None:
        """Let a tasklet that was held continue here."""
        here.held = False
        here.gate.set()
        request = here.task.request
        if request is not None and not request.answered:
            if not self._host.waits_for(request):  # it was withdrawn
                self._host.submit(request)
        elif here.tasklet.alive and (runnable or request is not None):
            here.tasklet.insert()

    def _flush(self, here: Here, to: int) -> None:
        """Wait until what it sent without waiting has arrived: later values must not overtake."""
        for home in here.task.sent_to - {to, self._host.id}:
            if home in self._host.hosts:
                ask(self._host.cluster, home, "ping", about="moving a tasklet")
        here.task.sent_to.clear()

    def _ship(self, here: Here, to: int, runnable: bool) -> None:
        task, host, name = here.task, self._host, self._host.name_of(to)
        parcel = host.tasks.pickled(here, MoveRefused)
        arguments = task.tid, task.epoch, host.id, runnable, parcel
        try:
            ask(host.cluster, to, "arrive", *arguments, about=f"moving {task.name!r} to {name}")
        except HostLost as error:
            about = f"looking for {task.name!r}"
            # Of this epoch, it has been there, wherever it is now.
            if ask(host.cluster, DIRECTORY, "where", task.tid, about=about)[1] < task.epoch:
                raise MoveRefused(f"{task.name!r} cannot move to {name}: {error}") from error

    # ------------------------------------------------------------------ here

    def _arrive(
        self, caller: Caller, tid: str, epoch: int, source: int, runnable: bool, parcel: Parcel
    ) -> Any:
        self._host.helper(self._arriving, caller, tid, epoch, source, runnable, parcel)
        return self._host.LATER

    def _arriving(
        self, caller: Caller, tid: str, epoch: int, source: int, runnable: bool, parcel: Parcel
    ) -> None:
        host = self._host
        refused = f"the host {host.name} refuses the tasklet {tid}"
        try:
            tasklet, task = host.codec.loads(parcel)
        except BaseException as error:
            text = f"{refused}: {type(error).__name__}: {error}"
            host.fail(caller, MoveRefused(text))
            return
        try:
            if not isinstance(tasklet, ClusterTasklet) or not isinstance(task, Task):
                raise MoveRefused(f"{refused}: the blob has none")
            if (task.tid, task.epoch) != (tid, epoch):
                raise MoveRefused(f"{refused}: the blob has another one")
            tasklet.task = task
            if host.id in host.draining:
                raise MoveRefused(f"{refused}: it is leaving")
            if not host.resources.fit(task):
                raise MoveRefused(f"{refused}: it has no {task.options['resources']} free")
            about = "asking whether a tasklet may continue"
            if not ask(host.cluster, DIRECTORY, "arrive", tid, epoch, source, about=about):
                raise MoveRefused(f"{refused}: epoch {epoch} is over, this is an old copy")
        except Exception as error:
            host.fail(caller, error)
            return
        self.settle(tasklet, runnable)
        host.answer(caller, None)

    def settle(self, tasklet: ClusterTasklet, runnable: bool) -> None:
        """Let a tasklet that has arrived continue."""
        self._host.resources.take(tasklet.task)
        self._host.tasks.settle(tasklet)
        tasklet.task.sent_to.clear()
        request = tasklet.task.request
        if request is not None and not request.answered:
            if request.op in ("go", "checkpoint"):
                request.answer(DONE, None)
            else:
                self._host.submit(request)
        elif runnable:
            tasklet.insert()

    # ------------------------------------------------------------------ ends of hosts

    def drain(self) -> None:
        """Move all tasklets to other hosts, in a helper. What cannot move stays."""
        for here in list(self._host.tasks.here.values()):
            self._host.helper(self.drain_one, here)

    def drain_one(self, here: Here) -> None:
        """Move a tasklet to any other host, in a helper; try for some seconds."""
        host = self._host
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                to = host.idlest(but=host.id, needs=here.task.options.get("resources"))
                host.expect(to)
                self.move(here, to)
            except Exception as error:
                if time.monotonic() < until:
                    stackless.sleep(_PAUSE)
                    continue
                log.warning("a tasklet stays on %s, which is leaving: %s", host.name, error)
                self.staying.add(here.task.tid)
            return
