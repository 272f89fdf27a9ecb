"""What the operations of a store need of a database, and what its writer does.

Statements are written once, in the SQL that SQLite and PostgreSQL share, with `?` for each value.
Where they differ a statement is PostgreSQL's, and SQLite's connection changes it: `FOR UPDATE` and
`SKIP LOCKED` go, since its transactions that write exclude one another, and types get its names.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

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


class Transaction(Protocol):
    """A transaction that writes."""

    @property
    def now(self) -> float:
        """The database's time, in seconds since the epoch."""

    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement; return how many rows it has changed."""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query, or of what follows RETURNING."""

    def call(self, function: Callable[[Any], None]) -> Exception | None:
        """Call a function of the program with the connection; what it writes belongs to this.

        Returns the exception that it has raised; then what it has written is undone.
        """


#: What is written: called in a transaction. May be called again if that could not be committed.
Operation = Callable[[Transaction], T]


class Session(Transaction, Protocol):
    """The connection that writes. It belongs to one thread."""

    @property
    def in_transaction(self) -> bool:
        """False if an error has ended the whole transaction."""

    def begin(self) -> None:
        """Begin a transaction that will write."""

    def commit(self) -> None:
        """Return when what was written is on the disk."""

    def rollback(self) -> None:
        """Undo the transaction, if there is one."""

    def close(self) -> None:
        """Close the connection."""


class Database(Protocol):
    """A database that is open. All methods may be called from any thread."""

    #: What it raises when it cannot be reached: to be tried again.
    errors: tuple[type[Exception], ...]

    def now(self) -> float:
        """Return the database's time, in seconds since the epoch."""

    def read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query; it sees all that a future has reported as written."""

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Return the future of an operation: its result when it is on the disk, or its exception.

        An operation that raises changes nothing, and others are written nevertheless. RuntimeError
        after `close`.
        """

    def close(self) -> None:
        """Write what was not written yet, and close the database."""
