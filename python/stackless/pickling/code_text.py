"""Names and lines of pickled code, read without making a code object of the data.

`marshal` may crash on wrong data, and its result could be run. Here the data are only read; what
does not fit is a ValueError. (The format: Python/marshal.c; that of lines: Objects/locations.md.)
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

#: Header of pickled code: see `code`.
_HEADER_SIZE = struct.calcsize("<BHL")
#: More containers in one another are refused.
_DEEPEST = 60
_REFERENCE = 0x80


class CodeText(NamedTuple):
    """What is known of a code object."""

    file: str
    name: str
    first_line: int
    #: Names of variables, in the order of their values in a frame.
    variables: tuple[str, ...]
    #: First code units of entries of the line table, and their lines.
    starts: list[int]
    lines: list[int]

    def line(self, unit: int) -> int:
        """Return the line of a code unit; 0 if it has none."""
        at = bisect.bisect_right(self.starts, unit) - 1
        return self.lines[at] if at >= 0 else 0


def read_code(data: bytes) -> CodeText:
    """Read what `code.data_of` has returned, in any supported Python. Raises ValueError."""
    if len(data) < _HEADER_SIZE:
        raise ValueError("not a pickled code object")
    found = _Reader(data, _HEADER_SIZE).value(0)
    if not isinstance(found, CodeText):
        raise ValueError("not a pickled code object")
    return found


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.known: list[Any] = []

    def take(self, size: int) -> bytes:
        found = self.data[self.at : self.at + size]
        if size < 0 or len(found) != size:
            raise ValueError("the data of code end too early")
        self.at += size
        return found

    def number(self, size: int = 4) -> int:
        return int.from_bytes(self.take(size), "little", signed=size > 1)

    def value(self, depth: int) -> Any:
        """Read a value. Those that are not needed are None."""
        if depth > _DEEPEST:
            raise ValueError("the data of code are too deep")
        kind = self.take(1)[0]
        place = len(self.known)
        if kind & _REFERENCE:
            self.known.append(None)
        read = _KINDS.get(chr(kind & ~_REFERENCE))
        if read is None:
            raise ValueError("the data of code hold an unknown value")
        found = read(self, depth + 1)
        if kind & _REFERENCE:
            self.known[place] = found
        return found

    def reference(self, _: int) -> Any:
        number = self.number()
        if not 0 <= number < len(self.known):
            raise ValueError("the data of code refer to a value that is not there")
        return self.known[number]

    def items(self, count: int, depth: int) -> tuple[Any, ...]:
        found = []
        for _ in range(count):  # each takes a byte at least
            found.append(self.value(depth))
        return tuple(found)

    def pairs(self, depth: int) -> None:
        while self.data[self.at : self.at + 1] != b"0":
            self.value(depth)
            self.value(depth)
        self.at += 1

    def code(self, depth: int) -> CodeText:
        self.take(5 * 4)  # numbers of arguments, size of the stack, flags
        self.items(3, depth)  # bytecode, constants, names
        variables, _, file, name, qualname = self.items(5, depth)
        first = self.number()
        table, _ = self.items(2, depth)
        if not isinstance(variables, tuple) or not all(isinstance(v, str) for v in variables):
            raise ValueError("the data of code hold wrong names")
        if not isinstance(file, str) or not isinstance(qualname, str):
            raise ValueError("the data of code hold wrong names")
        if not isinstance(table, bytes):
            raise ValueError("the data of code hold a wrong line table")
        return CodeText(file, qualname, first, variables, *_lines(table, first))


_KINDS: dict[str, Callable[[_Reader, int], Any]] = {
    **dict.fromkeys("0NFTS.", lambda reader, _: None),
    "i": lambda reader, _: reader.number(),
    "I": lambda reader, _: reader.number(8),
    "f": lambda reader, _: reader.take(reader.number(1)) and None,
    "g": lambda reader, _: reader.take(8) and None,
    "x": lambda reader, _: [reader.take(reader.number(1)) for _ in "ri"] and None,
    "y": lambda reader, _: reader.take(16) and None,
    "l": lambda reader, _: reader.take(2 * abs(reader.number())) and None,
    "s": lambda reader, _: reader.take(reader.number()),
    **dict.fromkeys("tu", lambda reader, _: str(reader.take(reader.number()), "utf-8", "replace")),
    **dict.fromkeys("aA", lambda reader, _: str(reader.take(reader.number()), "latin-1")),
    **dict.fromkeys("zZ", lambda reader, _: str(reader.take(reader.number(1)), "latin-1")),
    "r": _Reader.reference,
    "(": lambda reader, depth: reader.items(reader.number(), depth),
    ")": lambda reader, depth: reader.items(reader.number(1), depth),
    **dict.fromkeys("[<>", lambda reader, depth: reader.items(reader.number(), depth)),
    "{": _Reader.pairs,
    ":": lambda reader, depth: reader.items(3, depth) and None,
    "c": _Reader.code,
}


# ------------------------------------------------------------------ lines

_NO_LINE, _LONG, _NO_COLUMNS, _ONE_LINE = 15, 14, 13, 10


def _lines(table: bytes, line: int) -> tuple[list[int], list[int]]:
    """Return the first code unit and the line of each entry of a line table."""
    starts, lines, at, unit = [], [], 0, 0
    while at < len(table):
        kind, units = table[at] >> 3 & 15, (table[at] & 7) + 1
        at += 1
        if kind in (_LONG, _NO_COLUMNS):
            number, at = _number(table, at)
            line += -(number >> 1) if number & 1 else number >> 1
            for _ in range(3 if kind == _LONG else 0):
                _, at = _number(table, at)
        elif _ONE_LINE <= kind < _NO_COLUMNS:
            line += kind - _ONE_LINE
            at += 2
        elif kind != _NO_LINE:
            at += 1
        starts.append(unit)
        lines.append(0 if kind == _NO_LINE else max(line, 0))
        unit += units
    return starts, lines


def _number(table: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(table) or shift > 60:
            raise ValueError("the data of code hold a wrong line table")
        number |= (table[at] & 63) << shift
        at += 1
        if not table[at - 1] & 64:
            return number, at
        shift += 6
