"""Values on their way between hosts: plain ones as they are, others as signed blobs.

Large buffers of values, such as the memory of arrays, are not in the blob but beside it, in frames
of the engine. Each is copied once, when the value is sent, as its owner may change it from then on;
the blob has its digest.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterable
from typing import Any

import stackless
from stackless.cluster.engine import Frame
from stackless.cluster.records import RemoteError

#: A pickled object: a blob and the frames with its buffers.
Parcel = tuple[Any, ...]
#: An encoded value: (value,) for a plain one, ("", *parcel) for others, ("error", text, *parcel)
#: for an exception, whose text is for those who cannot load it.
Encoded = tuple[Any, ...]
#: Buffers of fewer bytes are in the blob: there they cost less than a frame.
LARGE = 1 << 16

_PLAIN = {bool, bytes, float, str, type(None)}
_INTEGERS = range(-(2**63), 2**63)


class Codec:
    """Encodes and decodes values with the key of a cluster.

    allow: what may differ between two hosts: "source", for modules of other versions. frame: the
    engine's class of frames.
    """

    def __init__(self, key: bytes, allow: tuple[str, ...], frame: type[Frame]) -> None:
        self._key = key
        self._frame = frame
        self._allow_source = "source" in allow

    def dumps(self, value: Any) -> Parcel:
        """Return an object as a signed blob with its frames; raises what pickling raises."""
        frames: list[Frame] = []

        def apart(buffer: pickle.PickleBuffer) -> bool:
            with buffer.raw() as raw:
                if raw.nbytes < LARGE:
                    return True
                frames.append(self._frame(memoryview(bytearray(raw)).toreadonly()))
                return False

        blob = stackless.dumps(value, key=self._key, buffer_callback=apart)
        return (blob, *frames)

    def loads(self, parcel: Iterable[Any]) -> Any:
        """Return the object; raises an UnpicklingError for a blob that is not acceptable.

        It gets the memory of frames that have come from elsewhere, unless `keep()` was called.
        """
        blob, *frames = parcel
        memory = (each.memory for each in frames)
        return stackless.loads(
            blob,
            key=self._key,
            max_size=None,
            allow_changed_source=self._allow_source,
            buffers=[bytearray(each) if each.readonly else each for each in memory],
        )

    def pack(self, value: Any) -> bytes:
        """Return an object as one signed blob, with all buffers in it: `loads((blob,))`."""
        return stackless.dumps(value, key=self._key)

    def keep(self, encoded: Iterable[Any]) -> tuple[Any, ...]:
        """Return a parcel or an encoded value that can be loaded several times."""
        kept = tuple(encoded)
        for each in kept:
            if isinstance(each, self._frame):
                each.memory = each.memory.toreadonly()
        return kept

    def encode(self, value: Any) -> Encoded:
        """Return the value as part of a message; raises what pickling raises."""
        kind = type(value)
        if kind in _PLAIN or (kind is int and value in _INTEGERS):
            return (value,)
        if kind is bytearray and len(value) >= LARGE:
            value = _Bytes(value)
        return ("", *self.dumps(value))

    def decode(self, encoded: Encoded) -> Any:
        """Return the value; raises an UnpicklingError for a blob that is not acceptable."""
        if len(encoded) == 1:
            return encoded[0]
        return self._error(*encoded[1:]) if encoded[0] else self.loads(encoded[1:])

    def _error(self, text: str, *parcel: Any) -> BaseException:
        try:
            error: BaseException = self.loads(parcel)
            return error
        except Exception as problem:
            why = f"{type(problem).__name__}: {problem}"
            return RemoteError(f"{text}\n(it could not be unpickled here: {why})")

    def encode_error(self, error: BaseException) -> Encoded:
        """Return an exception, with its traceback, as part of a message."""
        text = "".join(traceback.format_exception_only(error)).rstrip()
        try:
            return ("error", text, *self.dumps(error))
        except Exception as problem:
            whole = "".join(traceback.format_exception(error)).rstrip()
            stand_in = RemoteError(f"{whole}\n(it could not be pickled: {problem})")
            return ("error", text, *self.dumps(stand_in))


class _Bytes:
    """Pickles a bytearray as a buffer, which pickle itself does not."""

    def __init__(self, value: bytearray) -> None:
        self._value = value

    def __reduce_ex__(self, protocol: Any) -> Any:
        return bytearray, (pickle.PickleBuffer(self._value),)


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
