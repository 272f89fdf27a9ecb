"""Status lines and header fields of answers: checked, and kept, as most answers have the same ones.

A field with a line break, or with a name that is none, never becomes a part of an answer: the
application gets an error.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_STATUS = re.compile(r"[2-5][0-9]{2} [^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search

#: What the server decides, not the application alone (RFC 9110, section 7.6.1).
_OURS = frozenset(
    "connection content-length date keep-alive proxy-connection te trailer transfer-encoding "
    "upgrade".split()
)
_KEPT = 1024
_LONGEST = 256

Field = tuple[str, str]

#: Status -> its line, and whether there is no body; field -> its line. All of it was checked.
_status_lines: dict[str, tuple[bytes, bool]] = {}
_field_lines: dict[Field, bytes] = {}
kept_line = _field_lines.get
kept_status = _status_lines.get


def status_line(status: str) -> tuple[bytes, bool]:
    """Return the first line of an answer, and whether such an answer has no body.

    TypeError or ValueError for what is not like "200 OK".
    """
    if type(status) is not str:
        raise TypeError(f"the status must be a str, not {type(status).__name__}")
    if not _STATUS(status):
        raise ValueError(f"not a status of an answer: {status!r}")
    line = f"HTTP/1.1 {status}\r\n".encode("latin-1")
    found = line, status[:3] in ("204", "304")
    if len(_status_lines) < _KEPT and len(line) < _LONGEST:
        _status_lines[status] = found
    return found


def field_line(field: Any) -> bytes | None:
    """Return the line of a field; None for one that the server has to look at.

    TypeError or ValueError if it is no field.
    """
    if type(field) is not tuple or len(field) != 2:
        raise TypeError(f"a header field must be a tuple (name, value), not {field!r}")
    name, value = field
    if name == "Content-Length" and type(value) is str:
        return None
    if type(name) is not str or type(value) is not str:
        raise TypeError(f"name and value of a header field must be of type str: {field!r}")
    if not _TOKEN(name):
        raise ValueError(f"not a name of a header field: {name!r}")
    if _CONTROL(value):
        raise ValueError(f"control characters in the header field {name}: {value!r}")
    lower = name.lower()
    if lower in _OURS:
        return None
    line = f"{name}: {value}\r\n".encode("latin-1")
    if len(line) < _LONGEST and lower != "set-cookie":
        if len(_field_lines) >= _KEPT:
            _field_lines.clear()
        _field_lines[name, value] = line
    return line


def short_answer(status: int) -> tuple[bytes, bytes]:
    """Return the lines, without the date, and the body of an answer that the server makes."""
    phrase = HTTPStatus(status).phrase
    body = f"{status} {phrase}\n".encode()
    head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain\r\n"
    return head.encode(), body
