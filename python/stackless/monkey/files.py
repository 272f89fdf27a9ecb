"""File objects whose reads and writes wait in the calling tasklet: of pipes, terminals and sockets.

They are made of the standard classes: only the raw file at the bottom waits, before it makes its
system call. Regular files are always ready; on request their calls are made on worker threads.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
import select
import stat
import subprocess
import sys
from types import ModuleType
from typing import Any

from stackless import to_thread
from stackless._stackless import _cooperates, _give_way
from stackless.monkey.processes import wait_until, write_all
from stackless.monkey.waiting import Patch
from stackless.sync import RLock

#: The standard ones.
_open: Any = io.open
_fdopen: Any = os.fdopen
_input: Any = builtins.input


class Settings:
    """What `patch_all(files=True)` sets."""

    #: True if regular files are read and written on worker threads.
    regular = False


class FileIO(io.FileIO):
    """A raw file. Calls that would block the thread wait in the tasklet."""

    _regular = False

    def _prepare(self, event: int) -> bool:
        """Wait until a call would not block; True if it is to be made on a worker thread."""
        if not _cooperates():
            return False
        if self._regular:
            return Settings.regular
        _give_way()
        wait_until(self.fileno(), event)
        return False

    def readinto(self, buffer: Any, /) -> Any:
        """Read into a buffer; return the number of bytes, None if it would block."""
        read = super().readinto
        return to_thread(read, buffer) if self._prepare(select.POLLIN) else read(buffer)

    def read(self, size: int | None = -1, /) -> Any:
        """Read at most `size` bytes with one system call; without a size until the end."""
        if size is None or size < 0:
            return self.readall()
        read = super().read
        return to_thread(read, size) if self._prepare(select.POLLIN) else read(size)

    def readall(self) -> Any:
        """Read until the end; None if it would block."""
        if self._regular:
            read = super().readall
            return to_thread(read) if self._prepare(select.POLLIN) else read()
        pieces = []
        while piece := self.read(io.DEFAULT_BUFFER_SIZE):
            pieces.append(piece)
        return b"".join(pieces) if pieces or piece is not None else None

    def write(self, data: Any, /) -> Any:
        """Write bytes with one system call; return their number, None if it would block."""
        write = super().write
        if self._prepare(select.POLLOUT):
            return to_thread(write, data)
        if self._regular or not _cooperates():
            return write(data)
        write(b"")  # refuses a file that is closed, or open for reading
        return write_all(lambda _, piece: write(piece), self.fileno(), data)


def _guarded(kind: Any, names: str) -> dict[str, Any]:
    """Return methods that let one tasklet in at a time: the lock of the class is the thread's."""

    def guard(standard: Any) -> Any:
        @functools.wraps(standard)
        def method(self: Any, *arguments: Any) -> Any:
            with self._turn:
                return standard(self, *arguments)

        return method

    return {name: guard(getattr(kind, name)) for name in names.split()}


class _Turn:
    """A buffered file that several tasklets may use."""

    def __init__(self, *arguments: Any) -> None:
        self._turn = RLock()
        super().__init__(*arguments)


_READING = "read read1 readinto readinto1 readline peek seek tell close"
_WRITING = "write flush seek tell close"

BufferedReader: Any = type(
    "BufferedReader", (_Turn, io.BufferedReader), _guarded(io.BufferedReader, _READING)
)
BufferedWriter: Any = type(
    "BufferedWriter", (_Turn, io.BufferedWriter), _guarded(io.BufferedWriter, _WRITING)
)
BufferedRandom: Any = type(
    "BufferedRandom",
    (_Turn, io.BufferedRandom),
    _guarded(io.BufferedRandom, f"{_READING} write flush truncate"),
)


def _is_regular(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode))


def _raw(file: Any, mode: str, closefd: bool, opener: Any) -> FileIO:
    # Opening a FIFO waits for its other end, and opening a file may wait for a disk.
    on_worker = not isinstance(file, int) and Settings.regular and _cooperates()
    make = functools.partial(FileIO, file, mode, closefd, opener)
    raw: FileIO = to_thread(make) if on_worker else make()
    raw._regular = _is_regular(raw.fileno())
    return raw


