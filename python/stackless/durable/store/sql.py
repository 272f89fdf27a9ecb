"""The operations of a store, in SQL that all its databases share.

An operation that writes is a function of a transaction: `self._write(function)` returns the future
of what it returns. It may run more than once, if its transaction could not be committed, so it
does nothing but statements.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from stackless.durable.records import (
    OVER,
    PAUSED,
    READY,
    RUNNING,
    STUCK,
    WAITING,
    Claim,
    Info,
    LeaseLost,
    Message,
    NoSuchWorkflow,
    Outcome,
    Save,
    Start,
    Step,
    Wanted,
    Worker,
    WrongState,
)
from stackless.durable.schedules import Schedule
from stackless.durable.store import control, saving, schedules
from stackless.durable.store.database import Database, Operation, Transaction
from stackless.durable.store.processes import process_began

T = TypeVar("T")

_INFO = (
    "id, function, status, snapshot IS NOT NULL, steps, due, topic, awaits, parent, worker, python,"
    " created, updated, snapshot, result, failed, error"
)
#: Those that no worker takes: it says so, or needs a Python that is not here, and no worker has.
STUCK_HERE = (
    f"(status = '{STUCK}' OR (status NOT IN {OVER!r} AND worker IS NULL AND python NOT IN ('', ?)"
    " AND python NOT IN (SELECT python FROM durable_workers)))"
)
#: When the first workflow of an app is due for a Python: one look into the index, where min() of
#: several Pythons would read all that sleep.
_FIRST = (
    "(SELECT due FROM durable_workflows WHERE worker IS NULL AND due IS NOT NULL"
    " AND app = ? AND python = ? ORDER BY due LIMIT 1)"
)


class Body(Protocol):
    """What is done in a transaction with the program's own writes."""

    def call(self, connection: Any) -> None:
        """Call the program's function. What it writes is undone if this raises."""

    def save(self, error: Exception | None) -> Save | None:
        """Return what is to be saved with its writes, or with its error; None for nothing."""

    def written(self, wanted: Wanted) -> None:
        """Take what `save` returns."""


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

    def start(self, started: Start, python: str = "") -> Future[bool]:
        """Add a workflow, which is due at once. The result is False if there is one of this id.

        `python`: that which can load it; "" for all.
        """
        return self._database.submit_start(lambda to: saving.start(to, [started], python) == 1)

    def start_all(self, started: list[Start], python: str = "") -> Future[int]:
        """Add workflows, which are due at once. The result is how many had no id that exists."""
        return self._database.submit_start(lambda to: saving.start(to, started, python))

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
            rows: list[Any] = []
            for due, python in _heads(to, worker.app, worker.python):
                if due <= now and len(rows) < count:
                    rows += _take(to, worker, python, count - len(rows))
            return [_claim(row) for row in rows]

        return self._write(write)

    def save(self, save: Save) -> Future[Wanted]:
        """Write what a workflow has done, in one transaction. LeaseLost if the claim is over.

        The result is what was asked of it meanwhile.
        """
        return self._write(lambda to: saving.save_one(to, save))

    def save_all(self, saves: list[Save]) -> Future[list[Wanted | Exception]]:
        """Do saves; the result has what `save` returns, and the exceptions of those that fail."""
        return self._write(lambda to: saving.save_all(to, saves))

    def transact(self, id: str, token: int, body: Body) -> Future[None]:
        """Call a function of the program in a transaction, and save with it what `body` says.

        LeaseLost if the claim is over: then it is not called.
        """

        def write(to: Transaction) -> None:
            saving.check(to, id, token)
            error = to.call(body.call)
            save = body.save(error)
            if save is not None:
                body.written(saving.save_one(to, save))

        # It may take its time: other tasklets of the calling thread go on.
        return self._database.submit(write, here=False)

    def wanted(self, id: str) -> Wanted | None:
        """Return what was asked of a workflow from outside."""
        rows = self._read("SELECT cancel, pause, migrate FROM durable_workflows WHERE id = ?", id)
        return Wanted(rows[0][0] == 1, rows[0][1] == 1, rows[0][2]) if rows else None

    def status(self, id: str) -> str | None:
        """Return the status of a workflow; None if there is none."""
        rows = self._read("SELECT status FROM durable_workflows WHERE id = ?", id)
        return rows[0][0] if rows else None

    def ending(self, id: str) -> tuple[str, bytes | None, str | None] | None:
        """Return the status, result and error of a workflow."""
        rows = self._read("SELECT status, result, error FROM durable_workflows WHERE id = ?", id)
        return rows[0] if rows else None

    def outcomes(self, id: str, number: int) -> list[Outcome]:
        """Return what is recorded of a workflow's requests, from a number on."""
        rows = self._read(
            "SELECT number, kind, name, error IS NOT NULL, value FROM durable_steps"
            " WHERE workflow = ? AND number >= ? ORDER BY number",
            *(id, number),
        )
        return [
            Outcome(n, kind, name, bool(failed), value) for n, kind, name, failed, value in rows
        ]

    def info(self, id: str) -> Info | None:
        """Return what is known of a workflow."""
        rows = self._read(f"SELECT {_INFO} FROM durable_workflows WHERE id = ?", id)
        return _info(rows[0]) if rows else None

    def infos(self, app: str, status: str | None, limit: int, stuck_for: str = "") -> list[Info]:
        """Return the workflows with a status, or all, the one started last first.

        With `stuck_for`, a Python, those that neither this nor a worker that is there can load.
        """
        which, values = "app = ?", [app]
        if status is not None:
            which, values = f"{which} AND status = ?", [*values, status]
        if stuck_for:
            which, values = f"{which} AND {STUCK_HERE}", [*values, stuck_for]
        rows = self._read(
            f"SELECT {_INFO} FROM durable_workflows WHERE {which} ORDER BY created DESC LIMIT ?",
            *values,
            limit,
        )
        return [_info(row) for row in rows]

    def steps(self, id: str) -> list[Step]:
        """Return the recorded steps of a workflow."""
        rows = self._read(
            "SELECT number, name, began, ended, error, kind FROM durable_steps WHERE workflow = ?"
            " ORDER BY number",
            id,
        )
        return [Step(*row) for row in rows]

    def next_due(self, app: str, python: str) -> tuple[float | None, float | None]:
        """Return when the next workflow is due that nothing has claimed, and the next schedule."""
        ((*due, schedule),) = self._read(
            f"SELECT {_FIRST}, {_FIRST}, (SELECT min(due) FROM durable_schedules WHERE app = ?)",
            *(app, python, app, "", app),
        )
        return min([each for each in due if each is not None], default=None), schedule

    # -------------------------------------------------------------- control

    def cancel(self, id: str) -> Future[None]:
        """Cancel a workflow and its children. NoSuchWorkflow; WrongState if it has ended."""
        return self._write(lambda to: control.cancel(to, id))

    def pause(self, id: str) -> Future[None]:
        """Let a workflow stop before its next request. NoSuchWorkflow, WrongState."""
        return self._write(lambda to: control.pause(to, id))

    def resume(self, id: str) -> Future[None]:
        """Let a paused workflow continue. NoSuchWorkflow, WrongState."""
        return self._write(lambda to: control.resume(to, id))

    def retry(self, id: str) -> Future[None]:
        """Let a workflow continue that has failed or is stuck. NoSuchWorkflow, WrongState."""
        return self._write(lambda to: control.retry(to, id))

    def fork(self, id: str, number: int | None, new: str) -> Future[None]:
        """Make a copy of a workflow before a request. NoSuchWorkflow, WrongState, ValueError."""
        return self._write(lambda to: control.fork(to, id, number, new))

    def migrate(self, id: str, function: str) -> Future[bool]:
        """Let a function take the place of a workflow; False if that cannot be. NoSuchWorkflow."""
        return self._write(lambda to: control.migrate(to, id, function))

    def remove(self, app: str, before: float, most: int) -> Future[int]:
        """Remove workflows that have ended before a time; the result is how many."""
        return self._write(lambda to: control.remove(to, app, before, most))

    def remove_code(self) -> Future[int]:
        """Remove code that no snapshot needs; the result is how much."""
        return self._write(control.remove_code)

    # -------------------------------------------------------------- schedules

    def schedule(self, app: str, *what: Any) -> Future[None]:
        """Add or replace a schedule: name, cron, time zone, function, arguments, next time."""
        return self._write(lambda to: schedules.put(to, app, *what))

    def unschedule(self, app: str, name: str) -> Future[int]:
        """Remove a schedule. The result is 0 if there is none."""
        return self._write(
            lambda to: to.run("DELETE FROM durable_schedules WHERE app = ? AND name = ?", app, name)
        )

    def schedules(self, app: str, until: float | None = None) -> list[tuple[Schedule, bytes]]:
        """Return the schedules, or those that are due, and the arguments of each."""
        which, values = ("", ()) if until is None else (" AND due <= ?", (until,))
        rows = self._read(
            "SELECT name, cron, zone, function, due, created, arguments FROM durable_schedules"
            f" WHERE app = ?{which} ORDER BY name",
            *(app, *values),
        )
        return [(Schedule(*row[:-1]), row[-1]) for row in rows]

    def fire(self, name: str, due: float, following: float, started: Start) -> Future[bool]:
        """Start the workflow of a schedule, unless another worker has done that."""
        return self._write(lambda to: schedules.fire(to, name, due, following, started))

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
                raise WrongState(f"the workflow {id!r} has ended ({row[0][0]})")
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
                "INSERT INTO durable_workers (id, machine, pid, began, until, python)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET until = excluded.until",
                *(worker.id, worker.machine, worker.pid, worker.began, to.now + lease),
                worker.python,
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


