"""The store of durable workflows in an SQLite database, for the processes of one machine.

The database is in WAL mode with `synchronous=FULL`: what a future reports as written is on the
disk. All writes go through one thread (`writer`), which commits what is ready together.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

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
from stackless.durable.store.writer import Writer

#: Each brings a database to the next version, which is in `user_version`.
MIGRATIONS = (
    """
    CREATE TABLE workflows (
        id TEXT PRIMARY KEY, app TEXT NOT NULL, function TEXT NOT NULL, status TEXT NOT NULL,
        snapshot BLOB NOT NULL, begun INTEGER NOT NULL, steps INTEGER NOT NULL, due REAL,
        topic TEXT, worker TEXT, token INTEGER NOT NULL, python TEXT NOT NULL,
        created REAL NOT NULL, updated REAL NOT NULL, result BLOB, error TEXT
    );
    CREATE INDEX workflows_due ON workflows (app, python, due)
        WHERE worker IS NULL AND due IS NOT NULL;
    CREATE INDEX workflows_worker ON workflows (worker) WHERE worker IS NOT NULL;
    CREATE INDEX workflows_status ON workflows (app, status, created);
    CREATE INDEX workflows_created ON workflows (app, created);
    CREATE TABLE steps (
        workflow TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
        began REAL NOT NULL, ended REAL NOT NULL, error TEXT, PRIMARY KEY (workflow, number)
    ) WITHOUT ROWID;
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY AUTOINCREMENT, workflow TEXT NOT NULL, topic TEXT NOT NULL,
        sent REAL NOT NULL, value BLOB NOT NULL
    );
    CREATE INDEX messages_workflow ON messages (workflow, topic, number);
    CREATE TABLE workers (
        id TEXT PRIMARY KEY, machine TEXT NOT NULL, pid INTEGER NOT NULL, began INTEGER NOT NULL,
        until REAL NOT NULL
    );
    CREATE TABLE code (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
    """,
)

_INFO = (
    "id, function, status, begun, steps, due, topic, worker, python, created, updated, snapshot, "
    "result, error"
)


def this_machine() -> str:
    """Return a name for the place where process numbers mean what they mean here.

    That is a machine since it was started, and its namespace of processes: a container has its own.
    """
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"


def process_began(pid: int) -> int | None:
    """Return when a process of this machine began, in clock ticks; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


class SQLiteStore:
    """A store in the file `path`, which is made if it does not exist.

    `clock` returns the time in seconds since the epoch. Raises sqlite3.Error if the file cannot be
    opened, DurableError if a later release has written it, or for SQLite before 3.35.
    """

    def __init__(
        self, path: str | os.PathLike[str], clock: Callable[[], float] = time.time
    ) -> None:
        if sqlite3.sqlite_version_info < (3, 35):
            raise DurableError(f"SQLite 3.35 is needed, this is {sqlite3.sqlite_version}")
        self.errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
        self.path = os.fspath(path)
        self.now = clock
        self._reading = threading.Lock()
        self._reader = self._connect()
        try:
            _migrate(self._reader)
        except BaseException:
            self._reader.close()
            raise
        self._writer = Writer(self._connect)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=30, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, statement: str, *parameters: Any) -> list[Any]:
        with self._reading:
            return self._reader.execute(statement, parameters).fetchall()

    def close(self) -> None:
        """Write what was not written yet, and close the database."""
        self._writer.close()
        with self._reading:
            self._reader.close()

    # -------------------------------------------------------------- workflows

    def start(
        self, id: str, app: str, function: str, arguments: bytes, python: str
    ) -> Future[bool]:
        """Add a workflow, which is due at once. The result is False if there is one of this id."""

        def write(connection: sqlite3.Connection) -> bool:
            now = self.now()
            made = connection.execute(
                "INSERT INTO workflows (id, app, function, status, snapshot, begun, steps, due,"
                " token, python, created, updated) VALUES (?, ?, ?, ?, ?, 0, 0, ?, 0, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (id, app, function, READY, arguments, now, python, now, now),
            )
            return made.rowcount == 1

        return self._writer.submit(write)

    def claim(self, worker: Worker, count: int) -> Future[list[Claim]]:
        """Claim at most so many due workflows that the worker can load, the longest due first.

        Workflows of workers whose lease is over, or whose process has ended on this machine, are
        due again. LeaseLost if the worker itself has no lease any more.
        """

        def write(connection: sqlite3.Connection) -> list[Claim]:
            now = self.now()
            _bury(connection, worker.machine, now)
            found = connection.execute("SELECT 1 FROM workers WHERE id = ?", (worker.id,))
            if found.fetchone() is None:
                raise LeaseLost(f"the lease of the worker {worker.id} is over")
            due = connection.execute(
                "SELECT id FROM workflows WHERE worker IS NULL AND app = ? AND python = ?"
                " AND due <= ? ORDER BY due LIMIT ?",
                (worker.app, worker.python, now, count),
            ).fetchall()
            claims = []
            for (id,) in due:
                row = connection.execute(
                    "UPDATE workflows SET worker = ?, token = token + 1, status = ?, updated = ?"
                    " WHERE id = ? RETURNING id, token, function, snapshot, begun, steps",
                    (worker.id, RUNNING, now, id),
                ).fetchone()
                id, token, name, snapshot, begun, steps = row
                claims.append(Claim(id, token, name, snapshot, bool(begun), steps))
            return claims

        return self._writer.submit(write)

    def save(self, save: Save) -> Future[None]:
        """Write what a workflow has done, in one transaction. LeaseLost if the claim is over."""
        return self._writer.submit(lambda connection: self._save(connection, save))

    def _save(self, connection: sqlite3.Connection, save: Save) -> None:
        now = self.now()
        due = save.due
        if (
            save.status == WAITING
            and connection.execute(
                "SELECT 1 FROM messages WHERE workflow = ? AND topic = ? LIMIT 1",
                (save.id, save.topic),
            ).fetchone()
        ):
            due = now  # it was sent while the workflow ran
        written = connection.execute(
            "UPDATE workflows SET status = ?, snapshot = coalesce(?, snapshot),"
            " begun = begun OR ?, steps = coalesce(?, steps), due = ?, topic = ?,"
            " result = ?, error = ?, updated = ?, worker = CASE WHEN ? THEN worker END"
            " WHERE id = ? AND token = ? AND worker IS NOT NULL",
            (
                save.status,
                save.snapshot,
                save.snapshot is not None,
                save.step.number if save.step else None,
                due,
                save.topic,
                save.result,
                save.error,
                now,
                save.status == RUNNING,
                save.id,
                save.token,
            ),
        )
        if written.rowcount != 1:
            raise LeaseLost(f"the workflow {save.id!r} was claimed by another worker")
        for row in save.code:
            connection.execute("INSERT INTO code VALUES (?, ?) ON CONFLICT DO NOTHING", row)
        if save.step is not None:
            each = save.step
            connection.execute(
                "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?)",
                (save.id, each.number, each.name, each.began, each.ended, each.error),
            )
        if save.received is not None:
            gone = connection.execute(
                "DELETE FROM messages WHERE number = ? AND workflow = ?", (save.received, save.id)
            )
            if gone.rowcount != 1:
                raise DurableError(f"message {save.received} of {save.id!r} was received already")
        if save.status in OVER:
            connection.execute("DELETE FROM messages WHERE workflow = ?", (save.id,))

    def info(self, id: str) -> Info | None:
        """Return what is known of a workflow."""
        rows = self._read(f"SELECT {_INFO} FROM workflows WHERE id = ?", id)
        return _info(rows[0]) if rows else None

    def infos(self, app: str, status: str | None, limit: int) -> list[Info]:
        """Return the workflows with a status, or all, the one started last first."""
        which, values = ("app = ?", [app])
        if status is not None:
            which, values = ("app = ? AND status = ?", [app, status])
        rows = self._read(
            f"SELECT {_INFO} FROM workflows WHERE {which} ORDER BY created DESC LIMIT ?",
            *values,
            limit,
        )
        return [_info(row) for row in rows]

    def steps(self, id: str) -> list[Step]:
        """Return the recorded steps of a workflow."""
        rows = self._read(
            "SELECT number, name, began, ended, error FROM steps WHERE workflow = ?"
            " ORDER BY number",
            id,
        )
        return [Step(*row) for row in rows]

    def next_due(self, app: str, python: str) -> float | None:
        """Return when the next workflow is due that nothing has claimed."""
        rows = self._read(
            "SELECT min(due) FROM workflows WHERE worker IS NULL AND due IS NOT NULL"
            " AND app = ? AND python = ?",
            app,
            python,
        )
        due: float | None = rows[0][0]
        return due

    # -------------------------------------------------------------- messages

    def send(self, id: str, topic: str, value: bytes) -> Future[None]:
        """Add a message; a workflow that waits for it is due. NoSuchWorkflow if there is none."""

        def write(connection: sqlite3.Connection) -> None:
            now = self.now()
            row = connection.execute("SELECT status FROM workflows WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise NoSuchWorkflow(f"there is no workflow {id!r}")
            if row[0] in OVER:
                raise DurableError(f"the workflow {id!r} has ended")
            connection.execute(
                "INSERT INTO messages (workflow, topic, sent, value) VALUES (?, ?, ?, ?)",
                (id, topic, now, value),
            )
            connection.execute(
                "UPDATE workflows SET due = ? WHERE id = ? AND status = ? AND topic = ?",
                (now, id, WAITING, topic),
            )

        return self._writer.submit(write)

    def message(self, id: str, topic: str) -> Message | None:
        """Return the oldest message of a topic. It stays until a `save` receives it."""
        rows = self._read(
            "SELECT number, value FROM messages WHERE workflow = ? AND topic = ?"
            " ORDER BY number LIMIT 1",
            id,
            topic,
        )
        return Message(*rows[0]) if rows else None

    # -------------------------------------------------------------- workers

    def join(self, worker: Worker, lease: float) -> Future[None]:
        """Add a worker, whose lease ends in so many seconds, or extend its lease."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO workers VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET until = excluded.until",
                (worker.id, worker.machine, worker.pid, worker.began, self.now() + lease),
            )

        return self._writer.submit(write)

    def leave(self, worker: Worker) -> Future[None]:
        """Remove a worker. Workflows that it has claimed can be claimed by others at once."""
        return self._writer.submit(lambda connection: _remove(connection, worker.id, self.now()))

    # -------------------------------------------------------------- code

    def code(self, digest: bytes) -> bytes | None:
        """Return the data of a code object."""
        rows = self._read("SELECT data FROM code WHERE digest = ?", digest)
        return rows[0][0] if rows else None


def _info(row: Any) -> Info:
    id, function, status, begun, *rest = row
    return Info(id, function, status, bool(begun), *rest)


def _remove(connection: sqlite3.Connection, worker: str, now: float) -> None:
    connection.execute(
        "UPDATE workflows SET worker = NULL, status = ?, due = ? WHERE worker = ?",
        (READY, now, worker),
    )
    connection.execute("DELETE FROM workers WHERE id = ?", (worker,))


def _bury(connection: sqlite3.Connection, machine: str, now: float) -> None:
    """Remove workers whose lease is over, or whose process has ended."""
    rows = connection.execute("SELECT id, machine, pid, began, until FROM workers").fetchall()
    for id, where, pid, began, until in rows:
        if until < now or (where == machine and process_began(pid) != began):
            _remove(connection, id, now)


def _migrate(connection: sqlite3.Connection) -> None:
    def version() -> int:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        return found

    if version() == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version(), len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        if version() > len(MIGRATIONS):
            raise DurableError(
                f"the database has version {version()}; this release knows {len(MIGRATIONS)}"
            )
    except BaseException:
        connection.rollback()
        raise
    connection.execute("COMMIT")
