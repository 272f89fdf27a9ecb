"""`wsgi.input` of a request whose body has not arrived yet, and `wsgi.file_wrapper`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any


class Input:
    """Reads the body as it arrives; the calling tasklet waits.

    Ends with the body, for chunked bodies too. Raises ConnectionError if the client goes away,
    stops sending, sends what is no body, or more than is allowed.
    """

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self._have = bytearray()

    def _more(self) -> bool:
        """Wait for a part of the body; False at its end."""
        exchange = self._exchange
        while not exchange.parts:
            if exchange.complete:
                return False
            exchange.connection.fill_body(exchange)
        for part in exchange.parts:
            self._have += part
        exchange.parts.clear()
        return True

    def _take(self, size: int) -> bytes:
        with memoryview(self._have) as have:
            data = bytes(have[:size])
        del self._have[:size]
        return data

    def read(self, size: int | None = -1, /) -> bytes:
        """Return this many bytes, fewer at the end of the body; the rest of it if negative."""
        if size is None or size < 0:
            while self._more():
                pass
            size = len(self._have)
        while len(self._have) < size and self._more():
            pass
        return self._take(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line with its end, at most this many bytes of it."""
        searched = 0
        while True:
            end = self._have.find(b"\n", searched) + 1
            if size is not None and 0 <= size and (end > size or len(self._have) >= size > 0):
                return self._take(min(end or size, size))
            if end or size == 0:
                return self._take(end)
            searched = len(self._have)
            if not self._more():
                return self._take(searched)

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        """Return the lines that are left, at least `hint` bytes of them."""
        lines, size = [], 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines that are left."""
        while line := self.readline():
            yield line


class FileWrapper:
    """`wsgi.file_wrapper`: yields the blocks of a file (PEP 3333)."""

    def __init__(self, file: Any, block_size: int = 65536) -> None:
        self._file = file
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        """Yield blocks until the end of the file."""
        read, size = self._file.read, self._block_size
        while block := read(size):
            yield block

    def length(self) -> int | None:
        """Return the number of bytes that are left in a regular file; None for others."""
        try:
            found = os.fstat(self._file.fileno())
            left: int = found.st_size - self._file.tell()
        except (AttributeError, OSError, ValueError):
            return None
        return left if stat.S_ISREG(found.st_mode) and left >= 0 else None
