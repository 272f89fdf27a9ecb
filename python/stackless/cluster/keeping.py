"""Checkpoints in a durable store: tasklets that outlive the scheduler and all workers.

A program that is connected with `checkpoints=` has a shelf in the store, of the name of its job.
There it keeps each tasklet that it starts with `on_loss="restart"`: first its function and its
arguments, then its last checkpoint, signed with the key of the cluster. It is removed when the
tasklet has ended. Another program with the same store and job continues what is there.

One program at a time has the shelf. It keeps it by renewing its lease; one that was silent for too
long finds that another has it, and kills what it has started. By then workers have done that, if
they could not reach it either: the lease is longer than the silence after which a host is lost.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import stackless
import stackless.sync
from stackless.cluster.asking import ask
from stackless.cluster.records import DIRECTORY, ClusterError
from stackless.cluster.tasklets import Record
from stackless.durable import LeaseLost, Shelf

if TYPE_CHECKING:
    from stackless.cluster.host import Host

log = logging.getLogger("stackless.cluster")

#: A program's epochs begin with the token of its shelf times this: above all that there were.
_EPOCHS = 1 << 32
#: Seconds for which tasklets may clean up when the program leaves, and between two looks.
_CLEAN, _PAUSE = 5.0, 0.02


class Keeper:
    """What a program keeps of its tasklets in a store.

    Raises ClusterError if another program has this job, and what the store raises. lost_after: of
    the cluster. timeout: seconds to wait for the other program.
    """

    def __init__(self, store: str, job: str, lost_after: float, timeout: float) -> None:
        self._job = job
        lease = 2 * lost_after
        try:
            self._shelf = Shelf(f"cluster {job}", store, lease=lease, timeout=timeout + lease)
        except TimeoutError as error:
            raise ClusterError(f"the job {job!r} is under way: {error}") from None
        self._restoring = stackless.sync.Lock()
        #: True when another program has the job, or this one leaves: nothing is removed any more.
        self._over = False

    def begin(self, host: Host) -> None:
        """Keep the tasklets of a host."""
        self._host = host
        try:
            self._shelf.renew()
        except LeaseLost as error:
            raise ClusterError(f"connecting took too long: {error}") from None
        host.keeper = self
        host.perform(host.helper, self._stay)

    def _stay(self) -> None:
        """Renew the lease, in a helper."""
        pause = self._shelf.lease / 6
        while not self._over:
            stackless.sleep(pause)
            try:
                self._shelf.renew()
            except LeaseLost as error:
                self._lose(str(error))
            except Exception as error:
                log.warning("the lease of the job %r was not renewed: %s", self._job, error)
        while True:  # until the host ends
            self._disown()  # also those that were on their way to another host
            stackless.sleep(pause)

    def _lose(self, why: str) -> None:
        self._over = True
        log.error("the job %r is continued by another program: what it runs is killed", self._job)
        self._disown()
        text = f"another program continues the job {self._job!r}: {why}"
        for record in self._kept():
            self._host.tasks.fail(record, ClusterError(text))

    def _disown(self) -> None:
        for each in list(self._host.hosts):
            self._host.send(each, ("disown",))

    def _kept(self) -> list[Record]:
        return [each for each in list(self._host.tasks.running.values()) if is_kept(each.options)]

    # ------------------------------------------------------------------ while it runs

    def keep(self, record: Record) -> None:
        """Keep what is known of a tasklet. Returns when it is on the disk; ClusterError."""
        if not is_kept(record.options):
            return
        try:
            self._put(record)
            if record.over:  # it has ended meanwhile
                self._shelf.remove(self._key(record))
        except Exception as error:
            raise ClusterError(f"{record.name!r} could not be stored: {error}") from error

    def _put(self, record: Record, instead_of: str | None = None) -> None:
        key, checkpoint = self._key(record), record.checkpoint
        parcel = () if checkpoint else record.parcel
        row = self._job, key, record.name, record.options, checkpoint, parcel
        self._shelf.put(key, self._host.codec.pack(row), instead_of=instead_of)

    def _key(self, record: Record) -> str:
        """Return the key of a tasklet: the ids of another cluster may be the same."""
        return f"{self._shelf.token}/{record.tid}"

    def remove(self, record: Record) -> None:
        """A tasklet has ended: keep it no longer. Waits until that is on the disk."""
        if self._over or not is_kept(record.options):
            return
        record.over = True
        try:
            self._shelf.remove(self._key(record))
        except Exception as error:
            log.warning("%r, which has ended, is still in the store: %s", record.name, error)

    # ------------------------------------------------------------------ again

    def restore(self) -> list[Record]:
        """Continue all tasklets of the store that do not run. Raises ClusterError."""
        with self._restoring:
            try:
                run = {self._key(each) for each in self._kept()}
                rows = [each for each in self._shelf.items() if each[0] not in run]
                found = [(key, self._unpacked(key, row)) for key, row in sorted(rows, key=_order)]
                return [self._continue(*each) for each in found]
            except LeaseLost as error:
                raise ClusterError(str(error)) from None

    def _unpacked(self, key: str, row: bytes) -> Record:
        try:
            job, its_key, name, options, checkpoint, parcel = self._host.codec.loads((row,))
        except Exception as error:
            error.add_note(f"(the tasklet {key} in the store of the job {self._job!r})")
            raise
        if (job, its_key) != (self._job, key):
            text = f"the tasklet {its_key} of {job!r} as {key} of {self._job!r}"
            raise ClusterError(f"the store was changed: it has {text}")
        tid = key.partition("/")[2]
        record = Record(tid, name, parcel, {**options, "pinned": False})
        record.checkpoint = checkpoint
        return record

    def _continue(self, key: str, old: Record) -> Record:
        host, tasks = self._host, self._host.tasks
        epoch = self._shelf.token * _EPOCHS
        while True:
            to = host.idlest(needs=old.options.get("resources"))
            record = Record(tasks.new_id(to), old.name, old.parcel, old.options)
            record.checkpoint = old.checkpoint
            about = f"restoring {old.name!r}"
            if ask(host.cluster, DIRECTORY, "adopt", record.tid, epoch, to, about=about):
                break
        self._put(record, instead_of=key)
        tasks.begin(record, epoch)
        return record

    # ------------------------------------------------------------------ the end

    def leave(self) -> None:
        """The program leaves: end its tasklets, and leave them in the store. From any thread."""
        self._over = True
        self._disown()
        until = time.monotonic() + _CLEAN
        while self._kept() and time.monotonic() < until:
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Close the store, after the host has stopped."""
        # While tasklets may still run others wait until the lease is over.
        self._shelf.close(give_back=not (hasattr(self, "_host") and self._kept()))


def _order(row: tuple[str, bytes]) -> tuple[int, int]:
    """Return the place of a row in the order in which its tasklet was started."""
    token, _, tid = row[0].partition("/")
    return int(token), int(tid.rpartition(".")[2])


def is_kept(options: dict[str, Any]) -> bool:
    """True for the options of a tasklet that is to continue after a loss."""
    return options.get("on_loss") == "restart"
