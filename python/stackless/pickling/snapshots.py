"""`Snapshotter`: pickling of one object again and again, its code apart.

A snapshot is a whole blob: it can be loaded without those before it. What the snapshots share, the
code objects, is in a code store. Frames are written anew each time: whether what the variables of a
waiting call refer to has changed cannot be told from the call.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from stackless.pickling.blob import Key, dumps


class Snapshotter:
    """Takes snapshots of an object, usually a tasklet, for a store that keeps the last of them.

    `code_store` is the mapping into which the data of code objects are put, by their digests (16
    bytes); by default a new dict. The other options are those of `dumps`. May be used by any
    thread, for a tasklet by its own.
    """

    __slots__ = ("_key", "_protocol", "_same_program", "code_store", "obj")

    def __init__(
        self,
        obj: Any,
        code_store: MutableMapping[bytes, bytes] | None = None,
        *,
        protocol: int | None = None,
        key: Key | None = None,
        same_program: bool = False,
    ) -> None:
        self.obj = obj
        #: The code of all snapshots so far.
        self.code_store: MutableMapping[bytes, bytes] = {} if code_store is None else code_store
        self._protocol = protocol
        self._key = key
        self._same_program = same_program

    def snapshot(self) -> bytes:
        """Return a blob of the object as it is now, for `loads` with the same `code_store`.

        Code that is not in the store is put there first; the store is asked each time. Raises what
        `dumps` raises, and what the store raises.
        """
        return dumps(
            self.obj,
            protocol=self._protocol,
            key=self._key,
            code_store=self.code_store,
            same_program=self._same_program,
        )

    def __repr__(self) -> str:
        return f"<Snapshotter of {self.obj!r}, {len(self.code_store)} code objects>"
