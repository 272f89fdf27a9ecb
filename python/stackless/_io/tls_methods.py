"""Methods of TLS sockets that wait in the calling tasklet, for `stackless.ssl` and patched sockets.

Tasklets never switch inside OpenSSL: it is called with a socket that does not wait, reports whether
it needs to read or to write, and is called again when that is possible. Tasklets switch in between.

OpenSSL does not wait if the C part of the socket has the timeout 0. That is set at the first call
and stays, so that other threads do not see it change during a call. The timeout that the user has
set is kept in Python; all methods use that one.
"""

from __future__ import annotations

import functools
import os
import ssl as _stock
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from stackless import socket as _sockets
from stackless._io.socket_methods import _C, deadline, wait, wait_in_thread
from stackless._stackless import _give_way, _while_nonblocking

#: Standard sockets whose C part has another timeout than the user has set; the user's timeout is
#: their attribute `_stackless_limit`.
_kept: WeakSet[Any] = WeakSet()


def _be_impatient(self: Any) -> None:
    """Make the C part of a socket not wait from now on. The descriptor's flags are not changed."""
    if _C.gettimeout(self) == 0:
        return
    limit = self.gettimeout()
    if not isinstance(self, _sockets.socket):  # those of stackless.socket keep it anyway
        self._stackless_limit = limit
        _kept.add(self)
    _C.settimeout(self, 0)
    if limit is None:
        os.set_blocking(self.fileno(), True)


def _restore(self: Any) -> None:
    """Give the timeout that the user has set back to the C part."""
    limit = vars(self).get("_stackless_limit", _kept)
    if limit is _kept:
        return
    if self.fileno() >= 0:
        # settimeout() rounds up to the next nanosecond: half a nanosecond less keeps the value.
        _C.settimeout(self, None if limit is None else limit - 5e-10)
    vars(self).pop("_stackless_limit", None)
    _kept.discard(self)


def restore_all() -> None:
    """Restore all standard sockets, which no longer use these methods."""
    for kept in list(_kept):
        _restore(kept)


def _again(
    self: Any,
    limit: float | None,
    operation: str,
    call: Callable[[], Any],
    cooperates: Callable[[], bool],
) -> Any:
    """Repeat a call, waiting in between, until it does not raise that it would block."""
    until = deadline(limit)
    while True:
        together = cooperates()
        try:
            if not together:
                return call()  # raises too if another thread has made the socket not wait
            _be_impatient(self)
            return _while_nonblocking(self, call) if limit is None else call()
        except _stock.SSLWantReadError:
            out = False
        except _stock.SSLWantWriteError:
            out = True
        try:
            (wait if together else wait_in_thread)(self, out, until)
        except TimeoutError:
            raise TimeoutError(f"The {operation} operation timed out") from None


def methods(kind: Any, cooperates: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """Return replacements for methods of `ssl.SSLSocket`, which they call, by name.

    They block the thread where `cooperates()` is false.
    """

    def waiting(name: str, operation: str) -> Any:
        standard = vars(kind)[name]

        @functools.wraps(standard)
        def method(self: Any, *arguments: Any, **named: Any) -> Any:
            _give_way()
            limit = self.gettimeout()
            if limit == 0 or self._sslobj is None:
                return standard(self, *arguments, **named)
            call = functools.partial(standard, self, *arguments, **named)
            result = _again(self, limit, operation, call, cooperates)
            if self._sslobj is None:  # unwrap() has ended TLS
                _restore(self)
            return result

        return method

    shake_hands = vars(kind)["do_handshake"]

    @functools.wraps(shake_hands)
    def do_handshake(self: Any, block: bool = False) -> None:
        _give_way()
        limit = self.gettimeout()
        if limit == 0 and not block:
            shake_hands(self)
        else:
            call = functools.partial(shake_hands, self)
            _again(self, limit or None, "handshake", call, cooperates)

    standard_sendfile = vars(kind)["sendfile"]

    @functools.wraps(standard_sendfile)
    def sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> Any:
        if not cooperates() and "_stackless_limit" not in vars(self):
            return standard_sendfile(self, file, offset, count)
        # Piece by piece: TLS in the kernel would block the whole thread.
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


def timeouts(kind: Any) -> dict[str, Any]:
    """Return replacements for the methods of standard sockets that use or change the timeout."""
    standard_shutdown = vars(kind)["shutdown"]

    def gettimeout(self: Any) -> float | None:
        """Return the timeout in seconds, None for no limit."""
        limit = vars(self).get("_stackless_limit", _kept)
        if limit is _kept:
            inner = _C.gettimeout(self)
            limit = vars(self).get("_stackless_limit", inner)  # another thread may have set it
        seconds: float | None = limit
        return seconds

    def settimeout(self: Any, value: float | None) -> None:
        """Set the longest time that a call waits, in seconds; None: no limit, 0: do not wait."""
        if vars(self).get("_stackless_limit", _kept) != value:
            _restore(self)
            _C.settimeout(self, value)

    def setblocking(self: Any, flag: bool) -> None:
        """Set the timeout None, or 0."""
        settimeout(self, None if flag else 0.0)

    def getblocking(self: Any) -> bool:
        """Return whether calls wait at all."""
        return gettimeout(self) != 0

    def detach(self: Any) -> int:
        """Return the descriptor and close this object, but not the connection."""
        _restore(self)
        descriptor: int = super(kind, self).detach()
        return descriptor

    @functools.wraps(standard_shutdown)
    def shutdown(self: Any, how: int) -> None:
        standard_shutdown(self, how)
        _restore(self)

    functions = (gettimeout, settimeout, setblocking, getblocking, detach, shutdown)
    for function in functions:
        function.__module__ = kind.__module__
        function.__qualname__ = f"{kind.__qualname__}.{function.__name__}"
    limit = property(gettimeout, doc="The timeout in seconds, None for no limit.")
    return {function.__name__: function for function in functions} | {"timeout": limit}
