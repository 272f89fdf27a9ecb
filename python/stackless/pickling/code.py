"""Pickling of code objects: marshal data after a header of seven bytes.

The header holds the Python minor version and the bytecode's magic number, because other releases
cannot run the code, and a checksum, because running damaged code may crash the interpreter.

With a code store, which the caller of `dumps` gives, a pickle holds the digest of these data only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import pickle
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from types import CodeType
from typing import Any

from stackless.pickling.facts import facts, living, make_living

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


class MissingCodeError(pickle.UnpicklingError):
    """A blob refers to code that is not in the code store, or there is no code store."""


def data_of(code: CodeType) -> bytes:
    """Return a code object as data, for `load`."""
    known = facts(code)
    if known.data is None:
        body = marshal.dumps(code)
        known.data = _HEADER.pack(sys.version_info.minor, MAGIC, zlib.crc32(body)) + body
    return known.data


def reduce(code: CodeType) -> tuple[Callable[[bytes], CodeType], tuple[bytes]]:
    """Reduce a code object."""
    return load, (data_of(code),)


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


# ------------------------------------------------------------------ code stores

#: Bytes of a digest: with so many, no other code with the digest of signed code can be found.
DIGEST = 16


def digest_of(code: CodeType) -> bytes:
    """Return the BLAKE2b digest of `data_of(code)`."""
    known = facts(code)
    if known.digest is None:
        digest = hashlib.blake2b(data_of(code), digest_size=DIGEST).digest()
        make_living(known, digest)
        return digest
    return known.digest


def reduce_to_digest(code: CodeType, codes: dict[bytes, bytes]) -> tuple[Any, ...]:
    """Reduce a code object to its digest; its data are added to `codes`."""
    known = facts(code)
    digest = known.digest
    if digest is None or known.data is None:
        digest = digest_of(code)
        codes[digest] = data_of(code)
    else:
        codes[digest] = known.data
    return stored, (digest,)


def fetch(digests: Iterable[bytes], store: Mapping[bytes, bytes] | None) -> list[CodeType]:
    """Return the code objects with these digests: `stored` finds them as long as they live.

    Raises MissingCodeError if one is neither here nor in the store, and what `load` raises.
    """
    return [living(digest) or _fetched(digest, store) for digest in digests]


def _fetched(digest: bytes, store: Mapping[bytes, bytes] | None) -> CodeType:
    if store is None:
        raise MissingCodeError("the code of the blob is in a code store: give it as code_store")
    try:
        data = bytes(store[digest])
    except KeyError:
        raise MissingCodeError(f"the code store has no code with digest {digest.hex()}") from None
    if hashlib.blake2b(data, digest_size=DIGEST).digest() != digest:
        raise pickle.UnpicklingError(f"code in the code store is damaged: {digest.hex()}")
    code = load(data)
    return make_living(facts(code), digest) or code


def stored(digest: bytes) -> CodeType:
    """Return the code object with this digest. Raises UnpicklingError if it was not fetched."""
    code = living(digest) if type(digest) is bytes else None
    if code is None:
        raise pickle.UnpicklingError("the pickle refers to code that was not fetched")
    return code
