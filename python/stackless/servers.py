"""Servers of `socketserver` and `http.server` with a tasklet for each connection.

    class Hello(http.server.BaseHTTPRequestHandler): ...

    with stackless.servers.TaskletHTTPServer(("", 8000), Hello) as server:
        server.serve_forever()

`TaskletMixIn` uses tasklets for the requests of any server of `socketserver`, as
`socketserver.ThreadingMixIn` uses threads. Its sockets are those of `stackless.socket`; nothing is
patched. `serve_forever()` may run in a main tasklet, in another tasklet, or in another thread. The
handlers' tasklets belong to the same thread: when it ends, they are stopped. To let them finish,
the thread calls `stackless.run()` after `serve_forever()`.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import functools
import http.server
import select as stock_select
import socket as stock
import socketserver
from typing import TYPE_CHECKING, Any

from stackless import select, socket
from stackless._stackless import _wait_ready, channel, getcurrent, sleep, tasklet

__all__ = [
    "TaskletHTTPServer",
    "TaskletMixIn",
    "TaskletTCPServer",
    "TaskletUDPServer",
    "TaskletUnixDatagramServer",
    "TaskletUnixStreamServer",
]


def __dir__() -> list[str]:
    return sorted(__all__)


#: Errors of accept() for missing resources. The system does not tell when there are some again.
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 0.05

if TYPE_CHECKING:
    _Server = socketserver.TCPServer
else:
    _Server = object


class TaskletMixIn(_Server):
    """Handles each request in its own tasklet. Name it before the server's class.

    daemon_tasklets: True if neither `stackless.run()` nor server_close() waits for the tasklets.
    block_on_close: True if server_close() waits until the tasklets that are not daemons have ended.

    Each tasklet has a copy of the context of the serving tasklet: variables of `contextvars` belong
    to the request. A `threading.local` belongs to the thread, and so to all requests.

    Errors of a handler go to handle_error(), and do not stop other requests; SystemExit ends only
    its request, as in a thread. KeyboardInterrupt stops serve_forever() as in the standard classes.
    When the process has no more descriptors, connections wait in the system's queue.
    """

    daemon_tasklets = False
    block_on_close = True

    __stop = False
    # The tasklet that runs serve_forever(), True while it waits for a request, and a channel that
    # is closed when it ends.
    __server: tasklet | None = None
    __waits = False
    __serving: channel | None = None

    def server_bind(self) -> None:
        """Make the socket one of `stackless.socket` and bind it. The constructor calls this."""
        self.__take_over_socket()
        super().server_bind()

    def __take_over_socket(self) -> None:
        old = self.socket
        if type(old) is stock.socket:
            timeout = old.gettimeout()
            self.socket = socket.socket(fileno=old.detach())
            self.socket.settimeout(timeout)
        if not isinstance(self.socket, socket.socket):
            raise TypeError(f"a server with tasklets cannot wait for a {type(old).__qualname__}")

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Start a tasklet for each request, until shutdown().

        Calls service_actions() after each request, and every `poll_interval` seconds. Raises
        RuntimeError if it runs already, TypeError if the socket is not one of `stackless.socket`
        and cannot be made one.
        """
        if self.__serving is not None:
            raise RuntimeError("serve_forever() runs already")
        self.__take_over_socket()
        self.__serving, self.__server = serving, _ = channel(), getcurrent()
        timeout = self.socket.gettimeout()
        if self.socket.type == stock.SOCK_STREAM:
            # Another process may accept what this one was told of.
            self.socket.setblocking(False)
        try:
            ready = stock_select.poll()
            ready.register(self.fileno(), stock_select.POLLIN)
            while not self.__stop and self.__wait(poll_interval):
                if ready.poll(0):
                    self.__serve_one()
                self.service_actions()
        finally:
            self.__stop, self.__serving, self.__server = False, None, None
            if self.fileno() >= 0:
                self.socket.settimeout(timeout)
            serving.close()

    def __wait(self, seconds: float) -> bool:
        """Wait for a request, at most this many seconds. False if the server closed or stopped."""
        if self.fileno() < 0:
            return False
        self.__waits = True
        try:
            _wait_ready(self.fileno(), False, seconds)
        except OSError:
            if self.fileno() >= 0:
                raise
        finally:
            self.__waits = False
        return not self.__stop and self.fileno() >= 0

    def __serve_one(self) -> None:
        try:
            request, client_address = self.get_request()
        except OSError as error:
            if error.errno in _SHORT:
                sleep(_PAUSE)
            return
        try:
            accepted = self.verify_request(request, client_address)
            if accepted:
                self.process_request(request, client_address)
        except Exception:
            accepted = False
            self.handle_error(request, client_address)
        except BaseException:
            self.shutdown_request(request)
            raise
        if not accepted:
            self.shutdown_request(request)

    def handle_request(self) -> None:
        """Wait for one request and start its tasklet; handle_timeout() after `timeout` seconds."""
        self.__take_over_socket()
        limits = [t for t in (self.socket.gettimeout(), self.timeout) if t is not None]
        if select.select([self], [], [], min(limits, default=None))[0]:
            self.__serve_one()
        else:
            self.handle_timeout()

    def shutdown(self) -> None:
        """Stop serve_forever(), and wait until it has ended. From any tasklet or thread.

        If it does not run, the next one ends at once. Called by serve_forever() itself, as from
        service_actions(), it does not wait.
        """
        self.__stop = True
        serving, server = self.__serving, self.__server
        if server is not None and self.__waits and server.paused:
            server.insert()
        if serving is not None and server is not getcurrent():
            for _ in serving:
                pass

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the tasklet for a request, in a copy of the context."""
        t = tasklet(self.process_request_tasklet).set_context(contextvars.copy_context())
        t.daemon = self.daemon_tasklets
        vars(self).setdefault("_requests", {})[t] = request
        t(request, client_address)

    def process_request_tasklet(self, request: Any, client_address: Any) -> None:
        """Handle one request; what its tasklet runs."""
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        except SystemExit:  # TaskletExit is one
            pass
        finally:
            vars(self).get("_requests", {}).pop(getcurrent(), None)
            self.shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Make a request handler, which does the rest."""
        # In two steps, as the call of a class is C code, in which a tasklet could not be parked.
        kind: Any = self.RequestHandlerClass
        if _is_plain_class(kind):
            kind.__new__(kind).__init__(request, client_address, self)
        elif isinstance(kind, functools.partial) and _is_plain_class(kind.func):
            inner: Any = kind.func
            inner.__new__(inner).__init__(
                *kind.args, request, client_address, self, **kind.keywords
            )
        else:
            kind(request, client_address, self)

    def server_close(self) -> None:
        """Close the socket, and wait for the tasklets: see block_on_close.

        Closes the connections of tasklets that were stopped because their thread has ended.
        """
        super().server_close()
        requests = vars(self).get("_requests", {})
        for t, request in tuple(requests.items()):
            if self.block_on_close and not t.daemon and t is not getcurrent():
                t.join()
            # A tasklet that was stopped has not run its `finally` block.
            if (not t.alive or t.thread_id == -1) and requests.pop(t, None) is not None:
                self.shutdown_request(request)


