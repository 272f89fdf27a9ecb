"""Listening sockets: made once by the main process, inherited by the workers."""

from __future__ import annotations

import contextlib
import errno
import os
import socket as stock
import stat
from collections.abc import Iterable
from typing import Any

from stackless import socket

#: Seconds after which accept() looks whether the server stops. Any timeout makes the descriptor
#: non-blocking, which it must be as several processes accept on it.
_BEAT = 3600.0


def _split(address: str) -> tuple[str, int]:
    """Return host and port of "HOST:PORT" or "[IPV6]:PORT". ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(
            f"not an address: {address!r}; use HOST:PORT, [IPV6]:PORT, unix:PATH or fd:NUMBER"
        )
    return host, int(port)


def _remove_stale(path: str) -> None:
    """Remove the file of a Unix socket on which no process listens."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # bind() says that the file exists
    except FileNotFoundError:
        return
    with contextlib.closing(stock.socket(stock.AF_UNIX)) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def _bind_unix(path: str, mode: int | None) -> stock.socket:
    _remove_stale(path)
    listener = stock.socket(stock.AF_UNIX)
    try:
        listener.bind(path)
        if mode is not None:
            os.chmod(path, mode)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_tcp(address: str) -> stock.socket:
    host, port = _split(address)
    flags = stock.AI_PASSIVE
    found = stock.getaddrinfo(host or None, port, type=stock.SOCK_STREAM, flags=flags)
    family, kind, protocol, _, where = found[0]
    listener = stock.socket(family, kind, protocol)
    try:
        listener.setsockopt(stock.SOL_SOCKET, stock.SO_REUSEADDR, 1)
        # Accepted connections inherit it.
        listener.setsockopt(stock.IPPROTO_TCP, stock.TCP_NODELAY, 1)
        listener.bind(where)
    except BaseException:
        listener.close()
        raise
    return listener


def _inherited(number: str) -> stock.socket:
    if not number.isdecimal():
        raise ValueError(f"not a descriptor: {number!r}")
    return stock.socket(fileno=os.dup(int(number)))


def bind(address: str, backlog: int, mode: int | None = None) -> stock.socket:
    """Return a socket that listens. ValueError for what is no address, OSError with the address."""
    kind, _, rest = address.partition(":")
    try:
        if kind == "unix":
            listener = _bind_unix(rest, mode)
        elif kind == "fd":
            return _inherited(rest)
        else:
            listener = _bind_tcp(address)
    except OSError as error:
        code, text = error.errno or errno.EINVAL, error.strerror or str(error)
        raise OSError(code, f"cannot listen on {address}: {text}") from error
    listener.listen(backlog)
    return listener


def bind_all(addresses: Iterable[str], backlog: int, mode: int | None) -> list[stock.socket]:
    """Bind all of them, or none."""
    made: list[stock.socket] = []
    try:
        for address in addresses:
            made.append(bind(address, backlog, mode))
    except BaseException:
        for listener in made:
            listener.close()
        raise
    return made


def name_of(listener: stock.socket) -> str:
    """Return "127.0.0.1:8000", "[::1]:8000" or "unix:/path" for a socket."""
    address: Any = listener.getsockname()
    if listener.family == stock.AF_UNIX:
        return f"unix:{os.fsdecode(address)}"
    host = f"[{address[0]}]" if listener.family == stock.AF_INET6 else address[0]
    return f"{host}:{address[1]}"


def waiting(listener: stock.socket) -> Any:
    """Return another object for the same socket, whose accept() waits in the tasklet."""
    ours: Any = socket.socket(fileno=os.dup(listener.fileno()))
    ours.settimeout(_BEAT)
    return ours


def unlink(listeners: Iterable[stock.socket]) -> None:
    """Remove the files of Unix sockets."""
    for listener in listeners:
        if listener.family == stock.AF_UNIX:
            with contextlib.suppress(OSError):
                os.unlink(listener.getsockname())
