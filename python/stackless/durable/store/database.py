"""What the operations of a store need of a database, and what its writer does.

Statements are written once, in the SQL that SQLite and PostgreSQL share, with `?` for each value.
Where they differ a statement is PostgreSQL's, and SQLite's connection changes it: `FOR UPDATE` and
`SKIP LOCKED` go, since its transactions that write exclude one another, and types get its names.
"""

from __future__ import annotations

import abc
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from stackless.durable.records import DurableError

T = TypeVar("T")


class Dialect(dict[str, str]):
    """Statements as a database takes them, by how the operations have them."""

    def __init__(self, words: dict[str, str]) -> None:
        super().__init__()
        self._words = words

    def __missing__(self, statement: str) -> str:
        self[statement] = statement
        for word, here in self._words.items():
            self[statement] = self[statement].replace(word, here)
        return self[statement]


class Again(Exception):
    """A transaction was not committed, and may be tried again. Its cause is the database's error.

    Its connection was lost, or it was in the way of another transaction.
    """


class Unclear(DurableError):
    """The connection was lost while a transaction was committed. Raised if it is not known whether
    the operation was written, since the database could not be reached again for long enough."""


class Transaction(Protocol):
    """A transaction that writes."""

    #: What the database raises.
    errors: tuple[type[Exception], ...]

    @property
    def in_transaction(self) -> bool:
        """False if an error has ended the whole transaction."""

    @property
    def now(self) -> float:
        """The database's time, in seconds since the epoch."""

    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement; return how many rows it has changed."""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or of what follows RETURNING."""

    def many(self, statement: str, rows: list[tuple[Any, ...]]) -> int:
        """Execute a statement once for each row of values; return how many rows were changed."""

    def apart(self, operation: Operation[T]) -> T:
        """Do an operation in this transaction. If it raises, what it has written is undone."""

    def wake(self) -> None:
        """Let the workers of this store look for work when this is committed."""

    def call(self, function: Callable[[Any], None]) -> Exception | None:
        """Call a function of the program with the connection; what it writes belongs to this.

        It cannot end the transaction. Returns the exception that it has raised; then what it has
        written is undone.
        """


#: What is written: called in a transaction. May be called again if that could not be committed.
Operation = Callable[[Transaction], T]


class Session(abc.ABC):
    """The connection that writes: transactions, one after the other, in one thread at a time."""

    #: What the database raises.
    errors: tuple[type[Exception], ...]
    #: True if `wake` was called in this transaction.
    woken = False

    @property
    @abc.abstractmethod
    def now(self) -> float:
        """The database's time, in seconds since the epoch."""

    @property
    @abc.abstractmethod
    def in_transaction(self) -> bool:
        """False if an error has ended the whole transaction."""

    @property
    def lost(self) -> bool:
        """True if the connection can be used no more."""
        return False

    @abc.abstractmethod
    def begin(self, wait: bool = True) -> None:
        """Begin a transaction that will write.

        Raises Again where another process writes now, if it must not wait.
        """

    @abc.abstractmethod
    def exclude_others(self) -> None:
        """Let other processes that call this wait until the transaction has ended."""

    @abc.abstractmethod
    def commit(self) -> None:
        """Return when what was written is on the disk. Raises Unclear if that is not known."""

    @abc.abstractmethod
    def rollback(self) -> None:
        """Undo the transaction, if there is one."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @abc.abstractmethod
    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement; return how many rows it has changed."""

    @abc.abstractmethod
    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or of what follows RETURNING."""

    @abc.abstractmethod
    def many(self, statement: str, rows: list[tuple[Any, ...]]) -> int:
        """Execute a statement once for each row of values; return how many rows were changed."""

    @abc.abstractmethod
    def call(self, function: Callable[[Any], None]) -> Exception | None:
        """Call a function of the program with the connection, which cannot end the transaction."""

    def has_committed(self, lost: Any) -> bool:
        """Return whether the last commit of a session has happened, which has raised Unclear."""
        raise NotImplementedError

    def apart(self, operation: Operation[T]) -> T:
        """Do an operation in this transaction. If it raises, what it has written is undone."""
        self.run("SAVEPOINT one")
        try:
            result = operation(self)
        except BaseException:
            if self.in_transaction:
                self.run("ROLLBACK TO one")
                self.run("RELEASE one")
            raise
        self.run("RELEASE one")
        return result

    def wake(self) -> None:
        """Let the workers of this store look for work when this is committed."""
        self.woken = True


class Database(Protocol):
    """A database that is open. All methods may be called from any thread."""

    #: What it raises when it cannot be reached: to be tried again.
    errors: tuple[type[Exception], ...]

    @property
    def poll(self) -> float:
        """Seconds between looks for workflows that other processes have made due."""

    def now(self) -> float:
        """Return the database's time, in seconds since the epoch."""

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query; it sees all that a future has reported as written."""

    def submit(self, operation: Operation[T], here: bool = True) -> Future[T]:
        """Return the future of an operation: its result when it is on the disk, or its exception.

        An operation that raises changes nothing, and others are written nevertheless. It is done in
        another thread unless `here`; then perhaps in the calling one. RuntimeError after `close`.
        """

    def submit_start(self, operation: Operation[T]) -> Future[T]:
        """Do what `submit` does with one that only adds workflows; in another connection, perhaps.

        It may be committed before what was submitted earlier.
        """

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake`, in any thread, whenever a transaction has called its `wake`.

        Also if that was in another process, where the database can tell.
        """

    def unlisten(self, wake: Callable[[], None]) -> None:
        """Call it no more."""

    def close(self) -> None:
        """Write what was not written yet, and close the database."""


def thread(run: Callable[[], None], name: str) -> threading.Thread:
    """Return a thread of the operating system, also where `threading` is patched."""
    monkey = sys.modules.get("stackless.monkey")
    native = threading.Thread if monkey is None else monkey.original("threading", "Thread")
    made: threading.Thread = native(target=run, name=name, daemon=True)
    return made
