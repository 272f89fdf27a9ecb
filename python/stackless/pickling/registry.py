"""`register`: pickling of objects that have to be made again, such as open files and sockets."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, TypeVar

from stackless.pickling.functions import by_value
from stackless.pickling.standins import actual

_T = TypeVar("_T")

#: What was registered with copyreg for a type before.
_before: dict[type, Any] = {}


def register(kind: type[_T], dump: Callable[[_T], Any], load: Callable[[Any], _T]) -> None:
    """From now on, pickle objects of a type as `dump` describes them; `load` makes them again.

    `dump(object)` returns a description that can be pickled, and that does not refer to the object.
    `load(description)` returns the object to be used instead when it is unpickled. `load` itself is
    pickled like any function: by name, or else by value. Exceptions of the two are raised by
    pickling and unpickling.

    Applies to objects of exactly this type, in all pickles of this process (through copyreg); it
    replaces what was registered for the type before. Raises TypeError if `kind` is not a type, or
    if `dump` or `load` cannot be called.
    """
    if not isinstance(kind, type):
        raise TypeError(f"a type is needed, not {type(kind).__name__}")
    for function in (dump, load):
        if not callable(function):
            raise TypeError(f"{type(function).__name__} object is not callable")

    def reduce(each: Any) -> tuple[Any, ...]:
        return made_again, (by_value(load), by_value(dump(each)))

    _before.setdefault(kind, copyreg.dispatch_table.get(kind))
    copyreg.pickle(kind, reduce)


def unregister(kind: type) -> None:
    """Undo `register` and restore what was registered before. Raises KeyError for other types."""
    before = _before.pop(kind)
    if before is None:
        del copyreg.dispatch_table[kind]
    else:
        copyreg.dispatch_table[kind] = before


def made_again(load: Any, description: Any) -> Any:
    """Return `load(description)`; both may be stand-ins."""
    return actual(load)(actual(description))
