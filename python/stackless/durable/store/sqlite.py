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
from concurrent.futures import Future
from typing import Any, TypeVar

from stackless.durable.records import DurableError
from stackless.durable.store.database import Dialect, Operation
from stackless.durable.store.schema import migrate
from stackless.durable.store.writer import Writer

T = TypeVar("T")

_SQL = Dialect(
    {
        "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "BYTEA": "BLOB",
        " FOR UPDATE": "",
        " SKIP LOCKED": "",
    }
)


class SQLite:
    """The database in the file `path`, which is made if it does not exist.

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
            migrate(self._reader)
        except BaseException:
            self._reader.close()
            raise
        self._writer = Writer(self._connect)

    def _connect(self) -> _Session:
        return _Session(self.path, self.now)

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._reading:
            return self._reader.rows(statement, *values)

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Return the future of an operation that the writer does."""
        return self._writer.submit(operation)

    def close(self) -> None:
        """Write what was not written yet, and close the database."""
        self._writer.close()
        with self._reading:
            self._reader.close()


class _Session:
    """A connection."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._connection = sqlite3.connect(
            path, timeout=30, isolation_level=None, check_same_thread=False
        )
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            self._connection.close()
            raise
        self.close = self._connection.close
        self.rollback = self._connection.rollback

    @property
    def now(self) -> float:
        return self._clock()

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def begin(self) -> None:
        # At once, so that it waits for a process that writes before it has read anything.
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def run(self, statement: str, *values: Any) -> int:
        return self._connection.execute(_SQL[statement], values).rowcount

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(_SQL[statement], values).fetchall()

    def call(self, function: Callable[[sqlite3.Connection], None]) -> Exception | None:
        """Call a function of the program. It cannot end the transaction, which others share."""
        connection = self._connection
        factories = connection.row_factory, connection.text_factory
        connection.execute("SAVEPOINT program")
        connection.set_authorizer(_no_ends)
        try:
            function(connection)
        except Exception as error:
            failed: Exception | None = error
        else:
            failed = None
        finally:
            connection.set_authorizer(None)
            connection.row_factory, connection.text_factory = factories
        if not connection.in_transaction:
            raise failed or sqlite3.OperationalError("the transaction has ended")
        if failed is not None:
            connection.execute("ROLLBACK TO program")
        connection.execute("RELEASE program")
        return failed


def _no_ends(action: int, *_: object) -> int:
    """Refuse statements that begin or end transactions, and savepoints."""
    denied = action in (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT)
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK
