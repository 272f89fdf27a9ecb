"""Methods of TLS sockets, the standard ones and ours, that wait in the calling tasklet.

OpenSSL is never left half-way: it is called with a socket that does not wait, says what it wants to
read or write, and is called again when that is possible. Tasklets switch in between.
"""

from __future__ import annotations

import functools
import ssl as _stock
from collections.abc import Callable
from typing import Any

from stackless._socket_methods import deadline, wait, without_waiting

_SSLSocket: Any = _stock.SSLSocket


def _again(self: Any, limit: float | None, operation: str, call: Callable[[], Any]) -> Any:
    """Call until that would not block any more."""
    until = deadline(limit)
    while True:
        try:
            return without_waiting(self, call)
        except _stock.SSLWantReadError:
            out = False
        except _stock.SSLWantWriteError:
            out = True
        try:
            wait(self, out, until)
        except TimeoutError:
            raise TimeoutError(f"The {operation} operation timed out") from None


def _waiting(name: str, operation: str) -> Callable[..., Any]:
    standard = vars(_SSLSocket)[name]

    @functools.wraps(standard)
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        limit = self.gettimeout()
        if limit == 0 or self._sslobj is None:
            return standard(self, *arguments, **named)
        return _again(
            self, limit, operation, functools.partial(standard, self, *arguments, **named)
        )

    return method


_do_handshake = _SSLSocket.do_handshake


def do_handshake(self: Any, block: bool = False) -> None:
    """Negotiate; with `block` without a limit, if the timeout is 0."""
    limit = self.gettimeout()
    if limit == 0 and not block:
        _do_handshake(self)
    else:
        _again(self, limit or None, "handshake", functools.partial(_do_handshake, self))


def sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> Any:
    """Send a file piece by piece: TLS in the kernel would hold up the whole thread."""
    if self._sslobj is None:
        return super(_SSLSocket, self).sendfile(file, offset, count)
    return self._sendfile_use_send(file, offset, count)


#: By name; the standard ones, which they call, are found when this is imported.
METHODS: dict[str, Any] = {
    "do_handshake": do_handshake,
    "read": _waiting("read", "read"),
    "write": _waiting("write", "write"),
    "send": _waiting("send", "write"),
    "unwrap": _waiting("unwrap", "read"),
    "sendfile": sendfile,
}
