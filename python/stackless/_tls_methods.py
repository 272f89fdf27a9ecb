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


def methods(kind: Any) -> dict[str, Any]:
    """What is to take the place of these methods of `ssl.SSLSocket`, which they call; by name."""

    def waiting(name: str, operation: str) -> Any:
        standard = vars(kind)[name]

        @functools.wraps(standard)
        def method(self: Any, *arguments: Any, **named: Any) -> Any:
            limit = self.gettimeout()
            if limit == 0 or self._sslobj is None:
                return standard(self, *arguments, **named)
            call = functools.partial(standard, self, *arguments, **named)
            return _again(self, limit, operation, call)

        return method

    shake_hands = vars(kind)["do_handshake"]

    @functools.wraps(shake_hands)
    def do_handshake(self: Any, block: bool = False) -> None:
        limit = self.gettimeout()
        if limit == 0 and not block:
            shake_hands(self)
        else:
            _again(self, limit or None, "handshake", functools.partial(shake_hands, self))

    @functools.wraps(vars(kind)["sendfile"])
    def sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> Any:
        # Piece by piece: TLS in the kernel would hold up the whole thread.
        if self._sslobj is None:
            return super(kind, self).sendfile(file, offset, count)
        return self._sendfile_use_send(file, offset, count)

    return {
        "do_handshake": do_handshake,
        "read": waiting("read", "read"),
        "write": waiting("write", "write"),
        "send": waiting("send", "write"),
        "unwrap": waiting("unwrap", "read"),
        "sendfile": sendfile,
    }
