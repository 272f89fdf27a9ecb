"""Values on their way between hosts: plain ones as they are, others as signed blobs."""

from __future__ import annotations

import traceback
from typing import Any

import stackless
from stackless.cluster.records import RemoteError

#: An encoded value: (value,) for a plain one, ("", blob) for others, ("error", text, blob) for an
#: exception, whose text is for those who cannot load it.
Encoded = tuple[Any, ...]

_PLAIN = {bool, bytes, float, str, type(None)}
_INTEGERS = range(-(2**63), 2**63)


class Codec:
    """Encodes and decodes values with the key of a cluster.

    allow: what may differ between two hosts: "source", for modules of other versions.
    """

    def __init__(self, key: bytes, allow: tuple[str, ...] = ()) -> None:
        self._key = key
        self._allow_source = "source" in allow

    def dumps(self, value: Any) -> bytes:
        """Return a signed blob; raises what pickling raises."""
        return stackless.dumps(value, key=self._key)

    def loads(self, blob: bytes) -> Any:
        """Return the value of a blob; raises an UnpicklingError for one that is not acceptable."""
        return stackless.loads(
            blob, key=self._key, max_size=None, allow_changed_source=self._allow_source
        )

    def encode(self, value: Any) -> Encoded:
        """Return the value as part of a message; raises what pickling raises."""
        kind = type(value)
        if kind in _PLAIN or (kind is int and value in _INTEGERS):
            return (value,)
        return ("", self.dumps(value))

    def decode(self, encoded: Encoded) -> Any:
        """Return the value; raises an UnpicklingError for a blob that is not acceptable."""
        if len(encoded) == 1:
            return encoded[0]
        return self._error(*encoded[1:]) if encoded[0] else self.loads(encoded[1])

    def _error(self, text: str, blob: bytes) -> BaseException:
        try:
            error: BaseException = self.loads(blob)
            return error
        except Exception as problem:
            why = f"{type(problem).__name__}: {problem}"
            return RemoteError(f"{text}\n(it could not be unpickled here: {why})")

    def encode_error(self, error: BaseException) -> Encoded:
        """Return an exception, with its traceback, as part of a message."""
        text = "".join(traceback.format_exception_only(error)).rstrip()
        try:
            return ("error", text, self.dumps(error))
        except Exception as problem:
            whole = "".join(traceback.format_exception(error)).rstrip()
            stand_in = RemoteError(f"{whole}\n(it could not be pickled: {problem})")
            return ("error", text, self.dumps(stand_in))


def why_not(value: Any, error: BaseException) -> str:
    """Return why a value cannot be pickled: the first obstacle, and where it is."""
    try:
        obstacles = stackless.why_not_picklable(value, limit=100_000)
    except Exception:
        obstacles = []
    if not obstacles:
        return f"{type(error).__name__}: {error}"
    first = obstacles[0]
    where = f"{first.frame.function}(), " if first.frame else ""
    more = f"; {len(obstacles) - 1} more" if len(obstacles) > 1 else ""
    return f"{where}{first.path} ({first.type}): {first.reason}; {first.remedy}{more}"
