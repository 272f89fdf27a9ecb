"""The operations of a store, in SQL that all its databases share.

An operation that writes is a function of a transaction: `self._write(function)` returns the future
of what it returns. It may run more than once, if its transaction could not be committed, so it
does nothing but statements.
"""

from __future__ import annotations

import contextlib
import functools
from concurrent.futures import Future
from typing import Any, TypeVar

from stackless.durable.records import (
    OVER,
    READY,
    RUNNING,
    WAITING,
    Claim,
    DurableError,
    Info,
    LeaseLost,
    Message,
    NoSuchWorkflow,
    Save,
    Step,
    Worker,
)
from stackless.durable.store.database import Database, Operation, Transaction
from stackless.durable.store.processes import process_began

T = TypeVar("T")

_INFO = (
    "id, function, status, begun, steps, due, topic, worker, python, created, updated, snapshot, "
    "result, error"
)


class Store:
    """Workflows, their steps and messages, workers and code in a database.

    Methods that write return futures, which are done when the data are on the disk. All methods may
    be called from any thread. Times are in seconds since the epoch, of the database's clock.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        #: What it raises when the database cannot be reached: to be tried again.
        self.errors = database.errors
        #: Returns the time that leases and due times are compared with.
        self.now = database.now
        self._read = database.read
        self.listen, self.unlisten = database.listen, database.unlisten

    @property
    def poll(self) -> float:
        """Seconds between looks for workflows that other processes have made due."""
        return self._database.poll

    def _write(self, operation: Operation[T]) -> Future[T]:
        return self._database.submit(operation)

    def close(self) -> None:
        """Write what was not written yet, and close the database."""
        self._database.close()

    # -------------------------------------------------------------- workflows

    def start(
        self, id: str, app: str, function: str, arguments: bytes, python: str
    ) -> Future[bool]:
        """Add a workflow, which is due at once. The result is False if there is one of this id."""

        def write(to: Transaction) -> bool:
            now = to.now
            made = to.run(
                "INSERT INTO durable_workflows (id, app, function, status, snapshot, begun, steps,"
                " due, token, python, created, updated)"
                " VALUES (?, ?, ?, ?, ?, 0, 0, ?, 0, ?, ?, ?) ON CONFLICT DO NOTHING",
                *(id, app, function, READY, arguments, now, python, now, now),
            )
            to.wake()
            return made == 1

        return self._write(write)

    def claim(self, worker: Worker, count: int) -> Future[list[Claim]]:
        """Claim at most so many due workflows that the worker can load, the longest due first.

        Workflows of workers whose lease is over, or whose process has ended on this machine, are
        due again. LeaseLost if the worker itself has no lease any more.
        """

        def write(to: Transaction) -> list[Claim]:
            now = to.now
            _bury(to, worker.machine)
            # The lock: what is claimed here is seen by a worker that removes this one.
            mine = to.rows("SELECT 1 FROM durable_workers WHERE id = ? FOR UPDATE", worker.id)
            if not mine:
                raise LeaseLost(f"the lease of the worker {worker.id} is over")
            # The topic and the error have no value from here on: a save need not write them.
            rows = to.rows(
                "WITH found AS MATERIALIZED (SELECT id FROM durable_workflows"
                " WHERE worker IS NULL AND app = ? AND python = ? AND due <= ?"
                " ORDER BY due LIMIT ? FOR UPDATE SKIP LOCKED)"
                " UPDATE durable_workflows SET worker = ?, token = token + 1, status = ?,"
                " updated = ?, topic = NULL, error = NULL WHERE id IN (SELECT id FROM found)"
                " RETURNING due, id, token, function, snapshot, begun, steps",
                *(worker.app, worker.python, now, count, worker.id, RUNNING, now),
            )
            rows.sort(key=lambda row: row[0])
            return [
                Claim(id, token, name, snapshot, bool(begun), steps)
                for _, id, token, name, snapshot, begun, steps in rows
            ]

        return self._write(write)

    def save(self, save: Save) -> Future[None]:
        """Write what a workflow has done, in one transaction. LeaseLost if the claim is over."""
        return self._write(lambda to: _save(to, [save]))

    def save_all(self, saves: list[Save]) -> Future[list[Exception | None]]:
        """Do saves of different workflows; the result has the exceptions of those that fail."""
        return self._write(lambda to: _save_all(to, saves))

    def info(self, id: str) -> Info | None:
        """Return what is known of a workflow."""
        rows = self._read(f"SELECT {_INFO} FROM durable_workflows WHERE id = ?", id)
        return _info(rows[0]) if rows else None

    def infos(self, app: str, status: str | None, limit: int) -> list[Info]:
        """Return the workflows with a status, or all, the one started last first."""
        which, values = ("app = ?", [app])
        if status is not None:
            which, values = ("app = ? AND status = ?", [app, status])
        rows = self._read(
            f"SELECT {_INFO} FROM durable_workflows WHERE {which} ORDER BY created DESC LIMIT ?",
            *values,
            limit,
        )
        return [_info(row) for row in rows]

    def steps(self, id: str) -> list[Step]:
        """Return the recorded steps of a workflow."""
        rows = self._read(
            "SELECT number, name, began, ended, error FROM durable_steps WHERE workflow = ?"
            " ORDER BY number",
            id,
        )
        return [Step(*row) for row in rows]

    def next_due(self, app: str, python: str) -> float | None:
        """Return when the next workflow is due that nothing has claimed."""
        rows = self._read(
            "SELECT min(due) FROM durable_workflows WHERE worker IS NULL AND due IS NOT NULL"
            " AND app = ? AND python = ?",
            app,
            python,
        )
        due: float | None = rows[0][0]
        return due

    # -------------------------------------------------------------- messages

    def send(self, id: str, topic: str, value: bytes) -> Future[None]:
        """Add a message; a workflow that waits for it is due. NoSuchWorkflow if there is none."""

        def write(to: Transaction) -> None:
            now = to.now
            # The lock: a save that waits for this topic comes before or after the whole of it.
            row = to.rows("SELECT status FROM durable_workflows WHERE id = ? FOR UPDATE", id)
            if not row:
                raise NoSuchWorkflow(f"there is no workflow {id!r}")
            if row[0][0] in OVER:
                raise DurableError(f"the workflow {id!r} has ended")
            to.run(
                "INSERT INTO durable_messages (workflow, topic, sent, value) VALUES (?, ?, ?, ?)",
                *(id, topic, now, value),
            )
            if to.run(
                "UPDATE durable_workflows SET due = ? WHERE id = ? AND status = ? AND topic = ?",
                *(now, id, WAITING, topic),
            ):
                to.wake()

        return self._write(write)

    def message(self, id: str, topic: str) -> Message | None:
        """Return the oldest message of a topic. It stays until a `save` receives it."""
        rows = self._read(
            "SELECT number, value FROM durable_messages WHERE workflow = ? AND topic = ?"
            " ORDER BY number LIMIT 1",
            id,
            topic,
        )
        return Message(*rows[0]) if rows else None

    # -------------------------------------------------------------- workers

    def join(self, worker: Worker, lease: float) -> Future[None]:
        """Add a worker, whose lease ends in so many seconds, or extend its lease."""

        def write(to: Transaction) -> None:
            to.run(
                "INSERT INTO durable_workers (id, machine, pid, began, until)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET until = excluded.until",
                *(worker.id, worker.machine, worker.pid, worker.began, to.now + lease),
            )

        return self._write(write)

    def leave(self, worker: Worker) -> Future[None]:
        """Remove a worker. Workflows that it has claimed can be claimed by others at once."""
        return self._write(lambda to: _leave(to, worker.id))

    # -------------------------------------------------------------- code

    def code(self, digest: bytes) -> bytes | None:
        """Return the data of a code object."""
        rows = self._read("SELECT data FROM durable_code WHERE digest = ?", digest)
        return rows[0][0] if rows else None


def _info(row: Any) -> Info:
    id, function, status, begun, *rest = row
    return Info(id, function, status, bool(begun), *rest)


def _save_all(to: Transaction, saves: list[Save]) -> list[Exception | None]:
    if len(saves) == 1:
        _save(to, saves)
        return [None]
    refused: tuple[type[Exception], ...] = (DurableError, *to.errors)
    with contextlib.suppress(*refused):
        to.apart(lambda to: _save(to, saves))
        return [None] * len(saves)
    found: list[Exception | None] = []
    for each in saves:
        try:
            to.apart(functools.partial(_save, saves=[each]))
            found.append(None)
        except refused as error:
            if not to.in_transaction:
                raise
            found.append(error)
    return found


def _save(to: Transaction, saves: list[Save]) -> None:
    """Do saves of different workflows, or raise."""
    now = to.now
    # The claim has set the other columns; leaving them alone leaves their indexes alone.
    running = [
        (each.snapshot, each.step and each.step.number, now, each.id, each.token)
        for each in saves
        if each.status == RUNNING
    ]
    leaving = [
        (
            *(each.status, each.snapshot, each.snapshot is not None),
            *(each.step and each.step.number, each.due, each.topic, each.result, each.error),
            *(now, each.id, each.token),
        )
        for each in saves
        if each.status != RUNNING
    ]
    written = to.many(
        "UPDATE durable_workflows SET snapshot = ?, begun = 1, steps = coalesce(?, steps),"
        " due = NULL, updated = ? WHERE id = ? AND token = ? AND worker IS NOT NULL",
        running,
    ) + to.many(
        "UPDATE durable_workflows SET status = ?, snapshot = coalesce(?, snapshot),"
        " begun = CASE WHEN ? THEN 1 ELSE begun END, steps = coalesce(?, steps), due = ?,"
        " topic = ?, result = ?, error = ?, updated = ?, worker = NULL"
        " WHERE id = ? AND token = ? AND worker IS NOT NULL",
        leaving,
    )
    if written != len(saves):
        raise LeaseLost(f"the workflow {saves[0].id!r} was claimed by another worker")
    # Sent while the workflow ran. A statement of its own, which sees what was written before the
    # one above had the lock of the row.
    to.many(
        "UPDATE durable_workflows SET due = ? WHERE id = ? AND EXISTS"
        " (SELECT 1 FROM durable_messages WHERE workflow = ? AND topic = ?)",
        [(now, each.id, each.id, each.topic) for each in saves if each.status == WAITING],
    )
    # In one order, so that no two transactions wait for one another.
    to.many(
        "INSERT INTO durable_code VALUES (?, ?) ON CONFLICT DO NOTHING",
        sorted({row for each in saves for row in each.code}),
    )
    to.many(
        "INSERT INTO durable_steps VALUES (?, ?, ?, ?, ?, ?)",
        [
            (save.id, each.number, each.name, each.began, each.ended, each.error)
            for save in saves
            if (each := save.step) is not None
        ],
    )
    received = [(each.received, each.id) for each in saves if each.received is not None]
    gone = to.many("DELETE FROM durable_messages WHERE number = ? AND workflow = ?", received)
    if gone != len(received):
        raise DurableError(f"message {received[0][0]} of {received[0][1]!r} was received already")
    over = [(each.id,) for each in saves if each.status in OVER]
    to.many("DELETE FROM durable_messages WHERE workflow = ?", over)


def _release(to: Transaction, worker: str) -> None:
    """Let others claim the workflows of a worker that was removed before."""
    to.run(
        "UPDATE durable_workflows SET worker = NULL, status = ?, due = ? WHERE worker = ?",
        *(READY, to.now, worker),
    )
    to.wake()


def _leave(to: Transaction, worker: str) -> None:
    to.run("DELETE FROM durable_workers WHERE id = ?", worker)
    _release(to, worker)


def _bury(to: Transaction, machine: str) -> None:
    """Remove workers whose lease is over, or whose process has ended."""
    for id, where, pid, began, until in to.rows(
        "SELECT id, machine, pid, began, until FROM durable_workers"
    ):
        if until < to.now or (where == machine and process_began(pid) != began):
            # Not if it has extended its lease meanwhile.
            if to.run("DELETE FROM durable_workers WHERE id = ? AND until = ?", id, until):
                _release(to, id)
