"""The module `socket`, whose calls block only the calling tasklet.

All names of the standard module are here; the class `socket` and the functions that make sockets or
look up names are replaced. A call that would block suspends the calling tasklet, which may be a
main tasklet, until the descriptor is ready; names are looked up on a worker thread. Everything else
is as documented for the standard module, and `isinstance(s, socket.socket)` of that module holds.

What the standard module does not define:

* Several tasklets may wait for one direction of one socket. When it becomes ready, all of them try
  again, in the order in which they came. The data of a `sendall` that had to wait may be mixed with
  data that other tasklets send.
* Closing or detaching a socket wakes the tasklets that wait for it, in any thread: OSError, EBADF.
* A timeout is for one call, however often it has to wait, except in `sendfile`, where it is for
  each wait, as in the standard module. `with stackless.timeout()` limits any number of calls.
* If several processes accept on one blocking listener, a process to which no connection is left
  waits in the system, with its whole thread. Set a timeout of the listener there, as for a plain
  `accept()`.
* Tasklets whose blocking calls never have to wait take turns every 64 calls. A call that does not
  wait because of its arguments (timeout 0, MSG_DONTWAIT) never lets other tasklets run.
* `MSG_WAITALL` waits for all bytes where the system would: on streams without a timeout; in
  `recvmsg` and `recvmsg_into` it does not.
* `connect` makes the descriptor non-blocking for the duration of the system call. `sendfile` of a
  socket without a timeout sends piece by piece.
* Use `stackless.ssl` for TLS; the sockets that the standard `ssl` makes of these block the thread.
"""

from __future__ import annotations

import socket as _stock
from socket import *  # noqa: F403
from typing import Any

from stackless import _stackless
from stackless._io import files as _files
from stackless._io import socket_methods as _methods
from stackless._io.files import SocketIO as SocketIO
from stackless._io.rebound import rebound as _rebound
from stackless._io.socket_methods import getaddrinfo as getaddrinfo
from stackless._package.surface import adopt as _adopt
from stackless._package.surface import exported as _exported
from stackless._stackless import to_thread as _to_thread

__all__ = [*_exported(_stock), "SocketIO"]

# The standard functions, kept here as they may be patched later.
_gethostbyname = _stock.gethostbyname
_gethostbyname_ex = _stock.gethostbyname_ex
_gethostbyaddr = _stock.gethostbyaddr
_getnameinfo = _stock.getnameinfo

# As numbers: making enumeration members of them takes longer than the system call.
_family_of = _methods._C.family.__get__
_type_of = _methods._C.type.__get__

_Base: Any = _stackless._socket_type(_stock.socket)


class socket(_Base):
    """A socket whose calls block only the calling tasklet; otherwise as the standard class."""

    # The descriptor has the flags that it would have in the standard class: it is non-blocking if
    # there is a timeout. The C part of the standard class never waits: its timeout is None or 0,
    # and it is called only when the descriptor is ready.

    __slots__ = ("_limit",)

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        self._limit: float | None = None
        super().__init__(family, type, proto, fileno)
        limit = super().gettimeout()
        if limit is None:  # as for the standard class, the descriptor's flags stay as they are
            self._attach(self.fileno(), None)
        else:
            self.settimeout(limit)

    def settimeout(self, value: float | None) -> None:
        """Set the maximum time that a call waits, in seconds; None: no limit, 0: do not wait."""
        super().settimeout(value)
        if value is not None:
            value = super().gettimeout()
            super().setblocking(False)
        self._limit = value
        self._attach(self.fileno(), value)

    def gettimeout(self) -> float | None:
        """Return the timeout in seconds, None for no limit."""
        return self._limit

    timeout = property(gettimeout, doc="The timeout in seconds, None for no limit.")

    def setblocking(self, flag: bool) -> None:
        """Set the timeout None, or 0."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Return True unless the timeout is 0, which means that calls do not wait."""
        return self._limit != 0

    def accept(self) -> tuple[socket, Any]:
        """Wait for a connection; return a new socket for it and the address of the other side."""
        fd, address = self._accept()
        # Its descriptor is blocking, whatever that of this socket is (accept4 of Linux).
        return socket(_family_of(self), _type_of(self), self.proto, fileno=fd), address

    connect = _methods.connect
    connect_ex = _methods.connect_ex
    recvfrom = _methods.recvfrom
    recvfrom_into = _methods.recvfrom_into
    recvmsg = _methods.recvmsg
    recvmsg_into = _methods.recvmsg_into
    sendto = _methods.sendto
    sendmsg = _methods.sendmsg
    _accept = _methods._accept
    _sendfile_use_sendfile = _methods._sendfile_use_sendfile

    makefile = _files.make_file

    def detach(self) -> int:
        """Return the descriptor and close this object, but not the connection."""
        self._attach(-1, None)
        return super().detach()

    def _real_close(self, *arguments: Any) -> None:
        self._attach(-1, None)
        super()._real_close(*arguments)


def gethostbyname(hostname: str, /) -> str:
    """As the standard function, on a worker thread."""
    return _to_thread(_gethostbyname, hostname)


def gethostbyname_ex(hostname: str, /) -> tuple[str, list[str], list[str]]:
    """As the standard function, on a worker thread."""
    return _to_thread(_gethostbyname_ex, hostname)


def gethostbyaddr(address: str, /) -> tuple[str, list[str], list[str]]:
    """As the standard function, on a worker thread."""
    return _to_thread(_gethostbyaddr, address)


def getnameinfo(sockaddr: Any, flags: int, /) -> tuple[str, str]:
    """As the standard function, on a worker thread."""
    return _to_thread(_getnameinfo, sockaddr, flags)


# Copies of the standard module's functions in Python that use the names above.
globals().update(
    _rebound(
        _stock,
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
        },
        (
            "has_dualstack_ipv6",
            "fromfd",
            "socketpair",
            "create_connection",
            "create_server",
            "getfqdn",
            "send_fds",
            "recv_fds",
        ),
        __name__,
    )
)


_adopt(globals(), "stackless._io.")


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Return a name that the standard module has, but does not export."""
    return getattr(_stock, name)
