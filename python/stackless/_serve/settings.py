"""The options of the WSGI server, with defaults and units, for the command line and Python."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _option(default: Any, about: str, metavar: str | None = None) -> Any:
    return field(default=default, metadata={"about": about, "metavar": metavar})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of a server; each is an option of `python -m stackless serve` too.

    Times are in seconds, sizes in bytes. Raises TypeError for a value of the wrong type, ValueError
    for one that makes no sense.
    """

    bind: str | tuple[str, ...] = _option(
        "127.0.0.1:8000",
        "where to listen: HOST:PORT, [IPV6]:PORT, unix:PATH, or fd:NUMBER for a socket that "
        "listens already",
        "ADDRESS",
    )
    workers: int = _option(1, "number of processes", "N")
    connections: int = _option(
        1000, "most connections of a worker at once; more wait in the system's queue", "N"
    )
    backlog: int = _option(2048, "most connections that wait to be accepted", "N")
    header_timeout: float = _option(
        10.0, "seconds for the request line and the header fields, and for the TLS handshake"
    )
    body_timeout: float = _option(30.0, "longest wait for the next part of a request's body")
    send_timeout: float = _option(60.0, "longest wait until the client takes a part of the answer")
    keep_alive: float = _option(
        75.0, "seconds that an idle connection is kept; 0 closes it after the first answer"
    )
    graceful_timeout: float = _option(
        30.0, "seconds in which running requests may end when the server stops or reloads"
    )
    worker_timeout: float = _option(
        30.0,
        "a worker that runs nothing but one tasklet for so many seconds is killed and replaced; 0 "
        "never does it",
    )
    max_line: int = _option(8190, "longest request line; 414 for longer ones", "BYTES")
    max_head: int = _option(32768, "longest header of a request; 431 for longer ones", "BYTES")
    max_fields: int = _option(100, "most header fields of a request; 431 for more", "N")
    max_body: int = _option(2**30, "largest body of a request; 413 for larger ones", "BYTES")
    certfile: str | None = _option(None, "certificate chain in PEM format: serves TLS", "FILE")
    keyfile: str | None = _option(None, "its private key, if it is not in the same file", "FILE")
    access_log: str | None = _option(
        None, "write a line for each request to this file, - for stdout", "FILE"
    )
    access_format: str = _option("common", "format of these lines: common or combined", "FORMAT")
    socket_mode: int | None = _option(None, "permissions of unix: sockets, such as 660", "OCTAL")

    def __post_init__(self) -> None:
        for option in fields(self):
            name, value, default = option.name, getattr(self, option.name), option.default
            if isinstance(default, int | float):
                kinds = (int, float) if isinstance(default, float) else (int,)
                if not isinstance(value, kinds) or isinstance(value, bool):
                    raise TypeError(f"{name} must be a number, not {type(value).__name__}")
                least = 0 if isinstance(default, float) or name == "max_body" else 1
                if not least <= value < float("inf"):
                    raise ValueError(f"{name} must be at least {least}, not {value!r}")
        for name in ("header_timeout", "body_timeout", "send_timeout"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be greater than 0")
        if self.access_format not in ("common", "combined"):
            raise ValueError(f"access_format must be common or combined, not {self.access_format}")
        if self.keyfile and not self.certfile:
            raise ValueError("keyfile needs certfile")
        if not self.binds:
            raise ValueError("bind is empty")

    @property
    def binds(self) -> tuple[str, ...]:
        """All addresses of `bind`."""
        return (self.bind,) if isinstance(self.bind, str) else tuple(self.bind)
