"""Group commit: what many callers have ready is written in one transaction.

A commit that is on the disk takes far longer than the statements in it. While one is under way, the
next operations gather; they are committed together. A thread does that. Handing an operation to it
and back takes as long as a commit of a quick disk, so a caller that has nothing else to do writes
by itself, if the database allows that.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import stackless
from stackless.durable.store.database import Again, Operation, Session, Unclear, thread

T = TypeVar("T")
Batch = list[tuple[Operation[Any], Future[Any]]]
_log = logging.getLogger("stackless.durable")


class Finished(Future[T]):
    """A future that is done when it is returned. It needs no lock."""

    def __init__(self) -> None:
        self._value: Any = None
        self._error: BaseException | None = None

    def set_result(self, result: T) -> None:
        self._value = result

    def set_exception(self, exception: BaseException | None) -> None:
        self._error = exception

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> T:
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return self._error

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        fn(self)

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False


class Writer:
    """The connection that writes, and its thread.

    `quick`: seconds; a caller without other tasklets that are ready writes by itself if the last
    commit took less. 0: never. `patience`: seconds for which an operation is tried again while
    the database cannot be reached.
    """

    #: The most operations in a transaction.
    MOST = 1000

    def __init__(
        self, connect: Callable[[], Session], *, quick: float = 0.0, patience: float = 30.0
    ) -> None:
        self._connect = connect
        self._quick = quick
        self._patience = patience
        #: Seconds that the last commit took.
        self._last = 0.0
        self._session: Session | None = None
        #: Held by the thread that uses the session.
        self._using = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[Operation[Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._changing = threading.Lock()
        self._closed = False
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._thread = thread(self._run, "stackless.durable writer")
        self._thread.start()

    def submit(self, operation: Operation[T], here: bool = True) -> Future[T]:
        """Return the future of an operation: its result when it is on the disk, or its exception.

        An operation that raises changes nothing, and others are written nevertheless. It is done in
        the thread unless `here`. RuntimeError after `close`.
        """
        if here and (done := self._write_here(operation)) is not None:
            return done
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # it cannot be cancelled
        with self._changing:
            if self._closed:
                raise RuntimeError("the store is closed")
            self._waiting.put((operation, future))
        return future

    def close(self) -> None:
        """Write what is waiting, and end the thread."""
        with self._changing:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each transaction that has called its `wake`."""
        with self._changing:
            self._listeners += (wake,)

    def unlisten(self, wake: Callable[[], None]) -> None:
        """Call it no more."""
        with self._changing:
            self._listeners = tuple(each for each in self._listeners if each != wake)

    def wake(self) -> None:
        """Call those who listen."""
        for each in self._listeners:
            each()

    # -------------------------------------------------------------- by the caller

    def _write_here(self, operation: Operation[T]) -> Finished[T] | None:
        """Write in the calling thread, if it has nothing else to do. None: not done."""
        if self._last >= self._quick or stackless.getruncount() != 1 or not self._waiting.empty():
            return None
        if not self._using.acquire(blocking=False):
            return None
        try:
            if self._closed or self._session is None:
                return None
            try:
                self._session.begin(wait=False)
            except Again:
                return None
            future = Finished[T]()
            _report(self._in_transaction(self._session, [(operation, future)]))
            return future
        finally:
            self._using.release()

    # -------------------------------------------------------------- by the thread

    def _run(self) -> None:
        try:
            while (batch := self._batch()) is not None:
                with self._using:
                    done = self._write(batch)
                _report(done)
                del batch, done
        finally:
            if self._session is not None:
                self._session.close()

    def _batch(self) -> Batch | None:
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

    def _write(self, batch: Batch) -> Done:
        """Write operations, again if the database was lost before their commit."""
        end = time.monotonic() + self._patience
        pause = 0.01
        while True:
            try:
                session = self._open()
                session.begin()
                return self._in_transaction(session, batch)
            except Again as error:
                failed = error.__cause__ or error
            except Exception as error:
                return [(future, None, error) for _, future in batch]
            if time.monotonic() > end:
                return [(future, None, failed) for _, future in batch]
            _log.warning("the store is tried again: %s", failed)
            time.sleep(pause)
            pause = min(1.0, 2 * pause)

    def _open(self) -> Session:
        if self._session is not None and self._session.lost:
            self._session.close()
            self._session = None
        if self._session is None:
            self._session = self._connect()
        return self._session

    # -------------------------------------------------------------- a transaction

    def _in_transaction(self, session: Session, batch: Batch) -> Done:
        """Do operations in the transaction that has begun, and end that.

        Raises Again if nothing was written and the operations may be done again.
        """
        try:
            if len(batch) == 1:
                operation, future = batch[0]
                try:
                    done: Done = [(future, operation(session), None)]
                except Again:
                    raise
                except Exception as error:
                    session.rollback()
                    return [(future, None, error)]
            else:
                done = [(future, *_attempt(session, operation)) for operation, future in batch]
            began = time.monotonic()
            try:
                session.commit()
            except Unclear as error:
                if not self._has_committed(session, error):
                    raise Again("a commit was lost with its connection") from error.__cause__
            self._last = time.monotonic() - began
            if session.woken:
                self.wake()
        except BaseException as error:
            with contextlib.suppress(Exception):
                session.rollback()
            if isinstance(error, Again) or not isinstance(error, Exception):
                raise
            return [(future, None, error) for _, future in batch]
        return done

    def _has_committed(self, lost: Session, why: Unclear) -> bool:
        """Find out whether a transaction was committed whose connection was lost meanwhile."""
        end = time.monotonic() + self._patience
        pause = 0.01
        while True:
            try:
                return self._open().has_committed(lost)
            except Again as error:
                _log.warning("the store is asked again what was written: %s", error)
            if time.monotonic() > end:
                raise why
            time.sleep(pause)
            pause = min(1.0, 2 * pause)


Done = list[tuple[Future[Any], Any, BaseException | None]]


def _report(done: Done) -> None:
    for future, result, failed in done:
        if failed is None:
            future.set_result(result)
        else:
            future.set_exception(failed)


def _attempt(session: Session, operation: Operation[Any]) -> tuple[Any, BaseException | None]:
    """Do one operation of several: one that raises changes nothing."""
    try:
        return session.apart(operation), None
    except Again:
        raise
    except Exception as error:
        if not session.in_transaction:
            raise  # a full disk or an I/O error has ended the whole transaction
        return None, error
