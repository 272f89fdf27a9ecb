"""Stand-ins: objects that a pickler gets in place of others that it would pickle differently."""

from __future__ import annotations

import weakref
from _weakref import _remove_dead_weakref  # type: ignore[attr-defined]
from typing import Any


class _Ref(weakref.ref[Any]):
    """Refers to the stand-in of the object with the id `key`."""

    __slots__ = ("key", "known")
    key: int
    known: dict[int, _Ref]


def _forget(ref: _Ref, remove: Any = _remove_dead_weakref) -> None:
    remove(ref.known, ref.key)


class StandIn:
    """Pickled in the place of `original`; its copy is the original.

    Picklers remember objects by identity: so each class has one stand-in for an original, also if
    several threads ask for it at the same time.
    """

    __slots__ = ("original", "__weakref__")
    #: Weak references to the living stand-ins, by the id of their original.
    known: dict[int, _Ref]

    def __init__(self, original: Any) -> None:
        self.original = original

    def __init_subclass__(cls) -> None:
        cls.known = {}

    @classmethod
    def of(cls, original: Any) -> Any:
        ref = cls.known.get(id(original))
        found = None if ref is None else ref()
        while found is None:
            # Each step is one operation of a dict, and another thread may run between them.
            made = cls(original)
            ref = _Ref(made, _forget)
            ref.key, ref.known = id(original), cls.known
            _remove_dead_weakref(ref.known, ref.key)
            found = cls.known.setdefault(ref.key, ref)()
        return found

    def __copy__(self) -> Any:
        return self.original

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.original


def actual(value: Any) -> Any:
    """Return the original of a stand-in: `copy.copy` passes the state without pickling it."""
    return value.original if isinstance(value, StandIn) else value
