"""File objects of sockets, which `socket.makefile` returns.

They behave as those of the standard module `io`, and are subclasses of its classes. They wait in
Python code, in a call of the socket: so an idle connection has no C code on its stack, and its
tasklet can be parked. Bytes that have arrived and were not read are kept in a queue, which an
exception does not change.
"""

from __future__ import annotations

import errno
import io
import socket as stock
from collections.abc import Iterable, Iterator
from typing import Any

from stackless._stackless import _ByteQueue, channel

#: Maximum number of bytes to ask a socket for at a time; it receives that many without a copy.
_CHUNK = 64 * 1024
_WOULD_BLOCK = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})


class SocketIO(stock.SocketIO):
    """A socket as a file without a buffer; otherwise as the standard class."""

    _sock: Any
    _timeout_occurred: bool

    def receiver(self) -> Any:
        """Return the socket to read from. Raises ValueError or OSError if it cannot be read."""
        self._checkClosed()
        self._checkReadable()  # type: ignore[attr-defined]
        if self._timeout_occurred:
            raise OSError("cannot read from timed out object")
        return self._sock

    def would_block(self, error: OSError) -> bool:
        """True if the error of a read only means that the read would block."""
        self._timeout_occurred = self._timeout_occurred or isinstance(error, TimeoutError)
        return error.errno in _WOULD_BLOCK

    def receive(self, size: int) -> bytes | None:
        """Read once; b'' at the end, None if that would block."""
        data: bytes | None
        try:
            data = self.receiver().recv(size)
        except OSError as error:
            if not self.would_block(error):
                raise
            data = None
        return data

    def read(self, size: int | None = -1, /) -> bytes | None:
        """Read once, at most `size` bytes; without a size, or a negative one, until the end."""
        if size is None or size < 0:
            return self.readall()
        return self.receive(size)

    def readall(self) -> bytes | None:  # type: ignore[override]
        """Read until the end. What has come if more would block, None if nothing has."""
        found = bytearray()
        while data := self.receive(_CHUNK):
            found += data
        return None if data is None and not found else bytes(found)


