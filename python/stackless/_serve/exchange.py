"""A request and its answer: what WSGI (PEP 3333) says about `start_response` and what is sent."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import stackless
from stackless._serve.body import FileWrapper, Input
from stackless._serve.response_head import (
    field_line,
    kept_line,
    kept_status,
    short_answer,
    status_line,
)

#: Up to this many bytes, head and body of an answer are copied into one piece.
_ONE_PIECE = 1 << 17


class ClientGone(ConnectionError):
    """The client has closed its connection, is too slow, or has sent what is no request."""


class Refused(Exception):
    """A request that the server answers itself, with this status."""

    def __init__(self, status: int) -> None:
        self.status = status


class Exchange:
    """One request of a connection; `respond()` calls the application and sends what it returns."""

    # Attributes of the object, not of the class, as those are found sooner.
    __slots__ = (
        "begun",
        "bodiless",
        "chunked",
        "complete",
        "connection",
        "environ",
        "expects",
        "head_only",
        "keep",
        "length",
        "lines",
        "new",
        "parts",
        "received",
        "written",
    )

    def __init__(self, connection: Any, environ: dict[str, Any]) -> None:
        self.connection = connection
        self.environ = environ
        self.keep = True
        self.new = True  # HTTP/1.1
        self.head_only = False
        self.complete = False
        self.expects = False
        self.parts: Any = ()  # a list of what has come of the body
        self.received = 0
        self.lines: list[bytes] | None = None
        self.length: int | None = None
        self.bodiless = False
        self.begun = False
        self.chunked = False
        self.written = 0

    # ---------------------------------------------------------------- what the application calls

    def start_response(self, status: str, headers: Any, exc_info: Any = None, /) -> Any:
        """PEP 3333's start_response; returns write()."""
        if exc_info is not None:
            try:
                if self.begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.lines is not None:
            raise AssertionError("start_response() was called before, and there is no exc_info")
        self.length = None
        line, self.bodiless = kept_status(status) or status_line(status)
        lines: list[bytes] = [line]
        for field in headers:
            try:
                made = kept_line(field) or field_line(field)
            except TypeError:
                made = field_line(field)  # which says what is wrong
            if made is not None:
                lines.append(made)
            else:
                self._special(field[0], field[1], lines)
        self.lines = lines
        return self.write

    def _special(self, name: str, value: str, lines: list[bytes]) -> None:
        name = name.lower()
        if name == "content-length":
            if self.length is not None:
                raise ValueError("Content-Length is given twice")
            if not (value.isascii() and value.isdecimal()):
                raise ValueError(f"not a Content-Length: {value!r}")
            self.length = int(value)
        elif name == "connection":
            if value.lower() == "close":
                self.keep = False
        elif name == "date":
            lines.append(f"Date: {value}\r\n".encode("latin-1"))

    def write(self, data: bytes, /) -> None:
        """Send a part of the body, with the head before the first one."""
        if not isinstance(data, bytes):
            raise TypeError(f"parts of an answer must be bytes, not {type(data).__name__}")
        if not self.begun:
            head = self._begin()
        else:
            head = b""
        if self.head_only or self.bodiless:
            data = b""
        elif self.length is not None and self.written + len(data) > self.length:
            self._complain("the answer is longer than its Content-Length; it was cut")
            data = data[: self.length - self.written]
        self.written += len(data)
        if self.chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if head or data:
            self.connection.send(head + data)

    # ---------------------------------------------------------------- sending

    def _head(self, length: int | None) -> list[bytes]:
        """Return the lines of the head; `length` is for Content-Length."""
        lines = self.lines
        if lines is None:
            raise AssertionError("start_response() was not called")
        self.begun = True
        connection = self.connection
        if not self.complete or connection.server.stopping:
            self.keep = False  # what is left of the body is not read
        lines.append(connection.server.clock.date_line)
        if length is not None and not self.bodiless:
            lines.append(b"Content-Length: %d\r\n" % length)
        elif self.bodiless and self.length is not None and lines[0][9:12] == b"304":
            lines.append(b"Content-Length: %d\r\n" % self.length)
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if not self.keep:
            lines.append(b"Connection: close\r\n")
        elif not self.new:
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return lines

    def _begin(self) -> bytes:
        """Return the head of an answer whose body comes in parts."""
        if self.length is None and not self.head_only and not self.bodiless:
            if self.new:
                self.chunked = True
            else:
                self.keep = False  # the end of the connection is the end of the body
        return b"".join(self._head(self.length))

    def _whole(self, body: bytes) -> None:
        """Send an answer whose body is known."""
        size, length = len(body), self.length
        if self.head_only or self.bodiless:
            # Without a body the application does not tell how long that of GET is.
            shown = length if length is not None else size or None
            self.connection.send(b"".join(self._head(shown)))
            return
        if length is None:
            length = size
        elif length != size:
            if length > size:
                self._complain(f"the answer has {size} bytes, and its Content-Length is {length}")
                self.keep = False
            else:
                self._complain("the answer is longer than its Content-Length; it was cut")
                body, size = body[:length], length
        lines = self._head(length)
        self.written = size
        if size <= _ONE_PIECE:
            lines.append(body)
            self.connection.send(b"".join(lines))
        else:
            self.connection.send(b"".join(lines))
            self.connection.send(body)

    def _stream(self, result: Any) -> None:
        if type(result) is FileWrapper and self.lines is not None and self.length is None:
            self.length = result.length()
        write = self.write
        for data in result:
            if data:
                write(data)
        if not self.begun:
            self._whole(b"")
        elif self.chunked:
            self.connection.send(b"0\r\n\r\n")
        elif self.length is not None and self.written < self.length:
            if not self.head_only and not self.bodiless:
                self._complain(
                    f"the answer has {self.written} bytes, and its Content-Length is {self.length}"
                )
                self.keep = False

    def respond(self) -> None:
        """Call the application and send its answer; errors become an answer, and are logged."""
        connection, environ = self.connection, self.environ
        if not self.complete:
            environ["wsgi.input"] = Input(self)
        elif self.parts:
            environ["wsgi.input"] = BytesIO(b"".join(self.parts))
        else:
            environ["wsgi.input"] = BytesIO()
        try:
            result = connection.application(environ, self.start_response)
            if type(result) is list and not self.begun:
                body = result[0] if len(result) == 1 else b"".join(result)
                if type(body) is not bytes:
                    raise TypeError(f"an answer must be bytes, not {type(body).__name__}")
                self._whole(body)
            else:
                try:
                    self._stream(result)
                finally:
                    close = getattr(result, "close", None)
                    if close is not None:
                        close()
        except (stackless.TaskletExit, KeyboardInterrupt):
            self.keep = False
            raise
        except BaseException as error:
            self._failed(error)
        if connection.access is not None:
            self._log(connection.access)

    # ---------------------------------------------------------------- errors

    def _what(self) -> str:
        get = self.environ.get
        return f"{get('REQUEST_METHOD')} {get('REQUEST_URI')!r}"

    def _complain(self, text: str) -> None:
        self.connection.server.log.error("%s: %s", self._what(), text)

    def _failed(self, error: BaseException) -> None:
        connection = self.connection
        self.keep = False
        if isinstance(error, ClientGone) or connection.gone:
            # The application may have made another error of it.
            connection.server.log.debug("%s: %s", self._what(), error)
        elif connection.refusal is None:
            connection.server.log.error("Error in %s", self._what(), exc_info=error)
        if self.begun:
            connection.abort()
        elif not connection.gone:
            self.answer(connection.refusal or 500)

    def answer(self, status: int) -> None:
        """Send an answer of the server itself, after which the connection is closed."""
        head, body = short_answer(status)
        self.lines, self.length, self.chunked, self.keep = [head], None, False, False
        self.bodiless = False
        try:
            self._whole(body)
        except ClientGone as error:
            self.connection.server.log.debug("%s: %s", self._what(), error)

    def _log(self, access: Any) -> None:
        status = self.lines[0][9:12].decode() if self.lines and self.begun else "000"
        access.add(self.environ, status, self.written)
