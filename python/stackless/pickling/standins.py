"""Stand-ins: what a pickler is given in place of an object that it would pickle otherwise."""

from __future__ import annotations

import weakref
from typing import Any

#: What one kind of stand-in makes of an object's id, while the stand-in lives.
_Known = weakref.WeakValueDictionary[int, Any]


class StandIn:
    """Pickled in the place of `original`; copied, it is the original.

    Picklers remember objects by identity, so there is one of a kind for each original.
    """

    __slots__ = ("original", "__weakref__")
    known: _Known

    def __init__(self, original: Any) -> None:
        self.original = original

    def __init_subclass__(cls) -> None:
        cls.known = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, original: Any) -> Any:
        found = cls.known.get(id(original))
        if found is None:
            found = cls.known[id(original)] = cls(original)
        return found

    def __copy__(self) -> Any:
        return self.original

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.original


def actual(value: Any) -> Any:
    """What `by_value` was given, for code that `copy.copy` hands the state to."""
    return value.original if isinstance(value, StandIn) else value