class _Buffered(io.BufferedIOBase):
    """The common part of readers and writers."""

    # The attributes of all subclasses; a dict would cost an idle connection more memory.
    __slots__ = ("_fetches", "_pending", "_queue", "_raw", "_sends", "_size", "_turn")

    def __init__(self, raw: SocketIO, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        if buffer_size <= 0:
            raise ValueError("invalid buffer size")
        self._raw: SocketIO | None = raw
        self._size = buffer_size
        # Tasklets wait here while another one reads, or writes.
        self._turn: channel | None = None

    @property
    def raw(self) -> SocketIO:
        """The file below. ValueError if it was detached."""
        if self._raw is None:
            raise ValueError("raw stream has been detached")
        return self._raw

    def _wait_for_turn(self) -> None:
        """Wait until the tasklet that reads, or writes, has finished that."""
        if self._turn is None:
            self._turn = channel()
            self._turn.preference = 1
        self._turn.receive()

    def _end_turn(self) -> None:
        if self._turn is not None:
            for _ in range(-self._turn.balance):
                self._turn.send(None)

    def _open(self, action: str) -> SocketIO:
        raw = self.raw
        if raw.closed:
            raise ValueError(f"{action} closed file")
        return raw

    @property
    def closed(self) -> bool:
        """bool: True if it was closed."""
        return self.raw.closed

    @property
    def name(self) -> Any:
        """The descriptor, -1 once it is closed."""
        return self.raw.name

    @property
    def mode(self) -> str:
        """'rb', 'wb' or 'rwb'."""
        return self.raw.mode

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.raw.fileno()

    def isatty(self) -> bool:
        """Return False: a socket is not a terminal."""
        return self.raw.isatty()

    def readable(self) -> bool:
        """Return True if it was made for reading."""
        return self.raw.readable()

    def writable(self) -> bool:
        """Return True if it was made for writing."""
        return self.raw.writable()

    def detach(self) -> SocketIO:
        """Write what is buffered, detach from the file below, and return that file."""
        raw = self.raw
        self.flush()
        self._raw = None
        return raw

    def flush(self) -> None:
        """Do nothing, as a reader has nothing to write. ValueError if it is closed."""
        self._open("flush of")

    def close(self) -> None:
        """Write what is buffered, then close the file below, also if writing has failed."""
        raw = self.raw
        if not raw.closed:
            try:
                self.flush()
            finally:
                self._forget()
                raw.close()

    def _forget(self) -> None:
        """Drop what is buffered: nothing is read or written any more."""

    def __repr__(self) -> str:
        name = "detached" if self._raw is None else f"name={self._raw.name!r}"
        return f"<stackless.socket.{type(self).__qualname__} {name}>"


class BufferedReader(_Buffered):
    """Reads from a socket through a buffer, as io.BufferedReader.

    Tasklets of one thread that read the same file share its bytes: each call gets one whole part.
    """

    __slots__ = ()

    def __init__(self, raw: SocketIO, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        super().__init__(raw, buffer_size)
        self._queue = _ByteQueue()
        self._fetches = False

    def _fetch(self, action: str, wanted: int = 0) -> bool | None:
        """Read once from the socket into the queue.

        Returns False at the end of the stream, None if reading would block.
        """
        raw = self._open(action)
        if self._fetches:
            self._wait_for_turn()
            return True  # another tasklet has fetched something
        self._fetches = True
        try:
            # In single statements: the frame in which an idle connection waits should be small.
            wanted = max(wanted, self._size)
            wanted = min(wanted, _CHUNK)
            data = raw.receiver().recv(wanted)
            self._open(action)
            self._queue.add(data)
            return bool(data)
        except OSError as error:
            if not raw.would_block(error):
                raise
            return None
        finally:
            self._fetches = False
            self._end_turn()

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line with its end, at most `size` bytes; at the end of the stream what is left."""
        while (line := self._queue.line(size)) is None:
            if not self._fetch("readline of"):
                return self._queue.take(None)
        return line or self._nothing("readline of")

    def read(self, size: int | None = -1, /) -> bytes | None:  # type: ignore[override]
        """Read `size` bytes, fewer only at the end of the stream; None, -1: all bytes until then.

        From a non-blocking socket: what has arrived, None if nothing has.
        """
        if size is None:
            size = -1
        elif size < -1:
            raise ValueError("read length must be non-negative or -1")
        while (found := self._queue.take_exactly(size)) is None:
            missing = size - len(self._queue) if size > 0 else _CHUNK
            more = self._fetch("read of", missing)
            if not more:
                return self._queue.take(None) or (None if more is None else b"")
        return found or self._nothing("read of")

    def _nothing(self, action: str) -> bytes:
        self._open(action)
        return b""

    def read1(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes (negative: the buffer size), with at most one call below."""
        if size == 0:
            return self._nothing("read of")
        most = self._size if size < 0 else size
        while not (found := self._queue.take(most)) and self._fetch("read of", most):
            pass
        return found

    def readinto(self, buffer: Any, /) -> int | None:  # type: ignore[override]
        """Fill a buffer, partly only at the end; return the number of bytes. None as in read()."""
        return self._read_into(buffer, True)

    def readinto1(self, buffer: Any, /) -> int | None:  # type: ignore[override]
        """Read into a buffer with at most one call; return the number of bytes, None as read()."""
        return self._read_into(buffer, False)

    def _read_into(self, buffer: Any, fill: bool) -> int | None:
        self._open("readinto of")
        view = memoryview(buffer).cast("B")
        done = self._queue.take_into(view)
        while done < len(view) and (fill or not done):
            more = self._fetch("readinto of", len(view) - done)
            if not more:
                return done or (None if more is None else 0)
            done += self._queue.take_into(view[done:])
        return done

    def peek(self, size: int = 0, /) -> bytes:
        """Return what is in the buffer without removing it; if it is empty, read once before."""
        while not self._queue and self._fetch("peek of"):
            pass
        return self._queue.peek()

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Read lines until the end, or until they have more than `hint` bytes, if positive."""
        lines, total = [], 0
        while line := self.readline():
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint < total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        self._open("readline of")
        return self._lines()

    def _lines(self) -> Iterator[bytes]:
        # A generator, as __next__ would be called by C code, in which a tasklet cannot be parked.
        while line := self.readline():
            yield line

    def _forget(self) -> None:
        self._queue.take(None)
        super()._forget()


class BufferedWriter(_Buffered):
    """Writes to a socket through a buffer, as io.BufferedWriter.

    Tasklets of one thread that write to the same file write one after the other.
    """

    __slots__ = ()

    def __init__(self, raw: SocketIO, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        super().__init__(raw, buffer_size)
        self._pending = bytearray()
        self._sends = False

    def write(self, data: Any, /) -> int:
        """Put bytes into the buffer and return their number. flush() or a full buffer sends them.

        BlockingIOError if the socket is non-blocking and the buffer cannot take all of them: its
        characters_written says how many it took.
        """
        self._open("write to")
        with memoryview(data) as view:
            size = view.nbytes
            self._pending += view
        if len(self._pending) > self._size:
            try:
                self._send()
            except BlockingIOError as error:
                refused = len(self._pending) - self._size
                if refused > 0:
                    del self._pending[-refused:]
                    raise BlockingIOError(error.errno, error.strerror, size - refused) from error
        return size

    def writelines(self, lines: Iterable[Any], /) -> None:
        """Write one after the other."""
        self._open("write to")
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send what is in the buffer. BlockingIOError if a non-blocking socket takes less."""
        self._open("flush of")
        self._send()

    def _send(self) -> None:
        while self._sends:
            self._wait_for_turn()
        self._sends = True
        try:
            while self._pending:
                self._send_all()
        finally:
            self._sends = False
            self._end_turn()

    def _send_all(self) -> None:
        # Other tasklets may write meanwhile: into a new buffer.
        pending, self._pending = self._pending, bytearray()
        view, sent = memoryview(pending), 0
        try:
            while sent < len(view):
                count = self._open("write to").write(view[sent:])
                if count is None:
                    text = "write could not complete without blocking"
                    raise BlockingIOError(errno.EAGAIN, text, 0)
                sent += count
        finally:
            if sent < len(view):
                self._pending[:0] = view[sent:]

    def _forget(self) -> None:
        self._pending = bytearray()
        super()._forget()


class BufferedRWPair(BufferedReader, BufferedWriter):
    """Reads and writes through two buffers, as io.BufferedRWPair."""

    __slots__ = ()

    def detach(self) -> SocketIO:
        """Raise io.UnsupportedOperation, as the standard class does."""
        raise io.UnsupportedOperation("detach")


def make_file(
    sock: Any,
    mode: str = "r",
    buffering: int | None = None,
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Any:
    """Return a file object for a socket: the method `makefile` of `stackless.socket.socket`."""
    if not set(mode) <= {"r", "w", "b"}:
        raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
    writes = "w" in mode
    reads = "r" in mode or not writes
    binary = "b" in mode
    if buffering == 0 and not binary:
        raise ValueError("unbuffered streams must be binary")
    raw = SocketIO(sock, "r" * reads + "w" * writes)  # type: ignore[arg-type]
    sock._io_refs += 1
    if buffering == 0:
        return raw
    size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
    kind: Any = BufferedRWPair if reads and writes else BufferedReader if reads else BufferedWriter
    buffered = kind(raw, size)
    if binary:
        return buffered
    text = io.TextIOWrapper(buffered, io.text_encoding(encoding), errors, newline)
    text.mode = mode  # type: ignore[misc]
    return text
