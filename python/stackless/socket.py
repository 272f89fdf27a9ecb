"""The module `socket`, whose calls wait in the calling tasklet alone.

All names of the standard module are here; the class `socket` and the functions that make sockets or
ask for names are replaced. A call that would block suspends the calling tasklet until the
descriptor is ready, in any tasklet, main ones included; names are looked up on a worker thread.
Everything else is as documented for the standard module, and `isinstance(s, socket.socket)` of that
module holds.

What the standard module leaves open:

* Several tasklets may wait for one direction of one socket. When it becomes ready, all of them try
  again, in the order in which they came. A `sendall` that had to wait may be interleaved.
* Closing a socket, or detaching it, wakes those who wait for it, in any thread: OSError, EBADF.
* A timeout is for one call, however often it has to wait, but for `sendfile`, where it is for each
  wait, as in the standard module. `with stackless.timeout()` goes for any number of calls.
* Of several processes that accept on one blocking listener, one that loses the race waits in the
  system, with its whole thread. Give the listener a timeout there, as for a plain `accept()`.
* Tasklets that never have to wait take turns every 64 calls.
* `MSG_WAITALL` waits for all where the system would: on streams without a timeout; in `recvmsg` and
  `recvmsg_into` it does not.
* `connect` and `sendfile` make the descriptor non-blocking for the moment of the system's call.
* `ssl` does not work with these sockets yet.
"""

from __future__ import annotations

import errno as _errno
import os as _os
import socket as _stock
import time as _time
from socket import *  # noqa: F403
from types import FunctionType as _FunctionType
from typing import Any

from stackless import _stackless, _streams
from stackless._stackless import sleep as _sleep
from stackless._stackless import to_thread as _to_thread
from stackless._streams import SocketIO as SocketIO

_UNDER_WAY = frozenset({_errno.EINPROGRESS, _errno.EALREADY, _errno.EWOULDBLOCK})
_INTERNET = frozenset({_stock.AF_INET, _stock.AF_INET6})

_give_up: Any = vars(_stock)["_GiveupOnSendfile"]  # what the standard sendfile() looks for
_Base: Any = _stackless._socket_type(_stock.socket)


