"""Pickling of code objects: marshal data after a header of seven bytes.

The header holds the Python minor version and the bytecode's magic number, because other releases
cannot run the code, and a checksum, because running damaged code may crash the interpreter.
"""

from __future__ import annotations

import importlib.util
import marshal
import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from types import CodeType

from stackless.pickling.facts import facts

#: The code objects that were loaded last, by their data: a program that loads the same functions
#: again shares their code, as functions of one process do. Emptied when it is full.
_loaded: dict[bytes, CodeType] = {}
_MOST_LOADED = 256
#: Longer data are not kept.
_KEPT_SIZE = 16 * 1024

#: Python minor version, magic number of the bytecode, checksum of the marshal data.
_HEADER = struct.Struct("<BHL")
MAGIC: int = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")


class CodeVersionError(pickle.UnpicklingError):
    """Code was pickled by a Python whose bytecode this one cannot run."""


def check_version(minor: int, magic: int) -> None:
    """Raise CodeVersionError unless the running Python is 3.`minor` with bytecode `magic`."""
    if (minor, magic) != (sys.version_info.minor, MAGIC):
        raise CodeVersionError(
            f"this was pickled by Python 3.{minor} (bytecode {magic}); "
            f"this is Python 3.{sys.version_info.minor} (bytecode {MAGIC})"
        )


def reduce(code: CodeType) -> tuple[Callable[[bytes], CodeType], tuple[bytes]]:
    """Reduce a code object."""
    known = facts(code)
    data = known.data
    if data is None:
        body = marshal.dumps(code)
        data = _HEADER.pack(sys.version_info.minor, MAGIC, zlib.crc32(body)) + body
        known.data = data
    return load, (data,)


def load(data: bytes) -> CodeType:
    """Return the code object that `reduce` has written.

    Raises CodeVersionError for code of another Python, pickle.UnpicklingError for damaged data.
    """
    known = _loaded.get(data) if type(data) is bytes else None
    if known is not None:
        return known
    if type(data) is not bytes or len(data) < _HEADER.size:
        raise pickle.UnpicklingError("this is not a pickled code object")
    minor, magic, checksum = _HEADER.unpack_from(data)
    check_version(minor, magic)
    body = memoryview(data)[_HEADER.size :]
    if zlib.crc32(body) != checksum:
        raise pickle.UnpicklingError("a pickled code object is damaged")
    code = marshal.loads(body)
    if type(code) is not CodeType:
        raise pickle.UnpicklingError("this is not a pickled code object")
    # Pickled again it is the same data: marshal would write them in another way.
    facts(code).data = data
    if len(data) <= _KEPT_SIZE:
        if len(_loaded) >= _MOST_LOADED:
            _loaded.clear()
        _loaded[data] = code
    return code
