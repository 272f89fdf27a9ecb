"""Checkpoints: pickled tasklets that their owner keeps, to continue them when a host was lost."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import stackless
from stackless.cluster.asking import ask, current_host
from stackless.cluster.records import DIRECTORY, FAILED, Caller, ClusterError, host_of_birth
from stackless.cluster.tasklets import ClusterTasklet, Here, Record, Task, why_paused
from stackless.cluster.values import Parcel
from stackless.cluster.waiting import LOCAL

if TYPE_CHECKING:
    from stackless.cluster.host import Host
    from stackless.cluster.keeping import Keeper

log = logging.getLogger("stackless.cluster")

_PACKAGE = os.path.dirname(__file__)


class Checkpoints:
    """The part of a host that makes checkpoints of its tasklets, and keeps those that it owns."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.calls.update(checkpoint=self._wanted, checkpointed=self._keep)
        host.orders.update(restore=self._restore)

    # ------------------------------------------------------------------ making

    def every(self, here: Here, seconds: float) -> None:
        """Make a checkpoint again and again, in a helper, until the tasklet leaves this host."""
        warned = False
        while True:
            stackless.sleep(seconds)
            try:
                self._make(here)
            except ClusterError as error:
                if not warned:
                    log.warning("no checkpoint: %s", error)
                warned = True

    def _wanted(self, caller: Caller) -> Any:
        """A tasklet on this host asks for a checkpoint of itself."""
        here = self._host.here_of(caller)
        if here is None:
            raise ClusterError("only a tasklet that was started with spawn() has checkpoints")
        self._host.helper(self._make_for, here, caller)
        return self._host.LATER

    def _make_for(self, here: Here, caller: Caller) -> None:
        try:
            self._make(here)
        except Exception as error:
            self._host.fail(caller, error)
        else:
            self._host.answer(caller, None)

    def _make(self, here: Here) -> None:
        """Have the owner keep a checkpoint. Raises ClusterError if there can be none now."""
        task, host = here.task, self._host
        if here.held or not here.loaded or not here.tasklet.alive:
            return
        request = task.request
        waits = request is not None and not request.answered
        runnable = here.tasklet.scheduled and not here.tasklet.blocked
        if not waits and not runnable:
            reason = why_paused(here.tasklet)
            raise ClusterError(f"{task.name!r} waits for its own host: {reason}")
        parcel = host.tasks.pickled(here, ClusterError)
        arguments = task.tid, task.epoch, not waits, parcel
        ask(host.cluster, task.owner, "checkpointed", *arguments, about="sending a checkpoint")

    # ------------------------------------------------------------------ keeping

    def _keep(self, caller: Caller, tid: str, epoch: int, runnable: bool, parcel: Parcel) -> Any:
        record = self._host.tasks.running.get(tid)
        if record is None or (record.checkpoint is not None and record.checkpoint[0] > epoch):
            return None
        record.checkpoint = epoch, runnable, self._host.codec.keep(parcel), self._origin(tid)
        keeper = self._host.keeper
        if keeper is None:
            return None
        self._host.helper(self._store, keeper, caller, record)
        return self._host.LATER

    def _origin(self, tid: str) -> str:
        return f"{self._host.cluster}/{tid}"

    def _store(self, keeper: Keeper, caller: Caller, record: Record) -> None:
        try:
            keeper.keep(record)
        except Exception as error:
            self._host.fail(caller, error)
        else:
            self._host.answer(caller, None)

    def lost(self, host: int, why: str, moved: list[str]) -> None:
        """See what becomes of the tasklets of this owner that were on a lost host; in a helper."""
        tasks, name = self._host.tasks, self._host.name_of(host)
        mine = [
            each.tid
            for each in list(tasks.running.values())
            if host_of_birth(each.tid) == host or each.place == host or each.tid in moved
        ]
        if not mine:
            return
        about = f"asking what was on {name}"
        for tid, epoch in ask(self._host.cluster, DIRECTORY, "claim", host, mine, about=about):
            record = tasks.running.get(tid)
            if record is None:
                continue
            text = f"the tasklet {tid} was on the host {name}, which was lost: {why}"
            try:
                if record.options.get("on_loss") == "restart" and self._again(
                    record, epoch + 1, host
                ):
                    continue
            except Exception as error:
                text = f"{text}; it could not be restarted: {error}"
            tasks.lost(record, text, host, self._position(record))

    def _again(self, record: Record, epoch: int, lost: int) -> bool:
        """Continue a tasklet on another host. False if the directory does not allow it."""
        host = self._host
        to = host.idlest(but=lost, needs=record.options.get("resources"))
        about = "restarting a tasklet"
        if not ask(host.cluster, DIRECTORY, "take", record.tid, epoch, to, about=about):
            return False
        host.tasks.place(record, to)
        host.tasks.start(record, epoch)
        if to not in host.hosts:
            # It was lost before it was told, and nothing else would notice.
            host.helper(self.lost, to, "it was lost", [record.tid])
        return True

    def _position(self, record: Record) -> tuple[str, ...]:
        """Return the calls of a tasklet at its last checkpoint."""
        if record.checkpoint is None:
            return ()
        found = stackless.pickling.inspect(record.checkpoint[2][0], max_size=None)
        return tuple(
            f"{each.function} ({each.file}:{each.line})"
            for saved in found.tasklets[:1]
            for each in saved.frames
            if os.path.dirname(each.file) != _PACKAGE
        )

    # ------------------------------------------------------------------ continuing

    def _restore(self, sender: int, tid: str, epoch: int, owner: int, *what: Any) -> None:
        self._host.helper(self._restoring, tid, epoch, owner, *what)

    def _restoring(
        self, tid: str, epoch: int, owner: int, runnable: bool, parcel: Parcel, origin: str
    ) -> None:
        host = self._host
        about = "asking whether a tasklet may continue"
        if tuple(ask(host.cluster, DIRECTORY, "where", tid, about=about)) != (host.id, epoch):
            log.warning("an old copy of the tasklet %s was refused", tid)
            return
        try:
            tasklet, task = host.codec.loads(parcel)
            if not isinstance(tasklet, ClusterTasklet) or not isinstance(task, Task):
                raise ClusterError("this is no checkpoint")
            if task.tid != origin.partition("/")[2]:
                raise ClusterError("this is a checkpoint of another tasklet")
        except BaseException as error:
            host.tasks.broken(tid, epoch, owner, error)
            return
        task.tid, task.epoch, task.owner = tid, epoch, owner
        tasklet.task = task
        if not origin.startswith(self._origin("")) and self._uprooted(task):
            runnable = True
        host.moves.settle(tasklet, runnable)

    def _uprooted(self, task: Task) -> bool:
        """Let a tasklet of an earlier cluster wait no more for what was there. True if it did."""
        request = task.request
        if request is None or request.answered or request.op in ("checkpoint", "go", "sleep"):
            return False
        text = f"the cluster has ended in which {task.name!r} was {request.about}"
        request.answer(FAILED, self._host.codec.encode_error(ClusterError(text)))
        return True


def checkpoint() -> None:
    """Have the owner of the calling tasklet keep a checkpoint of it, and wait until it does.

    If the host is lost, a tasklet that was started with `on_loss="restart"` continues from here on
    another one, with what it has sent since then being sent again. Raises ClusterError with the
    reason if the tasklet cannot be pickled, or was not started with `spawn()`.
    """
    ask(current_host().cluster, LOCAL, "checkpoint", about="making a checkpoint")
