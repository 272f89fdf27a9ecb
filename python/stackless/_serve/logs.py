"""The access log in common log format, and the log of errors."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
from typing import Any

from stackless._serve.settings import Settings

_PLAIN = re.compile(r'[^\x00-\x1f\x7f-\uffff"\\]*').fullmatch


def error_log() -> logging.Logger:
    """Return the logger that a server uses if it is given none; it writes to stderr.

    It is not known to `logging.getLogger()`, so that the application's configuration of `logging`
    does not switch it off.
    """
    logger = logging.Logger("stackless.serve", logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    form = "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s"
    handler.setFormatter(logging.Formatter(form, "%Y-%m-%d %H:%M:%S %z"))
    logger.addHandler(handler)
    return logger


def _safe(text: str) -> str:
    """Escape what could be taken for the end of a field or a line."""
    if _PLAIN(text):
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')


class AccessLog:
    """Collects lines; flush(), which the server calls each second or more often, writes them.

    A file that was renamed or removed is opened anew.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.access_log or "-"
        self._combined = settings.access_format == "combined"
        self._lines: list[str] = []
        self._second, self._date = 0, ""
        self._file = -1
        self._opened: tuple[int, int] | None = None
        self._open()

    def _open(self) -> None:
        if self._path == "-":
            self._file = 1
            return
        new = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if self._file >= 0:
            os.close(self._file)
        self._file, found = new, os.fstat(new)
        self._opened = found.st_dev, found.st_ino

    def add(self, environ: dict[str, Any], status: str, size: int) -> None:
        """Add a line for a request: `size` is the number of bytes of the body that were sent."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
        get = environ.get
        names = ("REQUEST_METHOD", "REQUEST_URI", "SERVER_PROTOCOL")
        request = " ".join(get(name) or "-" for name in names)
        host = get("REMOTE_ADDR") or "-"
        line = f'{host} - - [{self._date}] "{_safe(request)}" {status} {size or "-"}'
        if self._combined:
            referrer, agent = get("HTTP_REFERER", "-"), get("HTTP_USER_AGENT", "-")
            line += f' "{_safe(referrer)}" "{_safe(agent)}"'
        self._lines.append(line + "\n")

    def flush(self) -> None:
        """Write the lines. OSError if that is not possible: the lines are lost then."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        if self._opened is not None:
            found = None
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(self._path)
            if found is None or (found.st_dev, found.st_ino) != self._opened:
                self._open()
        data = memoryview("".join(lines).encode("ascii", "backslashreplace"))
        while data:
            data = data[os.write(self._file, data) :]
