"""Asking another process what its tasklets are doing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import IO, Any

from stackless._explain import socket as place
from stackless._explain.data import Process, infos


class NoAnswer(Exception):
    """Raised when a process does not answer; the text says why."""


class Connection:
    """A connection to a process that serves explanations. Its methods raise NoAnswer."""

    def __init__(self, pid: int, patience: float = 30) -> None:
        self.pid = pid
        self._socket = _connect(pid)
        self._socket.settimeout(patience)
        self._file: IO[bytes] = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._socket.close()

    def _ask(self, question: bytes) -> None:
        try:
            self._socket.sendall(question + b"\n")
        except OSError as error:
            raise NoAnswer(f"process {self.pid} does not listen any more: {error}") from None

    def _line(self) -> dict[str, Any]:
        try:
            line = self._file.readline()
        except TimeoutError:
            text = (
                f"process {self.pid} does not answer: some C code may hold the interpreter's lock"
            )
            raise NoAnswer(text) from None
        except OSError as error:
            raise NoAnswer(f"process {self.pid} has stopped answering: {error}") from None
        if not line.endswith(b"\n"):
            raise NoAnswer(f"process {self.pid} has stopped answering")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise NoAnswer(f"process {self.pid} refuses: {answer['error']}")
        return answer

    def count(self) -> None:
        """Let the process count switches while this connection exists."""
        self._ask(b"count")
        self._line()

    def snapshot(self) -> Process:
        """Return what all tasklets of the process are doing."""
        self._ask(b"snapshot")
        head = self._line()
        slices = []
        while "slices" not in (part := self._line()):
            slices.append(part)
        return Process(
            head["pid"],
            head["program"],
            {int(ident): name for ident, name in head["threads"].items()},
            infos(slices),
            part["seconds"],
            part["slices"],
            part["longest"],
            head["ages"],
        )


def _usable_directories() -> list[str]:
    found = []
    for directory in place.directories():
        try:
            place.check_directory(directory)
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise NoAnswer(str(error)) from None
        found.append(directory)
    return found


def _connect(pid: int) -> socket.socket:
    for directory in _usable_directories():
        path = place.path_of(directory, pid)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(5)
        try:
            connection.connect(path)
            if place.peer(connection) == (pid, os.geteuid()):
                return connection
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except OSError as error:
            connection.close()
            raise NoAnswer(f"{path}: {error}") from None
        connection.close()
        place.remove_stale(directory)
    raise NoAnswer(why_none(pid))


def command_of(pid: int) -> str:
    """Return the command line of a process; "" if it has ended or belongs to another user."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode(errors="replace").replace("\0", " ").split()
            return textwrap.shorten(" ".join(words), 200, placeholder=" …")
    except OSError:
        return ""


def why_none(pid: int) -> str:
    try:
        owner = os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return f"there is no process {pid}"
    if owner != os.geteuid():
        return f"process {pid} belongs to another user (uid {owner}); only that user may ask it"
    return (
        f"process {pid} does not serve explanations: start it with STACKLESS_EXPLAIN=1, "
        "or call stackless.explain.serve() in it"
    )


def serving() -> list[int]:
    """Return the ids of this user's processes that answer, sorted."""
    found = []
    for directory in _usable_directories():
        place.remove_stale(directory)
        for pid in place.pids(directory):
            if place.answers(place.path_of(directory, pid)):
                found.append(pid)
    return sorted(set(found))


#: Replacements of the characters that trees are drawn with, for terminals with ASCII only.
_PLAIN = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "…": "..."})


def show(lines: Iterable[str]) -> None:
    """Print lines. Characters that the encoding of stdout does not have are escaped."""
    encoding = sys.stdout.encoding or "ascii"
    for line in lines:
        try:
            line.encode(encoding)
        except UnicodeEncodeError:
            line = line.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
        print(line)


def run(program: str, command: Callable[[], None]) -> int:
    """Run a command; return its exit status, 1 if the process did not answer."""
    try:
        with contextlib.suppress(KeyboardInterrupt):
            command()
    except NoAnswer as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0
