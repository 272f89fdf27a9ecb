"""Group commit: one thread writes what many callers have ready, in one transaction.

A commit that is on the disk takes far longer than the statements in it. While one is under way, the
next operations gather; they are committed together.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from stackless.durable.store.database import Operation, Session

T = TypeVar("T")


class Writer:
    """The thread that writes, and its connection."""

    #: The most operations in a transaction.
    MOST = 1000

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._waiting: queue.SimpleQueue[tuple[Operation[Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stackless.durable writer")
        self._thread.daemon = True
        self._thread.start()

    def submit(self, operation: Operation[T]) -> Future[T]:
        """Return the future of an operation: its result when it is on the disk, or its exception.

        An operation that raises changes nothing, and others are written nevertheless. RuntimeError
        after `close`.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # it cannot be cancelled
        with self._closing:
            if self._closed:
                raise RuntimeError("the store is closed")
            self._waiting.put((operation, future))
        return future

    def close(self) -> None:
        """Write what is waiting, and end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            session = self._connect()
        except BaseException as error:
            self._fail_all(error)
            return
        try:
            while (batch := self._batch()) is not None:
                self._write(session, batch)
        finally:
            session.close()

    def _batch(self) -> list[tuple[Operation[Any], Future[Any]]] | None:
        """Wait for operations; None when there will be no more."""
        found = self._waiting.get()
        if found is None:
            return None
        batch = [found]
        while len(batch) < self.MOST:
            try:
                found = self._waiting.get_nowait()
            except queue.Empty:
                break
            if found is None:
                self._waiting.put(None)
                break
            batch.append(found)
        return batch

    def _write(self, session: Session, batch: list[tuple[Operation[Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            session.begin()
            for operation, future in batch:
                done.append((future, *_attempt(session, operation)))
            session.commit()
        except BaseException as error:
            with contextlib.suppress(Exception):
                session.rollback()
            done = [(future, None, error) for _, future in batch]
        for future, result, failed in done:
            if failed is None:
                future.set_result(result)
            else:
                future.set_exception(failed)

    def _fail_all(self, error: BaseException) -> None:
        while (found := self._waiting.get()) is not None:
            found[1].set_exception(error)


def _attempt(session: Session, operation: Operation[Any]) -> tuple[Any, BaseException | None]:
    session.run("SAVEPOINT one")
    try:
        result = operation(session)
    except BaseException as error:
        if not session.in_transaction:
            raise  # a full disk or an I/O error has ended the whole transaction
        session.run("ROLLBACK TO one")
        session.run("RELEASE one")
        return None, error
    session.run("RELEASE one")
    return result, None
