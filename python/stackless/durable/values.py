"""Values in the store: arguments, results, messages, exceptions. Signed, like snapshots.

They are plain pickles where that is possible, which every version of Python can load; what holds
functions or classes by value is a blob of `stackless.dumps`. Of an exception there are both, as
only the blob has its traceback, notes and causes.
"""

from __future__ import annotations

import hmac
import pickle
from collections.abc import Sequence
from typing import Any

import stackless
from stackless import pickling

_SIGNATURE = 32
#: Begin the data of each kind.
_PLAIN, _BLOB, _ERROR = b"p", b"b", b"e"
_LATEST = 5


def dump(value: Any, key: bytes) -> bytes:
    """Pickle a value. Raises what `stackless.dumps` raises for one that cannot be pickled."""
    plain = _plain(value)
    if isinstance(value, BaseException):
        data = _ERROR + pickle.dumps((plain, _blob(value, key)), _LATEST)
    elif plain is not None:
        data = _PLAIN + plain
    else:
        data = _BLOB + _blob(value, key)
    return hmac.digest(key, data, "sha256") + data


def load(signed: bytes, keys: Sequence[bytes]) -> Any:
    """Return a value. SignatureError if it is not signed with one of the keys.

    Also what unpickling raises.
    """
    data = _checked(signed, keys)
    kind, data = bytes(data[:1]), data[1:]
    if kind == _PLAIN:
        return pickle.loads(data)
    if kind == _BLOB:
        return _of_blob(data, keys)
    plain, blob = pickle.loads(data)
    try:
        return _of_blob(blob, keys)
    except pickling.CodeVersionError:
        if plain is None:
            raise
        return pickle.loads(plain)


def describe(signed: bytes, keys: Sequence[bytes] | None) -> str:
    """Return a value as text, as `pickling.inspect` shows it, without unpickling it.

    `keys`: None leaves the signature unchecked. Raises SignatureError and what `inspect` raises.
    """
    data = memoryview(signed)[_SIGNATURE:] if keys is None else _checked(signed, keys)
    kind, data = bytes(data[:1]), data[1:]
    if kind == _PLAIN:
        return pickling.preview(data)
    if kind == _BLOB:
        return pickling.inspect(data, key=keys, max_size=None).text
    return "<an exception>"


def _checked(signed: bytes, keys: Sequence[bytes]) -> memoryview:
    data = memoryview(signed)[_SIGNATURE:]
    fits = [
        hmac.compare_digest(hmac.digest(key, data, "sha256"), signed[:_SIGNATURE]) for key in keys
    ]
    if not any(fits):
        raise pickling.SignatureError("the value was not signed with this key, or it is damaged")
    return data


def _plain(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value, _LATEST)
    except MemoryError:
        raise
    except Exception:
        return None  # it has to be a blob, or that says what prevents it


def _blob(value: Any, key: bytes) -> bytes:
    return stackless.dumps(value, key=key, same_program=True)


def _of_blob(blob: Any, keys: Sequence[bytes]) -> Any:
    return stackless.loads(blob, key=keys, max_size=None, allow_changed_source=True)
