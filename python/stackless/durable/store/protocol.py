"""What a store of durable workflows does. `sqlite` has the one for SQLite."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from stackless.durable.records import Claim, Info, Message, Save, Step, Worker


class Store(Protocol):
    """Methods that write return futures, which are done when the data are on the disk.

    All methods may be called from any thread. Times are in seconds since the epoch.
    """

    #: What it raises when the database cannot be reached: to be tried again.
    errors: tuple[type[Exception], ...]

    def now(self) -> float:
        """Return the time that leases and due times are compared with."""

    def start(
        self, id: str, app: str, function: str, arguments: bytes, python: str
    ) -> Future[bool]:
        """Add a workflow, which is due at once. The result is False if there is one of this id."""

    def join(self, worker: Worker, lease: float) -> Future[None]:
        """Add a worker, whose lease ends in so many seconds, or extend its lease."""

    def leave(self, worker: Worker) -> Future[None]:
        """Remove a worker. Workflows that it has claimed can be claimed by others at once."""

    def claim(self, worker: Worker, count: int) -> Future[list[Claim]]:
        """Claim at most so many due workflows that the worker can load, the longest due first.

        Workflows of workers whose lease is over, or whose process has ended on this machine, are
        due again. LeaseLost if the worker itself has no lease any more.
        """

    def save(self, save: Save) -> Future[None]:
        """Write what a workflow has done, in one transaction. LeaseLost if the claim is over."""

    def send(self, id: str, topic: str, value: bytes) -> Future[None]:
        """Add a message; a workflow that waits for it is due. NoSuchWorkflow if there is none."""

    def message(self, id: str, topic: str) -> Message | None:
        """Return the oldest message of a topic. It stays until a `save` receives it."""

    def info(self, id: str) -> Info | None:
        """Return what is known of a workflow."""

    def infos(self, app: str, status: str | None, limit: int) -> list[Info]:
        """Return the workflows with a status, or all, the one started last first."""

    def steps(self, id: str) -> list[Step]:
        """Return the recorded steps of a workflow."""

    def next_due(self, app: str, python: str) -> float | None:
        """Return when the next workflow is due that nothing has claimed."""

    def code(self, digest: bytes) -> bytes | None:
        """Return the data of a code object."""

    def close(self) -> None:
        """Write what was not written yet, and close the store."""
