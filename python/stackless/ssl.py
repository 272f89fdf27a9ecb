"""The module `ssl`, whose sockets block only the calling tasklet.

All names of the standard module are here. A context of this module, from `SSLContext()` or
`create_default_context()`, wraps sockets of any kind, those of `stackless.socket` or standard ones,
into sockets whose handshake, reading, writing and `unwrap()` suspend only the calling tasklet.
Everything else is as documented for the standard module, `isinstance` of its classes included.

What the standard module does not define:

* A timeout is for one call, a handshake included; then TimeoutError is raised, and the connection
  cannot be used any more. In `sendall` it is for each piece that is sent, as in the standard
  module.
* One tasklet may read while another writes. Two tasklets that read at the same time get their parts
  in the order in which they came; the same for writing.
* During a call of OpenSSL the descriptor is non-blocking, if the timeout is None.
* `sendfile` sends piece by piece, also where the kernel could do TLS.
* Several threads may use one context, but not one connection, at the same time.
"""

from __future__ import annotations

import ssl as _stock
from ssl import *  # noqa: F403
from typing import Any

from stackless import socket as _sockets
from stackless._io import tls_methods as _tls_methods
from stackless._io.rebound import rebound as _rebound
from stackless._package.surface import exported as _exported

__all__ = _exported(_stock)


class SSLSocket(_stock.SSLSocket, _sockets.socket):  # type: ignore[misc]
    """A TLS connection whose calls block only the calling tasklet.

    SSLContext.wrap_socket makes it.
    """

    vars().update(_tls_methods.methods(_stock.SSLSocket))

    # Those of the standard class may be patched, and would be found first.
    gettimeout = _sockets.socket.gettimeout
    settimeout = _sockets.socket.settimeout
    getblocking = _sockets.socket.getblocking
    setblocking = _sockets.socket.setblocking
    timeout = _sockets.socket.timeout
    detach = _sockets.socket.detach


class SSLContext(_stock.SSLContext):
    """Settings of TLS connections whose calls block only the calling tasklet."""

    sslsocket_class = SSLSocket


globals().update(
    _rebound(
        _stock,
        {
            "SSLSocket": SSLSocket,
            "SSLContext": SSLContext,
            "create_connection": _sockets.create_connection,
        },
        (
            "create_default_context",
            "_create_unverified_context",
            "_create_stdlib_context",
            "_create_default_https_context",
            "get_server_certificate",
            "wrap_socket",  # up to Python 3.11
        ),
        __name__,
    )
)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Return a name that the standard module has, but does not export."""
    return getattr(_stock, name)
