"""A worker of gunicorn that serves each connection in a tasklet.

    gunicorn --worker-class stackless.integrations.gunicorn.TaskletWorker module:app

The application is ordinary blocking code: the standard library is patched (`stackless.monkey`)
before it is loaded. These settings of gunicorn apply as for its gevent worker:
`worker_connections`, `keepalive`, `graceful_timeout`, `timeout`, `max_requests`, TLS.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import os
import time
from types import FrameType
from typing import Any

from gunicorn import sock as gunicorn_sock
from gunicorn import util
from gunicorn.workers.base_async import AsyncWorker

import stackless
from stackless import monkey, sync

__all__ = ["TaskletWorker"]

#: Seconds between two signs of life for gunicorn's main process, and the longest wait for accept().
_BEAT = 1.0
#: Seconds to wait when the process has no more descriptors.
_PAUSE = 0.1


class TaskletWorker(AsyncWorker):  # type: ignore[misc]
    """Serves the connections of one worker process, each in a tasklet with a context of its own.

    When gunicorn stops or reloads it, it accepts no more connections, finishes the requests that
    are under way, for at most `graceful_timeout` seconds, and raises TaskletExit in the others.
    """

    alive: bool

    def init_process(self) -> None:
        monkey.patch_all()
        self._handlers: set[stackless.tasklet] = set()
        self._free = sync.Semaphore(self.worker_connections)
        self._stopping = sync.Event()
        super().init_process()

    def timeout_ctx(self) -> contextlib.AbstractContextManager[Any]:
        return stackless.move_on_after(self.cfg.keepalive)

    def run(self) -> None:
        accepting = [stackless.tasklet(self._accept)(listener) for listener in self.sockets]
        while self.alive and self.ppid == os.getppid():
            self.notify()
            self._stopping.wait(_BEAT)
        self.alive = False
        for tasklet in accepting:
            tasklet.kill()
        for listener in self.sockets:
            listener.close()
        self._finish()

    def _finish(self) -> None:
        end = time.monotonic() + self.cfg.graceful_timeout
        while self._handlers and (left := end - time.monotonic()) > 0:
            self.notify()
            stackless.sleep(min(left, _PAUSE))
        if self._handlers:
            self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
            for tasklet in list(self._handlers):
                tasklet.kill()

    def _accept(self, listener: Any) -> None:
        # Other worker processes accept on the same listener: a blocking accept() would keep this
        # process waiting in the system when another one takes the connection.
        listener.settimeout(_BEAT)
        while self.alive:
            self._free.acquire()
            try:
                client, address = listener.accept()
            except OSError as error:
                self._free.release()
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    self.log.warning("Cannot accept: %s", error)
                    stackless.sleep(_PAUSE)
                elif not isinstance(error, TimeoutError) and error.errno != errno.ECONNABORTED:
                    raise
            else:
                tasklet = stackless.tasklet(self._serve)
                tasklet.set_context(contextvars.copy_context())(listener, client, address)
                self._handlers.add(tasklet)

    def _serve(self, listener: Any, client: Any, address: Any) -> None:
        try:
            client.setblocking(True)
            if self.cfg.is_ssl:
                client = gunicorn_sock.ssl_wrap_socket(client, self.cfg)
            self.handle(listener, client, address)
        except OSError as error:  # before the first request: TLS errors are among these
            self.log.debug("Connection from %s failed: %s", address, error)
        finally:
            util.close(client)
            self._handlers.discard(stackless.getcurrent())
            self._free.release()
            if not self.alive:  # `max_requests` is reached
                self._stopping.set()

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except stackless.TaskletExit:
            raise StopIteration from None  # the connection is closed

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._stopping.set()


def __dir__() -> list[str]:
    return sorted(__all__)
