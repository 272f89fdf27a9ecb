"""Durable workflows in a PostgreSQL database, for the processes of any number of machines.

Leases and due times are compared with the server's clock. A connection that is lost is made again,
and what was not committed is done again. Whether a transaction was committed whose connection was
lost during COMMIT is known from the row of its writer in `durable_writers`: each transaction that
has written anything sets the next number there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

import stackless
from stackless.durable.records import DurableError
from stackless.durable.store.database import (
    Again,
    Dialect,
    Session,
    Unclear,
    thread,
)
from stackless.durable.store.schema import migrate
from stackless.durable.store.writer import Writer

_SQL = Dialect({"?": "%s", " WITHOUT ROWID": ""})
#: The channel of NOTIFY.
_CHANNEL = "stackless_durable"
#: The key of the lock that a process holds while it makes or changes tables.
_MIGRATING = 0x737461636B6C6573
#: Seconds for which an operation is tried again while the server cannot be reached.
_PATIENCE = 30.0

#: What the store needs beside the tables that it has everywhere.
_WRITERS = (
    "CREATE TABLE IF NOT EXISTS durable_writers"
    " (id TEXT PRIMARY KEY, number BIGINT NOT NULL, seen DOUBLE PRECISION NOT NULL)"
)
_TIME = "extract(epoch FROM clock_timestamp())::double precision"

#: Connections notice within half a minute that the server's machine is gone.
_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
#: The transaction was rolled back, since others were in its way.
_IN_THE_WAY = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class Postgres:
    """The database that `url` names: a connection string of libpq, "postgresql://...".

    Raises psycopg.Error if it cannot be opened, DurableError if a later release has written it.
    """

    errors: tuple[type[Exception], ...] = (psycopg.Error, OSError, Again)

    def __init__(self, url: str, *, patience: float = _PATIENCE) -> None:
        self._mark = _Mark(url)
        self._patience = patience
        self._reading = threading.Lock()
        self._reader: _Session | None = None
        self._closed = False
        try:
            with contextlib.closing(self._connect()) as session:
                migrate(session, _WRITERS)
        except Again as error:
            raise error.__cause__ or error from None
        self._writer = _writer(self._mark, patience)
        # A commit takes milliseconds: who starts workflows need not wait for those of a worker.
        self._starter = _writer(_Mark(url, self._mark.clock), patience)
        self.submit, self.submit_start = self._writer.submit, self._starter.submit
        self._ears = _Ears(self._mark, self._writer.wake)

    @property
    def poll(self) -> float:
        """How long to wait for a notification before looking."""
        return 2.0 if self._ears.listening else 0.2

    def now(self) -> float:
        """Return the server's time, from the difference of the clocks that was last seen."""
        return time.monotonic() + self._mark.clock.offset

    def _connect(self) -> _Session:
        return _Session(self._mark, "reader")

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Only the calling tasklet waits."""
        return stackless.to_thread(self._read, statement, values)

    def _read(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        end = time.monotonic() + self._patience
        pause = 0.01
        while True:
            try:
                with self._reading:
                    if self._closed:
                        raise RuntimeError("the store is closed")
                    if self._reader is None or self._reader.lost:
                        self._reader = self._connect()
                    return self._reader.rows(statement, *values)
            except Again as error:
                if time.monotonic() > end:
                    raise error.__cause__ or error from None
            time.sleep(pause)
            pause = min(1.0, 2 * pause)

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each transaction of any process that has called its `wake`."""
        self._writer.listen(wake)
        self._starter.listen(wake)
        self._ears.begin()

    def unlisten(self, wake: Callable[[], None]) -> None:
        """Call it no more."""
        self._writer.unlisten(wake)
        self._starter.unlisten(wake)

    def close(self) -> None:
        """Write what was not written yet, and close the connections."""
        self._starter.close()
        self._writer.close()
        self._ears.close()
        with self._reading:
            self._closed = True
            if self._reader is not None:
                self._reader.close()


def _writer(mark: _Mark, patience: float) -> Writer:
    def connect() -> _Session:
        session = _Session(mark, "writer")
        try:
            session.enter()
        except BaseException:
            session.close()
            raise
        return session

    return Writer(connect, patience=patience)


class _Clock:
    """The server's clock, as it was last seen."""

    def __init__(self) -> None:
        #: Its time, less that of the monotonic clock here.
        self.offset = time.time() - time.monotonic()


class _Mark:
    """What the connections share by which one writer writes, one after the other."""

    def __init__(self, url: str, clock: _Clock | None = None) -> None:
        self.url = url
        self.clock = clock or _Clock()
        #: Of the writer.
        self.id = uuid.uuid4().hex
        #: Of its last transaction.
        self.number = 0

    def connect(self, role: str) -> psycopg.Connection[Any]:
        """Return a new connection."""
        options: dict[str, Any] = {**_OPTIONS, **conninfo_to_dict(self.url)}
        options["application_name"] = f"stackless durable {role} {self.id}"
        return psycopg.connect(**options, autocommit=True, prepare_threshold=1)