def _heads(to: Transaction, app: str, python: str) -> list[tuple[float, str]]:
    """Return when the first of a Python's workflows is due, and of those for all, in order."""
    ((mine, others),) = to.rows(f"SELECT {_FIRST}, {_FIRST}", app, python, app, "")
    return sorted((due, which) for due, which in ((mine, python), (others, "")) if due is not None)


def _take(to: Transaction, worker: Worker, python: str, count: int) -> list[tuple[Any, ...]]:
    """Claim workflows that a Python can load, the longest due first."""
    # What a wait has left has no value from here on: a save need not write it.
    rows = to.rows(
        "WITH found AS MATERIALIZED (SELECT id FROM durable_workflows"
        " WHERE worker IS NULL AND app = ? AND python = ? AND due <= ?"
        " ORDER BY due LIMIT ? FOR UPDATE SKIP LOCKED)"
        " UPDATE durable_workflows SET worker = ?, token = token + 1, status = ?,"
        " updated = ?, topic = NULL, awaits = NULL, error = NULL"
        " WHERE id IN (SELECT id FROM found)"
        " RETURNING due, id, token, function, arguments, entry, snapshot, position, steps,"
        " cancel, pause, migrate",
        *(worker.app, python, to.now, count, worker.id, RUNNING, to.now),
    )
    return sorted(rows, key=lambda row: row[0])


def _claim(row: Any) -> Claim:
    _, id, token, function, arguments, entry, snapshot, position, steps, cancel, pause, new = row
    wanted = Wanted(cancel == 1, pause == 1, new)
    return Claim(id, token, function, arguments, entry, snapshot, position, steps, wanted)


def _release(to: Transaction, worker: str) -> None:
    """Let others claim the workflows of a worker that was removed before."""
    to.run(
        "UPDATE durable_workflows SET worker = NULL,"
        " status = CASE WHEN pause = 1 THEN ? ELSE ? END,"
        " due = CASE WHEN pause = 1 THEN NULL ELSE ? END WHERE worker = ?",
        *(PAUSED, READY, to.now, worker),
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
