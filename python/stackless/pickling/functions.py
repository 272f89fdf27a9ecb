"""Pickling of functions by value, and of the cells that they share.

Plain pickle writes the name of a function and calls no reducer. So a function that cannot be found
by its name (a lambda, a nested function) is replaced by a stand-in where that is possible: in the
state of tasklets, generators and cells. The stand-in of an object stays the same as long as a
pickler holds it, so that shared objects stay shared.

If the globals of such a function are those of an importable module, it refers to that module, and
uses the module's current globals after loading. Otherwise the globals that its code names are
pickled with it; functions of one blob that had the same globals share them again after loading.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

from stackless.pickling.code import load, stored
from stackless.pickling.errors import in_state
from stackless.pickling.facts import facts
from stackless.pickling.standins import StandIn
from stackless.pickling.standins import actual as actual

# So that a pickle names one module for functions and their code.
load.__module__ = stored.__module__ = __name__


class ByValue(StandIn):
    """What `by_value` returns for functions and methods."""

    __slots__ = ()


class _Function(ByValue):
    """A function by value."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_function(self.original, self._globals(), by_value)

    def _globals(self) -> Any:
        name = self.original.__globals__.get("__name__")
        if vars_of_module(name) is self.original.__globals__:
            return name
        return Namespace.of(self.original.__globals__)


class _Method(ByValue):
    """A bound method of a function by value."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return bind, (by_value(self.original.__func__), self.original.__self__)


class Namespace(StandIn):
    """The globals of functions that do not belong to an importable module; without contents."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        name, package = (self.original.get(key) for key in ("__name__", "__package__"))
        return namespace, (name, package) if package else (name,)


class Shell(StandIn):
    """A cell without its contents."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return cell, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return memo.setdefault(id(self), CellType())


def by_value(value: Any) -> Any:
    """Return `value`, or a stand-in for it if pickle would not keep all of it.

    That is a function that pickle could not find by name, or an exception, whose cause, context and
    traceback pickle does not write.
    """
    kind = type(value)
    if kind is FunctionType:
        return value if is_found(value) else _Function.of(value)
    if kind is MethodType and type(value.__func__) is FunctionType:
        return value if is_found(value.__func__) else _Method.of(value)
    return in_state(value)


def is_found(function: FunctionType) -> bool:
    """Return True if the function is found by its module and qualified name."""
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def vars_of_module(name: Any) -> dict[str, Any] | None:
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module.__dict__ if isinstance(module, types.ModuleType) else None


# ------------------------------------------------------------------ functions


def reduce_function(
    function: FunctionType, globals_: str | Namespace, value: Callable[[Any], Any]
) -> tuple[Any, ...]:
    """Reduce a function by value; `value` is applied to each value that it refers to.

    `globals_` is the name of the module it belongs to, or a Namespace: then it carries the globals
    that its code names.
    """
    code = function.__code__
    cells = function.__closure__ or ()
    carried, submodules = None, None
    if isinstance(globals_, Namespace):
        there = function.__globals__
        carried = {name: value(there[name]) for name in facts(code).names(code) if name in there}
        submodules = tuple(_submodules(carried.values(), code))
    special = {
        name: value(own)
        for name, usual in _usual_attributes(function)
        if (own := getattr(function, name)) != usual
    }
    state = (
        special or None,
        function.__defaults__ and tuple(map(value, function.__defaults__)),
        _each(value, function.__kwdefaults__),
        _each(value, function.__dict__),
        tuple((Shell.of(c), value(c.cell_contents)) for c in cells if not is_empty(c)) or None,
        _each(value, carried),
        submodules or None,
    )
    return make, (code, globals_, *map(Shell.of, cells)), _trimmed(state), None, None, fill


def _usual_attributes(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    yield "__name__", code.co_name
    yield "__qualname__", code.co_qualname
    yield "__module__", function.__globals__.get("__name__")
    yield "__doc__", facts(code).doc(code)
    if sys.version_info >= (3, 12):
        yield "__type_params__", ()
    if getattr(function, "__annotate__", None) is not None:
        yield "__annotate__", None
    else:
        yield "__annotations__", {}


def make(code: CodeType, globals_: str | dict[str, Any], *cells: CellType) -> FunctionType:
    """Return a function without its attributes; `fill` adds them."""
    if isinstance(globals_, str):
        globals_ = importlib.import_module(globals_).__dict__
    return FunctionType(code, globals_, closure=cells)


def fill(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Set the attributes, cells and globals of a function that `make` has returned."""
    whole: tuple[Any, ...] = state + (None,) * (7 - len(state))
    special, defaults, kwdefaults, attributes, cells, carried, submodules = whole
    for name, value in (special or {}).items():
        setattr(function, name, value)
    function.__defaults__ = defaults
    function.__kwdefaults__ = kwdefaults
    function.__dict__.update(attributes or {})
    for shell, contents in cells or ():
        shell.cell_contents = contents
    function.__globals__.update(carried or {})
    for name in submodules or ():
        importlib.import_module(name)


def bind(function: Any, instance: Any) -> MethodType:
    """Return a bound method."""
    return MethodType(actual(function), instance)


def itself(value: Any) -> Any:
    """Return the value."""
    return value


def _each(value: Callable[[Any], Any], mapping: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {key: value(each) for key, each in mapping.items()} if mapping else None


def _trimmed(state: tuple[Any, ...]) -> tuple[Any, ...] | None:
    while state and state[-1] is None:
        state = state[:-1]
    return state or None


# ------------------------------------------------------------------ globals


def _submodules(carried: Any, code: CodeType) -> Iterator[str]:
    """Yield modules that code uses as attributes of a package, which may not import them itself."""
    packages = [each for each in carried if isinstance(each, types.ModuleType)]
    packages = [each for each in packages if hasattr(each, "__path__")]
    if not packages:
        return
    words = facts(code).attributes(code)
    names = [package.__name__ for package in packages]
    while names:
        name = names.pop()
        for word in words:
            if f"{name}.{word}" in sys.modules:
                yield f"{name}.{word}"
                names.append(f"{name}.{word}")


def namespace(name: str | None, package: str | None = None) -> dict[str, Any]:
    """Return new globals."""
    return {"__name__": name, "__package__": package, "__builtins__": sys.modules["builtins"]}


# ------------------------------------------------------------------ cells


def reduce_cell(each: CellType, value: Callable[[Any], Any] = by_value) -> tuple[Any, ...]:
    """Reduce a cell: first without contents, as the contents may refer to the cell."""
    if is_empty(each):
        return filled, (Shell.of(each),)
    return filled, (Shell.of(each), value(each.cell_contents))


def is_empty(each: CellType) -> bool:
    """Return True if a cell has no contents."""
    try:
        each.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def cell() -> CellType:
    """Return an empty cell."""
    return CellType()


def filled(shell: Any, *contents: Any) -> CellType:
    """Return a cell with its contents, if it has any."""
    made: CellType = CellType() if isinstance(shell, Shell) else shell
    for each in contents:
        made.cell_contents = actual(each)
    return made