class _Session(Session):
    """A connection."""

    errors = (psycopg.Error,)

    def __init__(self, mark: _Mark, role: str) -> None:
        self._mark = mark
        self._role = role
        self._now = 0.0
        try:
            self._connection = mark.connect(role)
        except psycopg.OperationalError as error:
            raise Again("the server cannot be reached") from error
        self._cursor = self._connection.cursor()

    def enter(self) -> None:
        """Become the connection of the writer; one that is left of an earlier one is ended."""
        mark = self._mark
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = current_setting('application_name')"
            " AND pid <> pg_backend_pid()"
        )
        # If this process is cut off, what it has locked is free again after this time.
        self.run("SET idle_in_transaction_session_timeout = '60s'")
        self.run(
            f"INSERT INTO durable_writers VALUES (?, ?, {_TIME}) ON CONFLICT DO NOTHING",
            *(mark.id, mark.number),
        )
        self.run(f"DELETE FROM durable_writers WHERE id <> ? AND seen < {_TIME} - 86400", mark.id)

    @property
    def now(self) -> float:
        return self._now

    @property
    def in_transaction(self) -> bool:
        return not self.lost and self._connection.info.transaction_status != _IDLE

    @property
    def lost(self) -> bool:
        return self._connection.closed

    def begin(self, wait: bool = True) -> None:
        self.woken = False
        before = time.monotonic()
        self._do(self._cursor.execute, f"BEGIN; SELECT {_TIME}")
        self._cursor.nextset()
        row = self._cursor.fetchone()
        assert row is not None
        self._now = row[0]
        self._mark.clock.offset = self._now - (before + time.monotonic()) / 2

    def exclude_others(self) -> None:
        self.run("SELECT pg_advisory_xact_lock(?)", _MIGRATING)

    def commit(self) -> None:
        notify = f"NOTIFY {_CHANNEL}; " if self.woken else ""
        mark = ""
        if self._role == "writer":
            self._mark.number += 1
            mark = (
                f"UPDATE durable_writers SET number = {self._mark.number}, seen = {_TIME}"
                f" WHERE id = '{self._mark.id}'"
                " AND pg_current_xact_id_if_assigned() IS NOT NULL; "
            )
        try:
            self._cursor.execute(f"{notify}{mark}COMMIT")
        except psycopg.Error as error:
            if self.lost:
                raise Unclear(f"it is not known whether this was written: {error}") from error
            if isinstance(error, _IN_THE_WAY):
                raise Again("others were in the way") from error
            raise
        while self._cursor.nextset():
            pass
        if self._cursor.statusmessage != "COMMIT":
            raise DurableError(f"a transaction ended with {self._cursor.statusmessage}")

    def has_committed(self, lost: Any) -> bool:
        # The row is locked until the server has ended the connection that was lost.
        found = self.rows(
            "SELECT number FROM durable_writers WHERE id = ? FOR UPDATE", self._mark.id
        )
        if not found:
            raise DurableError("it is not known whether this was written: the writer's row is gone")
        return bool(found[0][0] == self._mark.number)

    def rollback(self) -> None:
        if self.in_transaction:
            self._do(self._cursor.execute, "ROLLBACK")

    def close(self) -> None:
        if self._role == "writer" and not self.lost:
            with contextlib.suppress(Again, psycopg.Error):
                self.run("DELETE FROM durable_writers WHERE id = ?", self._mark.id)
        self._connection.close()

    def run(self, statement: str, *values: Any) -> int:
        self._do(self._cursor.execute, _SQL[statement], values)
        return self._cursor.rowcount

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        self._do(self._cursor.execute, _SQL[statement], values)
        return self._cursor.fetchall()

    def many(self, statement: str, rows: list[tuple[Any, ...]]) -> int:
        if len(rows) < 2:
            return self.run(statement, *rows[0]) if rows else 0
        self._do(self._cursor.executemany, _SQL[statement], rows)
        return self._cursor.rowcount

    def call(self, function: Callable[[Any], None]) -> Exception | None:
        kept = {name: getattr(self._connection, name) for name in _FACTORIES}
        try:
            with self._connection.transaction():  # a savepoint; it refuses commit and rollback
                function(self._connection)
        except Exception as error:
            if self.lost or isinstance(error, _IN_THE_WAY):
                raise Again(str(error)) from error
            if self._connection.info.transaction_status != _IN_TRANSACTION:
                raise
            return error
        finally:
            for name, value in kept.items():
                setattr(self._connection, name, value)
        return None

    def _do(self, method: Callable[..., Any], *arguments: Any) -> None:
        try:
            method(*arguments)
        except psycopg.Error as error:
            if self.lost or isinstance(error, _IN_THE_WAY):
                raise Again(str(error)) from error
            raise


_IDLE = psycopg.pq.TransactionStatus.IDLE
_IN_TRANSACTION = psycopg.pq.TransactionStatus.INTRANS
#: What a function of the program may set on a connection.
_FACTORIES = ("row_factory", "cursor_factory", "prepare_threshold")


class _Ears:
    """Waits for notifications in a thread, which `begin` starts."""

    def __init__(self, mark: _Mark, wake: Callable[[], None]) -> None:
        self._mark = mark
        self._wake = wake
        #: True while notifications arrive.
        self.listening = False
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._closed = threading.Event()

    def begin(self) -> None:
        """Start the thread, once."""
        with self._changing:
            if self._thread is None and not self._closed.is_set():
                self._thread = thread(self._run, "stackless.durable listener")
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        with self._changing:
            self._closed.set()
            if self._connection is not None and not self._connection.closed:
                # It waits in a system call, which this ends.
                with (
                    contextlib.suppress(OSError, psycopg.Error),
                    socket.socket(fileno=os.dup(self._connection.fileno())) as same,
                ):
                    same.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(psycopg.Error, OSError):
                self._listen()
            self.listening = False
            self._closed.wait(0.5)

    def _listen(self) -> None:
        connection = self._mark.connect("listener")
        try:
            with self._changing:
                self._connection = connection
                if self._closed.is_set():
                    return
            connection.execute(f"LISTEN {_CHANNEL}")
            self.listening = True
            self._wake()  # for what was not heard before
            for _ in connection.notifies():
                self._wake()
        finally:
            connection.close()
