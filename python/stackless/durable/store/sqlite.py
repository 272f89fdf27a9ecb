"""Durable workflows in an SQLite database, for the processes of one machine.

The database is in WAL mode with `synchronous=FULL`: what a future reports as written is on the
disk. All writes of a process go through one thread (`writer`).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from stackless.durable.records import DurableError
from stackless.durable.store.database import Again, Dialect, Session
from stackless.durable.store.schema import migrate
from stackless.durable.store.writer import Writer

#: Seconds to wait for a process that writes.
_PATIENCE = 30

_SQL = Dialect(
    {
        "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "BYTEA": "BLOB",
        " FOR UPDATE": "",
        " SKIP LOCKED": "",
    }
)


def _time() -> float:
    return time.time()  # looked up for each call: tests may replace it


class SQLite:
    """The database in the file `path`, which is made if it does not exist.

    `clock` returns the time in seconds since the epoch. Raises sqlite3.Error if the file cannot be
    opened, DurableError if a later release has written it, or for SQLite before 3.35.
    """

    @property
    def poll(self) -> float:
        """Other processes cannot tell what they have made due."""
        return 0.2

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = _time) -> None:
        if sqlite3.sqlite_version_info < (3, 35):
            raise DurableError(f"SQLite 3.35 is needed, this is {sqlite3.sqlite_version}")
        self.errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
        self.path = os.fspath(path)
        self.now = clock
        self._reading = threading.Lock()
        self._reader = self._connect(writes=False)
        try:
            migrate(self._reader)
        except BaseException:
            self._reader.close()
            raise
        self._writer = Writer(self._connect, quick=0.001)
        self.submit = self.submit_start = self._writer.submit
        self.listen, self.unlisten = self._writer.listen, self._writer.unlisten

    def _connect(self, writes: bool = True) -> _Session:
        return _Session(self.path, self.now, writes)

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._reading:
            return self._reader.rows(statement, *values)

    def close(self) -> None:
        """Write what was not written yet, and close the database."""
        self._writer.close()
        with self._reading:
            self._reader.close()


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


class _Session(Session):
    """A connection."""

    errors = (sqlite3.Error,)

    def __init__(self, path: str, clock: Callable[[], float], writes: bool) -> None:
        self._clock = clock
        self._connection = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        self._execute = self._connection.execute
        try:
            self._use_wal()
            self._execute("PRAGMA synchronous=FULL")
            if writes:
                # `begin` waits: no other statement can be in the way of those of others.
                self._execute("PRAGMA busy_timeout=0")
        except BaseException:
            self._connection.close()
            raise

    def _use_wal(self) -> None:
        # Of several that change the mode of a new database at once, SQLite lets one wait for none.
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self._execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    @property
    def now(self) -> float:
        return self._clock()

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def begin(self, wait: bool = True) -> None:
        self.woken = False
        end = 0.0
        while True:
            try:
                # IMMEDIATE: it waits for a process that writes before it has read anything.
                self._execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                if not wait:
                    raise Again("another process writes now") from error
                end = end or time.monotonic() + _PATIENCE
                if time.monotonic() > end:
                    raise
            time.sleep(0.001)

    def exclude_others(self) -> None:
        pass  # it did that when it began

    def commit(self) -> None:
        self._execute("COMMIT")

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()

    def run(self, statement: str, *values: Any) -> int:
        return self._execute(_SQL[statement], values).rowcount

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._execute(_SQL[statement], values).fetchall()

    def many(self, statement: str, rows: list[tuple[Any, ...]]) -> int:
        if len(rows) == 1:
            return self._execute(_SQL[statement], rows[0]).rowcount
        if not rows:
            return 0
        return self._connection.executemany(_SQL[statement], rows).rowcount

    def call(self, function: Callable[[Any], None]) -> Exception | None:
        connection = self._connection
        factories = connection.row_factory, connection.text_factory
        self._execute("SAVEPOINT program")
        connection.set_authorizer(_no_ends)
        failed: Exception | None = None
        try:
            function(connection)
        except Exception as error:
            failed = error
        finally:
            connection.set_authorizer(None)
            connection.row_factory, connection.text_factory = factories
        if not connection.in_transaction:  # a full disk or an I/O error has ended it
            raise failed or sqlite3.OperationalError("the transaction has ended")
        if failed is not None:
            self._execute("ROLLBACK TO program")
        self._execute("RELEASE program")
        return failed


def _no_ends(action: int, *_: object) -> int:
    """Refuse statements that begin or end transactions and savepoints."""
    denied = action in (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT)
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK
