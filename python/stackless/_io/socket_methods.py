"""Methods that wait in the calling tasklet, for `stackless.socket` and for patched sockets.

The system call itself never waits: because of MSG_DONTWAIT where the call has flags, else because
the descriptor is non-blocking or ready. If it would block, the tasklet waits until the descriptor
is ready, and the call is made again. The timeout of a socket is not changed, as other threads may
use the socket: where the C method would wait for the timeout, it is called on a twin. The fast
methods (recv, recv_into, send, sendall) are in the compiled module.

`_C` has the C methods, which are never patched.
"""

from __future__ import annotations

import _socket
import errno
import os
import select as _select
import socket as _stock
import time as _time
from time import monotonic_ns
from typing import Any

from stackless._stackless import TimeoutError as _TimeoutError
from stackless._stackless import _accept_if_ready, _wait_for_socket, _while_nonblocking
from stackless._stackless import sleep as _sleep
from stackless._stackless import to_thread as _to_thread

wait = _wait_for_socket
_C: Any = _socket.socket
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK})
_INTERNET = frozenset({_stock.AF_INET, _stock.AF_INET6})
_DONTWAIT = _stock.MSG_DONTWAIT

# The standard functions, kept here as they may be patched later.
_poll: Any = _select.poll
_thread_sleep: Any = _time.sleep

_find_addresses = _stock.getaddrinfo
_give_up: Any = vars(_stock)["_GiveupOnSendfile"]  # what the standard sendfile() looks for
_check_file: Any = vars(_stock.socket)["_check_sendfile_params"]


def deadline(limit: float | None) -> int | None:
    """Return the time of the monotonic clock, in nanoseconds, this many seconds from now."""
    return None if limit is None else monotonic_ns() + int(limit * 1e9)


def wait_in_thread(self: Any, out: bool, until: int | None) -> None:
    """As `wait`, but block the whole thread."""
    ready = _poll()
    ready.register(self.fileno(), _select.POLLOUT if out else _select.POLLIN)
    left = None if until is None else max(until - monotonic_ns(), 0) // 1_000_000 + 1
    if not ready.poll(left):
        raise TimeoutError("timed out")


class _Twin(_C):  # type: ignore[misc]
    """A second C object for the descriptor of a socket, with the timeout 0.

    It changes no flag of the descriptor and does not close it.
    """

    __slots__ = ()
    __del__ = _C.detach


def _twin(self: Any) -> Any:
    if self.fileno() < 0:
        return self  # its methods raise the error of a closed socket
    # With this flag the constructor does not touch the descriptor.
    kind = _C.type.__get__(self) | _stock.SOCK_NONBLOCK
    return _Twin(_C.family.__get__(self), kind, _C.proto.__get__(self), self.fileno())


def _impatient(self: Any) -> Any:
    """Return the object to call C methods on, so that they do not wait for the timeout."""
    return _twin(self) if _C.gettimeout(self) else self


#: Seconds between two attempts to accept a connection that another thread may take first.
_PAUSE = 0.001


def _accepting(wait: Any, sleep: Any) -> Any:
    """Return the method `_accept` that waits by means of these functions."""

    def _accept(self: Any) -> Any:
        limit = self.gettimeout()
        until = deadline(limit)
        if limit is None and not self.getsockopt(_stock.SOL_SOCKET, _stock.SO_ACCEPTCONN):
            return _C._accept(self)  # which raises the error of the system
        while True:
            if limit != 0:
                wait(self, False, until)
            try:
                if limit is not None:
                    return _C._accept(_impatient(self))
                found = _accept_if_ready(self, _C._accept)
                if found:
                    return found
            except BlockingIOError:
                if limit == 0:
                    raise
            else:
                if found is False:
                    sleep(_PAUSE)

    return _accept


_accept = _accepting(wait, _sleep)
accept_in_thread = _accepting(wait_in_thread, _thread_sleep)


def connect(self: Any, address: Any) -> Any:
    """Connect to an address. A host name is looked up on a worker thread."""
    limit = self.gettimeout()
    if limit == 0:
        return _C.connect(self, address)
    until = deadline(limit)
    if self.family in _INTERNET and isinstance(address, tuple) and len(address) >= 2:
        address = _resolved(self, address)
    while error := _connect_now(self, address):
        if error not in _UNDER_WAY:
            raise OSError(error, os.strerror(error))
        if error == errno.EAGAIN and self.family == _stock.AF_UNIX:
            # The listener's queue is full, and the system does not tell when it has room again.
            if until is not None and monotonic_ns() >= until:
                raise _TimeoutError("timed out")
            _sleep(0.001)
            continue
        wait(self, True, until)
        if error := self.getsockopt(_stock.SOL_SOCKET, _stock.SO_ERROR):
            raise OSError(error, os.strerror(error))
        break
    return None


def _connect_now(self: Any, address: Any) -> Any:
    if self.gettimeout() is None and self.type != _stock.SOCK_DGRAM:
        return _while_nonblocking(self, _C.connect_ex, _twin(self), address)
    return _C.connect_ex(_impatient(self), address)


def _resolved(connecting: Any, address: tuple[Any, ...]) -> tuple[Any, ...]:
    host, port, *rest = address
    found = getaddrinfo(host, port, connecting.family, connecting.type, connecting.proto)
    return (*found[0][4][:2], *rest) if rest else found[0][4]


def connect_ex(self: Any, address: Any) -> Any:
    """Connect as connect(), but return the error number of the system call, 0 for success."""
    if self.gettimeout() == 0:
        return _C.connect_ex(self, address)
    try:
        connect(self, address)
    except _stock.gaierror:
        raise
    except TimeoutError as error:
        return error.errno or errno.EAGAIN
    except OSError as error:
        if error.errno is None:
            raise
        return error.errno
    return 0


def _when_ready(self: Any, out: bool, call: Any, flags: int, *arguments: Any) -> Any:
    """Make a call when the descriptor is ready. `...` among the arguments stands for the flags."""
    limit = self.gettimeout()
    until = deadline(limit)
    now = [flags | _DONTWAIT if a is ... else a for a in arguments]
    while True:
        try:
            return call(_impatient(self), *now)
        except BlockingIOError:
            if limit == 0 or flags & _DONTWAIT:
                raise
        wait(self, out, until)


def _waits_for_all(self: Any, flags: int) -> bool:
    """True if recvfrom has to wait for all bytes of a stream: recv then does it, as a stream has no
    address for its bytes."""
    return bool(flags & _stock.MSG_WAITALL) and self.type == _stock.SOCK_STREAM


def recvfrom(self: Any, bufsize: int, flags: int = 0, /) -> Any:
    """Receive a datagram and the address that it came from."""
    if _waits_for_all(self, flags):
        return self.recv(bufsize, flags), None
    return _when_ready(self, False, _C.recvfrom, flags, bufsize, ...)


def recvfrom_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
    """Receive a datagram into a buffer; return the number of bytes and the address."""
    if _waits_for_all(self, flags):
        return self.recv_into(buffer, nbytes, flags), None
    return _when_ready(self, False, _C.recvfrom_into, flags, buffer, nbytes, ...)


def recvmsg(self: Any, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """Receive bytes and ancillary data."""
    return _when_ready(self, False, _C.recvmsg, flags, bufsize, ancbufsize, ...)


def recvmsg_into(self: Any, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
    """Receive bytes into buffers, and ancillary data."""
    return _when_ready(self, False, _C.recvmsg_into, flags, list(buffers), ancbufsize, ...)


def sendto(self: Any, data: Any, *arguments: Any) -> Any:
    """sendto(data, [flags,] address): send a datagram."""
    if len(arguments) not in (1, 2) or not all(isinstance(a, int) for a in arguments[:-1]):
        return _C.sendto(self, data, *arguments)  # which raises the TypeError
    flags, address = (0, *arguments)[-2:]
    return _when_ready(self, True, _C.sendto, flags, data, ..., address)


def sendmsg(
    self: Any, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /
) -> Any:
    """Send bytes and ancillary data."""
    pieces, ancillary = list(buffers), list(ancdata)
    return _when_ready(self, True, _C.sendmsg, flags, pieces, ancillary, ..., address)


# What sendfile() tries first; the standard method does the rest.
def _sendfile_use_sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> Any:
    _check_file(self, file, offset, count)
    try:
        source = file.fileno()
        size = os.fstat(source).st_size
    except (AttributeError, OSError) as error:
        raise _give_up(error) from error
    limit = self.gettimeout()
    if limit == 0:
        raise ValueError("non-blocking sockets are not supported")
    if limit is None:
        raise _give_up("sendfile() would wait in the system")
    left = size if count is None else count
    total = 0
    try:
        while left > 0 and size:
            wait(self, True, deadline(limit))
            try:
                most = min(left, 2**30)
                sent = os.sendfile(self.fileno(), source, offset, most)
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


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> Any:
    """As the standard function, on a worker thread unless the host is a numeric address."""
    try:
        numeric = flags | _stock.AI_NUMERICHOST
        return _find_addresses(host, port, family, type, proto, numeric)
    except _stock.gaierror:
        return _to_thread(_find_addresses, host, port, family, type, proto, flags)