def _is_line_buffered(raw: FileIO, buffering: int) -> bool:
    return buffering == 1 or (buffering < 0 and raw.isatty())


def open_file(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Open a file as `io.open` does; its calls wait in the tasklet."""
    kinds = set(mode)
    if (
        kinds - set("axrwb+t")
        or len(mode) > len(kinds)
        or len(kinds & set("axrw")) != 1
        or (
            "b" in kinds
            and ("t" in kinds or (encoding, errors, newline) != (None,) * 3 or buffering == 1)
        )
    ):
        return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    if not isinstance(file, int):
        file = os.fspath(file)
    binary, updating = "b" in kinds, "+" in kinds
    raw = _raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    result: Any = raw
    try:
        line_buffering = _is_line_buffered(raw, buffering)
        if buffering == 0:
            if not binary:
                raise ValueError("can't have unbuffered text I/O")
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        if updating:
            result = BufferedRandom(raw, size)
        elif kinds & set("axw"):
            result = BufferedWriter(raw, size)
        else:
            result = BufferedReader(raw, size)
        if binary:
            return result
        encoding = io.text_encoding(encoding)
        result = io.TextIOWrapper(result, encoding, errors, newline, line_buffering)
        result.mode = mode
        return result
    except BaseException:
        result.close()
        raise


def _opens_waiting(file: Any) -> bool:
    """True for a descriptor of a pipe, a terminal or a socket."""
    try:
        return isinstance(file, int) and file >= 0 and not _is_regular(file)
    except OSError:
        return False


def fdopen(
    fd: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """Return a file object for a descriptor."""
    make = open_file if _opens_waiting(fd) else _fdopen
    return make(fd, mode, buffering, encoding, *args, **kwargs)


class _IO(ModuleType):
    """The module `io` for `subprocess`, whose pipes wait in the tasklet."""

    def __getattr__(self, name: str) -> Any:
        return open_file if name == "open" else getattr(io, name)


# ---------------------------------------------------------------------- standard input


def read_line(prompt: object = "", /) -> str:
    """Read a line from standard input, without its end. EOFError if there is none."""
    file = sys.stdin
    if not _cooperates() or not isinstance(getattr(file, "buffer", None), BufferedReader):
        line: str = _input(prompt)
        return line
    sys.stdout.write(str(prompt))
    sys.stdout.flush()
    line = file.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\n")


def _standard_input() -> list[Patch]:
    """Return the patch of `sys.stdin`, if it is the standard object for a pipe or a terminal."""
    old: Any = sys.stdin
    if old is not sys.__stdin__ or type(old) is not io.TextIOWrapper:
        return []
    if type(old.buffer) is not io.BufferedReader or not _opens_waiting(old.fileno()):
        return []
    raw = _raw(old.fileno(), "r", False, None)
    new: Any = io.TextIOWrapper(
        BufferedReader(raw), old.encoding, old.errors, None, old.line_buffering
    )
    new.mode = "r"
    return [(sys, "stdin", new)]


for _function, _standard in (fdopen, _fdopen), (read_line, _input), (open_file, _open):
    # They are pickled by name.
    _function.__module__, _function.__qualname__ = _standard.__module__, _standard.__name__
    _function.__name__ = _standard.__name__


def of_files() -> list[Patch]:
    """The patches that are part of those of `os`."""
    proxy = _IO("io")
    return [
        (os, "fdopen", fdopen),
        (subprocess, "io", proxy),
        (builtins, "input", read_line),
        *_standard_input(),
    ]


def of_regular_files() -> list[Patch]:
    """The patches for regular files."""
    return [(builtins, "open", open_file), (io, "open", open_file)]


def use_workers() -> None:
    """From now on the calls of regular files are made on worker threads."""
    Settings.regular = True


def use_no_workers() -> None:
    """From now on the calls of regular files block the thread, also those of open files."""
    Settings.regular = False