class socket(_Base):
    """A socket whose calls wait in the calling tasklet alone; otherwise as the standard one."""

    # The descriptor has the flags that it would have in the standard class: it is non-blocking if
    # there is a timeout. The C part of the standard class never waits: it is told to have the
    # timeout None or 0, and is asked when it can do something.

    __slots__ = ("_limit",)

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        self._limit: float | None = None
        super().__init__(family, type, proto, fileno)
        self.settimeout(super().gettimeout())

    def settimeout(self, value: float | None) -> None:
        """Let each call wait so many seconds at the longest; None: no limit, 0: not at all."""
        super().settimeout(value)
        if value is not None:
            value = super().gettimeout()
            super().setblocking(False)
        self._limit = value
        self._attach(self.fileno(), self.type == _stock.SOCK_STREAM, value)

    def gettimeout(self) -> float | None:
        """Return the timeout in seconds, None for no limit."""
        return self._limit

    timeout = property(gettimeout, doc="The timeout in seconds, None for no limit.")

    def setblocking(self, flag: bool) -> None:
        """Set the timeout None, or 0."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Return whether calls wait at all."""
        return self._limit != 0

    def _until(self) -> int | None:
        """When the time of a call that begins now is over, in nanoseconds."""
        return None if self._limit is None else _time.monotonic_ns() + int(self._limit * 1e9)

    def accept(self) -> tuple[socket, Any]:
        """Wait for a connection; return a new socket for it and the address of the other side."""
        until = self._until()
        while True:
            if self._limit != 0:
                self._wait(False, until)
            try:
                fd, address = self._accept()
                break
            except BlockingIOError:
                if self._limit == 0:
                    raise
        accepted = socket(self.family, self.type, self.proto, fileno=fd)
        if _stock.getdefaulttimeout() is None and self._limit:
            accepted.setblocking(True)
        return accepted, address

    def connect(self, address: Any) -> None:
        """Connect to an address. A host name is looked up on a worker thread."""
        if self._limit == 0:
            return super().connect(address)
        if self.family in _INTERNET and isinstance(address, tuple) and len(address) >= 2:
            address = _resolved(self, address)
        until = self._until()
        while error := self._without_waiting(super().connect_ex, address):
            if error not in _UNDER_WAY:
                raise OSError(error, _os.strerror(error))
            if error == _errno.EAGAIN and self.family == _stock.AF_UNIX:
                if until is not None and _time.monotonic_ns() >= until:
                    raise _stackless.TimeoutError("timed out")
                _sleep(0.001)  # the listener's queue is full, and nobody tells when it is not
                continue
            self._wait(True, until)
            if error := self.getsockopt(_stock.SOL_SOCKET, _stock.SO_ERROR):
                raise OSError(error, _os.strerror(error))
            break
        return None

    def connect_ex(self, address: Any) -> int:
        """The same, with the error number of the system's call instead of its exception."""
        if self._limit == 0:
            return super().connect_ex(address)
        try:
            self.connect(address)
        except _stock.gaierror:
            raise
        except TimeoutError:
            return _errno.EAGAIN
        except OSError as error:
            if error.errno is None:
                raise
            return error.errno
        return 0

    def _when_ready(self, out: bool, call: Any, flags: int, *arguments: Any) -> Any:
        """Call with the arguments, the flags among them replaced by `...`."""
        now = [flags | _stock.MSG_DONTWAIT if a is ... else a for a in arguments]
        until = self._until()
        while True:
            try:
                return call(*now)
            except BlockingIOError:
                if self._limit == 0 or flags & _stock.MSG_DONTWAIT:
                    raise
            self._wait(out, until)

    def _waits_for_all(self, flags: int) -> bool:
        """In recvfrom: then recv does it, as nobody tells where the bytes of a stream come from."""
        return bool(flags & _stock.MSG_WAITALL) and self.type == _stock.SOCK_STREAM

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive a datagram and the address that it came from."""
        if self._waits_for_all(flags):
            return self.recv(bufsize, flags), None
        return self._when_ready(False, super().recvfrom, flags, bufsize, ...)

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """The same, into a buffer: how many bytes, and the address."""
        if self._waits_for_all(flags):
            return self.recv_into(buffer, nbytes, flags), None
        call = super().recvfrom_into
        return self._when_ready(False, call, flags, buffer, nbytes, ...)

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """Receive bytes and ancillary data."""
        call = super().recvmsg
        return self._when_ready(False, call, flags, bufsize, ancbufsize, ...)

    def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """The same, into buffers."""
        call = super().recvmsg_into
        return self._when_ready(False, call, flags, list(buffers), ancbufsize, ...)

    def sendto(self, data: Any, *arguments: Any) -> int:
        """sendto(data, [flags,] address): send a datagram."""
        call = super().sendto
        if len(arguments) not in (1, 2) or not all(isinstance(a, int) for a in arguments[:-1]):
            return call(data, *arguments)  # which says what is wrong
        flags, address = (0, *arguments)[-2:]
        return self._when_ready(True, call, flags, data, ..., address)

    def sendmsg(
        self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
    ) -> int:
        """Send bytes and ancillary data."""
        call = super().sendmsg
        return self._when_ready(True, call, flags, list(buffers), list(ancdata), ..., address)

    # What sendfile() tries first; the standard method does the rest.
    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        self._check_sendfile_params(file, offset, count)
        try:
            source = file.fileno()
            size = _os.fstat(source).st_size
        except (AttributeError, OSError) as error:
            raise _give_up(error) from error
        if self._limit == 0:
            raise ValueError("non-blocking sockets are not supported")
        left = size if count is None else count
        total = 0
        try:
            while left > 0 and size:
                self._wait(True)
                try:
                    sent = self._without_waiting(
                        _os.sendfile, self.fileno(), source, offset, min(left, 2**30)
                    )
                except BlockingIOError:
                    continue
                except OSError as error:
                    if total == 0:
                        raise _give_up(error) from error
                    raise
                if sent == 0:
                    break
                offset, total, left = offset + sent, total + sent, left - sent
            return total
        finally:
            if total > 0 and hasattr(file, "seek"):
                file.seek(offset)

    def _without_waiting(self, call: Any, *arguments: Any) -> Any:
        """Call with the descriptor non-blocking, for what cannot be told so in its arguments."""
        super().setblocking(False)
        try:
            return call(*arguments)
        finally:
            super().setblocking(self._limit is None)

    makefile = _streams.make_file

    def detach(self) -> int:
        """Hand out the descriptor: this socket is closed, the connection is not."""
        self._attach(-1, False, None)
        return super().detach()

    def _real_close(self, *arguments: Any) -> None:
        self._attach(-1, False, None)
        super()._real_close(*arguments)


def _resolved(connecting: socket, address: tuple[Any, ...]) -> tuple[Any, ...]:
    found = getaddrinfo(
        *address[:2], family=connecting.family, type=connecting.type, proto=connecting.proto
    )
    return (*found[0][4][:2], *address[2:]) if len(address) > 2 else found[0][4]


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[Any]:
    """As the standard function, on a worker thread unless the host is a numeric address."""
    try:
        numeric = flags | _stock.AI_NUMERICHOST
        return _stock.getaddrinfo(host, port, family, type, proto, numeric)
    except _stock.gaierror:
        return _to_thread(_stock.getaddrinfo, host, port, family, type, proto, flags)


def gethostbyname(hostname: str, /) -> str:
    """As the standard function, on a worker thread."""
    return _to_thread(_stock.gethostbyname, hostname)


def gethostbyname_ex(hostname: str, /) -> tuple[str, list[str], list[str]]:
    """As the standard function, on a worker thread."""
    return _to_thread(_stock.gethostbyname_ex, hostname)


def gethostbyaddr(address: str, /) -> tuple[str, list[str], list[str]]:
    """As the standard function, on a worker thread."""
    return _to_thread(_stock.gethostbyaddr, address)


def getnameinfo(sockaddr: Any, flags: int, /) -> tuple[str, str]:
    """As the standard function, on a worker thread."""
    return _to_thread(_stock.getnameinfo, sockaddr, flags)


# The standard module's own functions in Python, which find the names above.
_namespace = dict(vars(_stock))
_namespace.update(
    {
        name: globals()[name]
        for name in (
            "socket",
            "SocketIO",
            "getaddrinfo",
            "gethostbyname",
            "gethostbyaddr",
            "getnameinfo",
        )
    }
)


def _here(name: str) -> Any:
    function = vars(_stock)[name]
    made = _FunctionType(
        function.__code__, _namespace, name, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__doc__ = function.__doc__
    made.__module__ = __name__
    _namespace[name] = made
    return made


has_dualstack_ipv6 = _here("has_dualstack_ipv6")
fromfd = _here("fromfd")
socketpair = _here("socketpair")
create_connection = _here("create_connection")
create_server = _here("create_server")
getfqdn = _here("getfqdn")
if hasattr(_stock, "send_fds"):
    send_fds = _here("send_fds")
    recv_fds = _here("recv_fds")


def __getattr__(name: str) -> Any:
    """Names that the standard module has, but does not export."""
    return getattr(_stock, name)