def _is_plain_class(kind: Any) -> bool:
    """True if calling the class does nothing but `__new__` of object and `__init__`."""
    if not isinstance(kind, type):
        return False
    new: Any = kind.__new__
    return new is object.__new__ and type(kind).__call__ is type.__call__


class TaskletTCPServer(TaskletMixIn, socketserver.TCPServer):
    """A TCP server with a tasklet for each connection."""

    request_queue_size = 1024


class TaskletUDPServer(TaskletMixIn, socketserver.UDPServer):
    """A UDP server with a tasklet for each datagram."""


class TaskletUnixStreamServer(TaskletMixIn, socketserver.UnixStreamServer):
    """A server for Unix sockets with a tasklet for each connection."""

    request_queue_size = 1024


class TaskletUnixDatagramServer(TaskletMixIn, socketserver.UnixDatagramServer):
    """A server for Unix datagrams with a tasklet for each."""


class TaskletHTTPServer(TaskletMixIn, http.server.HTTPServer):
    """An HTTP server with a tasklet for each connection; those are daemons."""

    daemon_tasklets = True
    request_queue_size = 1024

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection, and switch Nagle's algorithm off for it."""
        connection, address = super().get_request()
        with contextlib.suppress(OSError):  # not TCP
            connection.setsockopt(stock.IPPROTO_TCP, stock.TCP_NODELAY, 1)
        return connection, address
