"""Modules by name, views of dicts, and iterators that the standard library does not pickle."""

from __future__ import annotations

import collections
import copyreg
import gc
import importlib
import itertools
import pickle
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from stackless.pickling.errors import HEAP_TYPE
from stackless.pickling.functions import by_value
from stackless.pickling.standins import StandIn, actual

# ------------------------------------------------------------------ modules


def reduce_module(module: ModuleType) -> tuple[Any, ...]:
    """The reducer of modules: they are imported by name.

    Raises pickle.PicklingError for a module that `sys.modules` does not have under its name.
    """
    if sys.modules.get(module.__name__) is not module:
        raise pickle.PicklingError(
            f"can't pickle the module {module.__name__!r}: sys.modules has no such module, "
            "or another one, under its name"
        )
    return importlib.import_module, (module.__name__,)


# ------------------------------------------------------------------ views


def referents(value: Any) -> list[Any]:
    """The objects that a C object holds, in the order of its fields, without its type."""
    found = gc.get_referents(value)
    return found[1:] if type(value).__flags__ & HEAP_TYPE else found


_VIEWS: dict[type, Callable[[Any], Any]] = {
    type({}.keys()): dict.keys,
    type({}.values()): dict.values,
    type({}.items()): dict.items,
    type(collections.OrderedDict().keys()): collections.OrderedDict.keys,
    type(collections.OrderedDict().values()): collections.OrderedDict.values,
    type(collections.OrderedDict().items()): collections.OrderedDict.items,
}


def reduce_view(view: Any) -> tuple[Any, ...]:
    """The reducer of views: of the same dict, which its own `mapping` would hide."""
    (viewed,) = referents(view)
    return _VIEWS[type(view)], (viewed,)


# ------------------------------------------------------------------ iterators


def remade(kind: Callable[..., Any], *arguments: Any) -> Any:
    """`kind(*arguments)`, some of which have come by value."""
    return kind(*map(actual, arguments))


def _made_of(kind: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    """Reduce to `kind(*arguments)`. Without functions by value nobody needs us to load it."""
    values = tuple(map(by_value, arguments))
    if any(isinstance(each, StandIn) for each in values):
        return remade, (kind, *values)
    return kind, arguments


def reduce_with_functions(iterator: Any) -> tuple[Any, ...]:
    """The reducer of map, filter and iter(function, end): functions in them travel by value."""
    kind, arguments, *rest = iterator.__reduce__()
    return *_made_of(kind, *arguments), *rest


_REVERSED_DEQUE: Any = type(reversed(collections.deque()))


def reduce_reversed_deque(iterator: Any) -> tuple[Any, ...]:
    """The reducer of reversed(deque): its type has no name since Python 3.12."""
    _, (deque, index) = iterator.__reduce__()
    return reversed_deque, (deque, index)


def reversed_deque(deque: Any, index: int) -> Any:
    """`reversed(deque)`, after `index` items."""
    return _REVERSED_DEQUE(deque, index)


# From Python 3.12 on itertools warn when pickled, from 3.14 on they cannot be. These are the ones
# whose state shows from outside: by what they refer to, their length and their repr.


def reduce_count(iterator: itertools.count[Any]) -> tuple[Any, ...]:
    """The reducer of itertools.count."""
    held = referents(iterator)
    if len(held) == 2:
        return itertools.count, tuple(held)
    # A small int is kept as a C number, and its step is 1. Of the largest, repr knows nothing.
    text = repr(iterator).removeprefix("count(").removesuffix(")")
    return itertools.count, (sys.maxsize if text == "<NULL>" else int(text),)


def reduce_repeat(iterator: itertools.repeat[Any]) -> tuple[Any, ...]:
    """The reducer of itertools.repeat."""
    (repeated,) = referents(iterator)
    try:
        times = [iterator.__length_hint__()]
    except TypeError:  # it has no end
        times = []
    return _made_of(itertools.repeat, repeated, *times)


def reduce_chain(iterator: itertools.chain[Any]) -> tuple[Any, ...]:
    """The reducer of itertools.chain: of what is left of one iterable, and those to come."""
    match referents(iterator):
        case [source, active]:
            return itertools.chain, (active, itertools.chain.from_iterable(source))
        case [source]:
            return itertools.chain.from_iterable, (source,)
    return itertools.chain, ()


def reduce_two(iterator: Any) -> tuple[Any, ...]:
    """The reducer of itertools that have two fields, which are their arguments."""
    return _made_of(type(iterator), *referents(iterator))


def reduce_two_reversed(iterator: Any) -> tuple[Any, ...]:
    """The same, where the function comes second."""
    iterable, function = referents(iterator)
    return _made_of(type(iterator), function, iterable)


def register() -> None:
    """Tell copyreg."""
    copyreg.pickle(ModuleType, reduce_module)
    for view in _VIEWS:
        copyreg.pickle(view, reduce_view)
    with_functions: tuple[type, ...] = (map, filter, type(iter(int, 1)))
    for kind in with_functions:
        copyreg.pickle(kind, reduce_with_functions)
    copyreg.pickle(_REVERSED_DEQUE, reduce_reversed_deque)
    copyreg.pickle(itertools.count, reduce_count)
    copyreg.pickle(itertools.repeat, reduce_repeat)
    copyreg.pickle(itertools.chain, reduce_chain)
    copyreg.pickle(itertools.compress, reduce_two)
    copyreg.pickle(itertools.starmap, reduce_two_reversed)
    copyreg.pickle(itertools.filterfalse, reduce_two_reversed)
