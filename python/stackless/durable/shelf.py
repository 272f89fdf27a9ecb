"""`Shelf`: named bytes in a store, for one process at a time.

For other parts of this package and for programs that keep data of their own beside workflows, such
as the checkpoints of `stackless.cluster`.
"""

from __future__ import annotations

import os
import socket
import time

import stackless
from stackless.durable.records import LeaseLost
from stackless.durable.store import open_store
from stackless.durable.store.database import Transaction
from stackless.durable.waiting import wait_for

#: Seconds between two attempts to get a lease.
_PAUSE = 0.1


class Shelf:
    """Bytes under names in a store, that only the process which has its lease can see and change.

    `name`: of the shelf; other shelves in the same store are apart from it. `store`: "sqlite:///"
    and a path, or "postgresql://...". `lease`: seconds after the last change or `renew()` after
    which another process can get the shelf. `timeout`: seconds to wait for the process that has it.
    Raises TimeoutError if that has it even then, ValueError for another store or a lease that is
    not positive, and what the store raises.

    Each process that gets the shelf has a higher `token` than those before it. All methods may be
    called from any thread; only the calling tasklet waits. They raise LeaseLost if another process
    has the shelf now, and then change nothing, and what the store raises.
    """

    def __init__(self, name: str, store: str, *, lease: float = 30.0, timeout: float = 0.0) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a shelf must be a str, not {type(name).__name__}")
        if not lease > 0:
            raise ValueError("lease must be positive")
        self.name = name
        self.lease = lease
        self._closed = False
        self._holder = f"{socket.gethostname()}-{os.getpid()}"
        self._store = open_store(store)
        end = time.monotonic() + timeout
        try:
            while (token := wait_for(self._store._write(self._take))) is None:
                if time.monotonic() > end:
                    (holder,) = self._store._read(
                        "SELECT holder FROM durable_shelves WHERE name = ?", name
                    )[0]
                    raise TimeoutError(f"the shelf {name!r} belongs to the process {holder}")
                stackless.sleep(_PAUSE)
        except BaseException:
            self._store.close()
            raise
        #: 1, and higher for each process that gets the shelf.
        self.token = token

    def _take(self, to: Transaction) -> int | None:
        to.run(
            "INSERT INTO durable_shelves (name, token, holder, until) VALUES (?, 0, '', 0)"
            " ON CONFLICT (name) DO NOTHING",
            self.name,
        )
        ((token, until),) = to.rows(
            "SELECT token, until FROM durable_shelves WHERE name = ? FOR UPDATE", self.name
        )
        if until > to.now:
            return None
        to.run(
            "UPDATE durable_shelves SET token = ?, holder = ?, until = ? WHERE name = ?",
            *(token + 1, self._holder, to.now + self.lease, self.name),
        )
        return int(token) + 1

    def _renew(self, to: Transaction, seconds: float) -> None:
        changed = to.run(
            "UPDATE durable_shelves SET until = ? WHERE name = ? AND token = ?",
            *(to.now + seconds, self.name, self.token),
        )
        if not changed:
            raise LeaseLost(f"another process has the shelf {self.name!r} now")

    def put(self, key: str, value: bytes, *, instead_of: str | None = None) -> None:
        """Keep bytes under a key, instead of what is there; return when they are on the disk.

        `instead_of`: a key that is removed in the same transaction.
        """

        def write(to: Transaction) -> None:
            self._renew(to, self.lease)
            if instead_of is not None:
                _remove(to, self.name, instead_of)
            to.run(
                "INSERT INTO durable_kept (shelf, key, value) VALUES (?, ?, ?)"
                " ON CONFLICT (shelf, key) DO UPDATE SET value = excluded.value",
                *(self.name, key, value),
            )

        wait_for(self._store._write(write))

    def remove(self, key: str) -> None:
        """Keep what is under a key no longer. Nothing if there is nothing."""

        def write(to: Transaction) -> None:
            self._renew(to, self.lease)
            _remove(to, self.name, key)

        wait_for(self._store._write(write))

    def items(self) -> list[tuple[str, bytes]]:
        """Return all keys and what is under them, in the order of the keys."""

        def read(to: Transaction) -> list[tuple[str, bytes]]:
            self._renew(to, self.lease)
            found = to.rows("SELECT key, value FROM durable_kept WHERE shelf = ?", self.name)
            return sorted((str(key), bytes(value)) for key, value in found)

        return wait_for(self._store._write(read))

    def renew(self) -> None:
        """Keep the shelf for another `lease` seconds from now on."""
        wait_for(self._store._write(lambda to: self._renew(to, self.lease)))

    def close(self, *, give_back: bool = True) -> None:
        """Close the store; what is kept stays. Nothing if it is closed.

        `give_back`: let others have the shelf at once, and not when the lease is over.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if give_back:
                wait_for(self._store._write(lambda to: self._renew(to, 0.0)))
        except LeaseLost:
            pass  # another process has it already
        finally:
            self._store.close()


def _remove(to: Transaction, shelf: str, key: str) -> None:
    to.run("DELETE FROM durable_kept WHERE shelf = ? AND key = ?", shelf, key)
