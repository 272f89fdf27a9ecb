"""Pickling of modules by name, of views of dicts, and of iterators that pickle does not support."""

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
    """Reduce a module: it is imported by name.

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
    """Return the objects that a C object refers to, in the order of its fields; not its type."""
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
    """Reduce a view: to a view of the same dict, which the view's `mapping` would hide."""
    (viewed,) = referents(view)
    return _VIEWS[type(view)], (viewed,)


# ------------------------------------------------------------------ iterators


def remade(kind: Callable[..., Any], *arguments: Any) -> Any:
    """Return `kind(*arguments)`; some of the arguments may be stand-ins."""
    return kind(*map(actual, arguments))


def _made_of(kind: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    """Reduce to `kind(*arguments)`; without functions by value, loading needs no code of ours."""
    values = tuple(map(by_value, arguments))
    if any(isinstance(each, StandIn) for each in values):
        return remade, (kind, *values)
    return kind, arguments


def reduce_with_functions(iterator: Any) -> tuple[Any, ...]:
    """Reduce a map, filter or iter(function, end); its function is pickled by value."""
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


# From Python 3.12 on itertools warn when pickled, from 3.14 on they cannot be pickled. These are
# the ones whose state can be read: from the objects they refer to, their length and their repr.


def reduce_count(iterator: itertools.count[Any]) -> tuple[Any, ...]:
    """Reduce an itertools.count."""
    held = referents(iterator)
    if len(held) == 2:
        return itertools.count, tuple(held)
    # A small int is kept as a C number, and its step is 1. The repr does not show the largest one.
    text = repr(iterator).removeprefix("count(").removesuffix(")")
    return itertools.count, (sys.maxsize if text == "<NULL>" else int(text),)


def reduce_repeat(iterator: itertools.repeat[Any]) -> tuple[Any, ...]:
    """Reduce an itertools.repeat."""
    (repeated,) = referents(iterator)
    try:
        times = [iterator.__length_hint__()]
    except TypeError:  # it has no end
        times = []
    return _made_of(itertools.repeat, repeated, *times)


def reduce_chain(iterator: itertools.chain[Any]) -> tuple[Any, ...]:
    """Reduce an itertools.chain: the rest of its current iterable, and the remaining iterables."""
    match referents(iterator):
        case [source, active]:
            return itertools.chain, (active, itertools.chain.from_iterable(source))
        case [source]:
            return itertools.chain.from_iterable, (source,)
    return itertools.chain, ()


def reduce_two(iterator: Any) -> tuple[Any, ...]:
    """Reduce itertools that have two fields, which are their arguments."""
    return _made_of(type(iterator), *referents(iterator))


def reduce_two_reversed(iterator: Any) -> tuple[Any, ...]:
    """Reduce itertools that have two fields, of which the function is the second."""
    iterable, function = referents(iterator)
    return _made_of(type(iterator), function, iterable)


def register() -> None:
    """Register the reducers of these types with copyreg."""
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
