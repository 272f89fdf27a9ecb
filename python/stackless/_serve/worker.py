"""Serves connections in one process: accepts them, watches time limits, and ends gracefully."""

from __future__ import annotations

import contextlib
import contextvars
import email.utils
import errno
import logging
import socket as stock
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import stackless
from stackless import ssl, sync
from stackless._serve import listeners as _listeners
from stackless._serve.body import FileWrapper
from stackless._serve.connection import Connection
from stackless._serve.logs import AccessLog, error_log
from stackless._serve.settings import Settings

#: Seconds to wait when the process has no more descriptors or memory.
_PAUSE = 0.1
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: accept() failed for a reason of that connection alone.
_NEXT = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH})


class _Clock:
    """The time for limits, in seconds, and the line `Date`: both change when tick() is called.

    It stands still while the application lets no other tasklet run, so that clients which have sent
    something meanwhile are not late.
    """

    def __init__(self, period: float) -> None:
        self.now = 0.0
        self._most = 2 * period
        self._last = time.monotonic()
        self.tick()

    def tick(self) -> None:
        last, self._last = self._last, time.monotonic()
        self.now += min(self._last - last, self._most)
        date = email.utils.formatdate(usegmt=True)
        self.date_line = f"Date: {date}\r\n".encode()


class Server:
    """A WSGI server in the calling process; serve_forever() serves until stop().

    app: the application. Options: the fields of `Settings`, `workers` and `worker_timeout` without
    effect. listeners: sockets that listen already, instead of `bind`; they stay open. log: a
    `logging.Logger` for errors; one that writes to stderr if None.

    The constructor binds: OSError if that is not possible, ValueError for options that make no
    sense. Each connection has a tasklet, and each request a copy of the context of the tasklet that
    calls serve_forever(). Nothing is patched. Any tasklet or thread may call stop().
    """

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        *,
        listeners: Iterable[stock.socket] | None = None,
        log: logging.Logger | None = None,
        **options: Any,
    ) -> None:
        if not callable(app):
            raise TypeError(f"the application must be callable, not {type(app).__name__}")
        self.application = app
        self.settings = settings = Settings(**options)
        self.log = error_log() if log is None else log
        self.tls = _tls(settings)
        limits = [settings.header_timeout, settings.body_timeout, settings.send_timeout]
        if settings.keep_alive:
            limits.append(settings.keep_alive)
        self._period = min(max(min(limits) / 4, 0.05), 1.0)
        self.clock = _Clock(self._period)
        self.access = None if settings.access_log is None else AccessLog(settings)
        self.stopping = False
        self._stopped = sync.Event()
        self._room = sync.Event()
        self._connections: dict[Connection, stackless.tasklet] = {}
        self._own = listeners is None
        self._listeners = (
            _listeners.bind_all(settings.binds, settings.backlog, settings.socket_mode)
            if listeners is None
            else list(listeners)
        )
        #: Where it listens: "127.0.0.1:8000", "unix:/path", ...
        self.addresses = [_listeners.name_of(listener) for listener in self._listeners]

    def serve_forever(self, beat: Callable[[], None] | None = None) -> None:
        """Serve until stop() is called; then end the requests that are under way, and close.

        `beat` is called about each second or more often, as long as other tasklets get turns.
        """
        self.context = contextvars.copy_context()
        accepting = [
            stackless.tasklet(self._accept)(listener, _listeners.waiting(listener))
            for listener in self._listeners
        ]
        try:
            while not self._stopped.wait(self._period):
                self._tick(beat)
        finally:
            self.stopping = True
            for tasklet in accepting:
                tasklet.kill()
            self.close()
            self._finish(beat)

    def stop(self) -> None:
        """End serve_forever(); does not wait for that."""
        self._stopped.set()

    def close(self) -> None:
        """Close the listening sockets that the constructor has bound."""
        if self._own:
            _listeners.unlink(listener for listener in self._listeners if listener.fileno() >= 0)
            for listener in self._listeners:
                listener.close()

    def _tick(self, beat: Callable[[], None] | None) -> None:
        clock = self.clock
        clock.tick()
        now = clock.now
        for connection in list(self._connections):
            if connection.deadline < now:
                connection.expire()
        if self.access is not None:
            try:
                self.access.flush()
            except OSError as error:
                self.log.error("Cannot write the access log: %s", error)
        if beat is not None:
            beat()

    def _finish(self, beat: Callable[[], None] | None) -> None:
        for connection in list(self._connections):
            connection.stop()
        end = time.monotonic() + self.settings.graceful_timeout
        while self._connections and (left := end - time.monotonic()) > 0:
            self._room.clear()
            self._room.wait(min(left, self._period))
            self._tick(beat)
        if self._connections:
            self.log.warning("%d requests did not end in time", len(self._connections))
            for tasklet in list(self._connections.values()):
                tasklet.kill()
        self._tick(beat)

    # ---------------------------------------------------------------- connections

    def closed(self, connection: Connection) -> None:
        """Forget a connection: called when its tasklet ends."""
        self._connections.pop(connection, None)
        self._room.set()

    def _accept(self, listener: stock.socket, ours: Any) -> None:
        template = self._template(listener)
        most, connections = self.settings.connections, self._connections
        with contextlib.closing(ours):
            while True:
                while len(connections) >= most:
                    self._room.clear()
                    self._room.wait()
                try:
                    client, address = ours.accept()
                except OSError as error:
                    if error.errno in _SHORT:
                        self.log.warning("Cannot accept: %s", error)
                        stackless.sleep(_PAUSE)
                    elif not isinstance(error, TimeoutError) and error.errno not in _NEXT:
                        self.log.error("Cannot accept: %s", error)
                        stackless.sleep(_PAUSE)
                    continue
                environ = template.copy()
                environ["REMOTE_ADDR"] = address[0] if address else ""
                environ["REMOTE_PORT"] = str(address[1]) if address else ""
                connection = Connection(self, client, address, environ)
                # The context that it shares with this tasklet may be inside Context.run(), as that
                # of a thread is on Python 3.14 and later: it could not be changed then.
                tasklet = stackless.tasklet(connection.run).set_context(self.context.copy())
                connections[connection] = tasklet
                tasklet()

    def _template(self, listener: stock.socket) -> dict[str, Any]:
        """Return what is the same in the environ of all requests to a listener."""
        if listener.family == stock.AF_UNIX:
            host, port = "localhost", "443" if self.tls else "80"
        else:
            host, number, *_ = listener.getsockname()
            port = str(number)
        environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if self.tls else "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": self.settings.workers > 1,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "SERVER_SOFTWARE": "stackless",
            "SERVER_NAME": host,
            "SERVER_PORT": port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
            "REMOTE_ADDR": "",
            "REMOTE_PORT": "",
            "REQUEST_METHOD": "",
            "REQUEST_URI": "",
            "PATH_INFO": "",
            "QUERY_STRING": "",
            "wsgi.input": None,
        }
        if self.tls:
            environ["HTTPS"] = "on"
        return environ


def _tls(settings: Settings) -> Any:
    if settings.certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.certfile, settings.keyfile)
    context.set_alpn_protocols(["http/1.1"])
    return context
