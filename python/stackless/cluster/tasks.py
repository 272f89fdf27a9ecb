"""Tasklets of the cluster on one host: their start, their end, and who waits for it."""

from __future__ import annotations

import contextvars
import itertools
import logging
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import stackless
from stackless.cluster.records import DIRECTORY, Caller, ClusterError, HostLost, TaskletRow
from stackless.cluster.tasklets import ClusterTasklet, Here, Record, Task, stack_of
from stackless.cluster.values import Encoded, Parcel, why_not

if TYPE_CHECKING:
    from stackless.cluster.host import Host
    from stackless.cluster.keeping import Keeper

log = logging.getLogger("stackless.cluster")

#: Of how many tasklets a host remembers where they went.
_GONE = 100_000
#: How a tasklet ended; the last: it could not be loaded. The value is an exception then as well.
RETURNED, RAISED, BROKEN = range(3)


class Tasks:
    """The part of a host that has its tasklets, and knows those that it has started elsewhere."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self.here: dict[str, Here] = {}
        #: Those that have moved away from here, and where to.
        self.gone: dict[str, int] = {}
        #: Tasklets of this owner that have not ended.
        self.running: dict[str, Record] = {}
        #: How many of them are on each host; where they were last known to be.
        self.counts: Counter[int] = Counter()
        #: All whose result can still be asked for.
        self.records: weakref.WeakValueDictionary[str, Record] = weakref.WeakValueDictionary()
        #: Those of them whose handles have gone to other hosts.
        self.kept: dict[str, Record] = {}
        host.orders.update(spawn=self._spawn, ended=self._ended, disown=self._disown)
        host.calls.update(
            kill=self._kill, join=self._join, done=self._done, find=self._find, ps=self._ps
        )
        host.withdrawals.update(join=self._withdraw_join)

    # ------------------------------------------------------------------ the owner

    def spawn(self, to: int, name: str, parcel: Parcel, options: dict[str, Any]) -> Record:
        """Start a tasklet on a host; parcel: its function and arguments. From any thread."""
        record = Record(self.new_id(to), name, parcel, options)
        if self._host.keeper is not None:
            self._host.keeper.keep(record)
        self.begin(record, 1)
        return record

    def new_id(self, to: int) -> str:
        """Return the id of a tasklet that starts on a host."""
        return f"{to}.{self._host.id}.{next(self._numbers)}"

    def begin(self, record: Record, epoch: int) -> None:
        """Start a tasklet, or continue it from its checkpoint. From any thread."""
        tid, to = record.tid, record.place
        self.running[tid] = self.records[tid] = record
        self.counts[to] += 1
        self.start(record, epoch)
        if record.options.get("on_loss") != "restart":
            record.parcel = ()
        if to not in self._host.hosts:
            self._host.perform(self._host.helper, self._host.checkpoints.lost, to, "it left", [tid])

    def start(self, record: Record, epoch: int) -> None:
        """Have a tasklet begin at its place, or continue there from its checkpoint."""
        if record.checkpoint is not None:
            rest = record.checkpoint[1:]
            self._host.send(record.place, ("restore", record.tid, epoch, self._host.id, *rest))
            return
        message = "spawn", record.tid, epoch, self._host.id, record.name, record.parcel
        self._host.send(record.place, (*message, record.options))

    def place(self, record: Record, to: int) -> None:
        """A tasklet of this owner is on another host from now on."""
        self.counts[record.place] -= 1
        self.counts[to] += 1
        record.place = to

    def lost(self, record: Record, text: str, host: int, position: tuple[str, ...]) -> None:
        """A tasklet of this owner was lost with its host."""
        self.fail(record, HostLost(text, self._host.name_of(host), record.tid, position))

    def fail(self, record: Record, error: BaseException) -> None:
        """Nothing more will be heard of a tasklet of this owner."""
        self.finish(record, RAISED, self._host.codec.encode_error(error))

    def finish(self, record: Record, how: int, value: Encoded) -> None:
        """A tasklet of this owner has ended."""
        if self.running.pop(record.tid, None) is None:
            return
        self.counts[record.place] -= 1
        value = self._host.codec.keep(value)
        record.outcome = how, value
        record.checkpoint, record.parcel = None, ()
        for caller in record.joiners:
            self._host.answer(caller, [how, list(value)])
        record.joiners.clear()

    def _ended(self, sender: int, tid: str, epoch: int, how: int, value: Encoded) -> None:
        record = self.running.get(tid)
        if record is None:
            return
        keeper = self._host.keeper
        if keeper is None or how == BROKEN:
            self.finish(record, how, value)
        else:
            self._host.helper(self._finish_kept, keeper, record, how, value)

    def _finish_kept(self, keeper: Keeper, record: Record, how: int, value: Encoded) -> None:
        keeper.remove(record)
        self.finish(record, how, value)

    def _join(self, caller: Caller, tid: str) -> Any:
        record = self.records.get(tid)
        if record is None:
            raise LookupError(f"the result of the tasklet {tid} is not kept any more")
        if record.outcome is None:
            record.joiners.append(caller)
            return self._host.LATER
        how, value = record.outcome
        return [how, list(value)]

    def _done(self, caller: Caller, tid: str) -> bool:
        return tid not in self.running

    def _find(self, caller: Caller, tid: str) -> list[Any]:
        return [True, self._host.id] if tid in self.here else self.elsewhere(tid)

    def _withdraw_join(self, caller: Caller, tid: str) -> bool:
        record = self.records.get(tid)
        if record is None or caller not in record.joiners:
            return False
        record.joiners.remove(caller)
        return True

    # ------------------------------------------------------------------ the place

    def _spawn(
        self, sender: int, tid: str, epoch: int, owner: int, name: str, parcel: Parcel, options: Any
    ) -> None:
        tasklet = ClusterTasklet()
        tasklet.task = Task(tid, name, owner, dict(options))
        tasklet.task.epoch = epoch
        self.settle(tasklet, parcel)

    def settle(self, tasklet: ClusterTasklet, parcel: Parcel | None = None) -> Here:
        """A tasklet is on this host from now on. parcel: function and arguments of a new one."""
        here = Here(tasklet)
        tasklet.task.here = here
        tasklet.name = tasklet.task.name
        tasklet.set_context(contextvars.Context())
        self.here[tasklet.task.tid] = here
        self.gone.pop(tasklet.task.tid, None)
        here.loaded = parcel is None
        here.watcher = self._host.helper(self._watch, here, parcel)
        seconds = tasklet.task.options.get("checkpoint")
        if seconds is not None:
            here.checkpointer = self._host.helper(self._host.checkpoints.every, here, seconds)
        if self._host.id in self._host.draining:
            self._host.helper(self._host.moves.drain_one, here)
        return here

    def pickled(self, here: Here, refusal: type[ClusterError]) -> Parcel:
        """Return a tasklet with its task, pickled; raises the refusal with the reason."""
        try:
            return self._host.codec.dumps((here.tasklet, here.task))
        except Exception as error:
            reason = why_not(here.tasklet, error)
            raise refusal(f"{here.task.name!r} cannot be pickled: {reason}") from None

    def went(self, tid: str, to: int) -> None:
        """Remember where a tasklet has moved; the directory knows what was forgotten."""
        self.gone[tid] = to
        if len(self.gone) > _GONE:
            del self.gone[next(iter(self.gone))]

    def forget(self, here: Here) -> None:
        """A tasklet is not on this host any more; none of its code runs here from now on."""
        if self.here.get(here.task.tid) is here:  # otherwise it is back, before this was known
            del self.here[here.task.tid]
        here.task.here = None
        self._host.resources.give_back(here.task)
        for each in here.watcher, here.checkpointer:
            if each is not None:
                each.kill()
        if here.tasklet.scheduled and not here.tasklet.blocked:
            here.tasklet.remove()

    def _watch(self, here: Here, parcel: Parcel | None) -> None:
        """Wait for the end of a tasklet, and tell its owner."""
        if parcel is not None:
            self._host.resources.wait(here.task)
            try:
                function, args, kwargs = self._host.codec.loads(parcel)
                here.tasklet.bind(function, args, kwargs)
            except stackless.TaskletExit:
                raise
            except BaseException as error:
                self._over(here, BROKEN, error)
                return
            function = args = kwargs = parcel = None
            here.loaded = True
            here.tasklet.insert()
        try:
            value = here.tasklet.join()
        except stackless.TaskletExit:
            raise  # for this tasklet, not the other: it has moved, or this host ends
        except BaseException as error:
            self._over(here, RAISED, error)
        else:
            self._over(here, RETURNED, value)

    def _over(self, here: Here, how: int, value: Any) -> None:
        task, codec = here.task, self._host.codec
        if self.here.get(task.tid) is not here or self._host.leaving:
            return
        del self.here[task.tid]
        self._host.resources.give_back(task)
        if here.checkpointer is not None:
            here.checkpointer.kill(pending=True)
        if how == RETURNED:
            try:
                encoded = codec.encode(value)
            except Exception as error:
                error.add_note(f"the result of the tasklet cannot be sent: {why_not(value, error)}")
                how, value = RAISED, error
        if how != RETURNED:
            value.add_note(f"(in tasklet {task.tid} {task.name!r} on host {self._host.name})")
            encoded = codec.encode_error(value)
        self._tell_end(task.tid, task.epoch, task.owner, how, encoded)

    def _tell_end(self, tid: str, epoch: int, owner: int, how: int, value: Encoded) -> None:
        self._host.send(owner, ("ended", tid, epoch, how, value))
        if epoch > 1:
            self._host.send(DIRECTORY, ("end", tid, epoch))

    def broken(self, tid: str, epoch: int, owner: int, error: BaseException) -> None:
        """A tasklet cannot continue on this host, as its checkpoint cannot be loaded."""
        error.add_note(f"(the checkpoint of the tasklet {tid} on host {self._host.name})")
        self._tell_end(tid, epoch, owner, BROKEN, self._host.codec.encode_error(error))

    def _kill(self, caller: Caller, tid: str) -> Any:
        here = self.here.get(tid)
        if here is None:
            return self.elsewhere(tid)
        if here.held:
            self._host.helper(self._kill_later, caller, here)
            return self._host.LATER
        self._kill_here(here)
        return [True, self._host.id]

    def _kill_here(self, here: Here) -> None:
        if here.loaded:
            here.tasklet.kill(pending=True)
        else:
            assert here.watcher is not None
            here.watcher.kill(pending=True)
            self._over(here, RETURNED, None)

    def end_all(self) -> None:
        """This host ends: kill what is still on it. Its owners hear of the host's end instead."""
        self._host.leaving = True
        for here in list(self.here.values()):
            if not here.held and here.loaded:
                here.tasklet.kill(pending=True)

    def orphaned(self, owner: int) -> None:
        """A program has ended: kill what it has started."""
        for here in [each for each in self.here.values() if each.task.owner == owner]:
            if here.held:
                self._host.helper(self._kill_later, None, here)
            else:
                self._kill_here(here)

    def _disown(self, sender: int) -> None:
        """An owner has lost its job to another program, or leaves: kill what it keeps."""
        for here in list(self.here.values()):
            if here.task.owner == sender and here.task.options.get("on_loss") == "restart":
                if here.held:
                    self._host.helper(self._kill_later, None, here)
                else:
                    self._kill_here(here)

    def _kill_later(self, caller: Caller | None, here: Here) -> None:
        """Kill a tasklet that is on its way to another host, if it does not get there."""
        while here.held:
            here.gate.wait()
        found = self.here.get(here.task.tid)
        if found is not None:
            self._kill_here(found)
        if caller is not None:
            answer = self.elsewhere(here.task.tid) if found is None else [True, self._host.id]
            self._host.answer(caller, answer)

    def elsewhere(self, tid: str) -> list[Any]:
        """Return what a caller is told who looks for a tasklet that is not here."""
        return [False, self.gone.get(tid, -1)]

    # ------------------------------------------------------------------ looking

    def _ps(self, caller: Caller, count: bool) -> list[list[Any]]:
        if count:
            stackless.explain.keep_ages()
        seen = self.looked()
        return [list(self.row(each, seen)) for each in list(self.here.values())]

    def looked(self) -> dict[int, stackless.explain.TaskletInfo]:
        """Return what is known of the tasklets of this process, by their numbers."""
        return {each.serial: each for each in stackless.snapshot()} if self.here else {}

    def row(self, here: Here, seen: dict[int, stackless.explain.TaskletInfo]) -> TaskletRow:
        """Return what `ps()` shows of a tasklet."""
        task, info = here.task, seen.get(here.tasklet.number)
        return TaskletRow(
            self._host.name,
            task.tid,
            task.name,
            state(here, info),
            position(here.tasklet),
            self._host.name_of(task.owner),
            task.epoch,
            info.switches if info else 0,
        )


def state(here: Here, info: stackless.explain.TaskletInfo | None) -> str:
    """Return what a tasklet does, in words."""
    task, tasklet = here.task, here.tasklet
    if here.held:
        return "on its way to another host"
    if not here.loaded:
        return "not started"
    if task.request is not None and not task.request.answered:
        return task.request.about
    if tasklet.scheduled and not tasklet.blocked:
        return "runnable"
    return info.reason if info else "it has ended"


def position(tasklet: stackless.tasklet) -> str:
    """Return the innermost call of a tasklet that is not of this package."""
    for frame in stack_of(tasklet):
        if not frame.f_globals.get("__name__", "").startswith("stackless."):
            code = frame.f_code
            return f"{code.co_name} ({code.co_filename}:{frame.f_lineno})"
    return ""
