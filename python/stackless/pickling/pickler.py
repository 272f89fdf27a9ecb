"""The pickler of `stackless.dumps`: cloudpickle's, with functions and more as we reduce them."""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
from collections.abc import Callable
from types import CellType, FunctionType, ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from stackless import _stackless
from stackless.pickling import errors, functions
from stackless.pickling.functions import itself
from stackless.pickling.standins import StandIn

#: Py_TPFLAGS_IMMUTABLETYPE
_IMMUTABLE_TYPE = 1 << 8
_STREAMS = ("stdin", "stdout", "stderr")


def _reduce_file(file: io.TextIOWrapper) -> Any:
    # cloudpickle would read the whole file, and leave a copy of it in memory at the other side.
    raise TypeError(
        "cannot pickle an open file; stackless.pickling.register can say how to open it again"
    )


_USUAL = {**cloudpickle.Pickler.dispatch_table, io.TextIOWrapper: _reduce_file}


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Functions travel by value, at any depth, where their name would lead nowhere elsewhere."""

    def __init__(self, file: Any, protocol: int | None = None) -> None:
        # What was registered with copyreg comes first: cloudpickle has its own for code and more.
        self.dispatch_table = {**_USUAL, **copyreg.dispatch_table}
        super().__init__(file, protocol)
        #: The modules, other than Python's and ours, that functions belong to.
        self.modules: set[str] = set()
        #: How objects of a type are reduced, if not as pickle would; by type, as they turn up. No
        #: bound methods: the pickler must go when `dumps` ends, not with a garbage collection.
        self._ways: dict[type, Callable[[Pickler, Any], Any] | None] = {}
        self._streams = {type(getattr(sys, name)) for name in _STREAMS}

    def reducer_override(self, obj: Any) -> Any:
        """What pickle asks first, for every object that is not a plain built-in value."""
        kind = type(obj)
        try:
            way = self._ways[kind]
        except KeyError:
            way = self._ways[kind] = self._way(kind)
        return NotImplemented if way is None else way(self, obj)

    def _way(self, kind: type) -> Callable[[Pickler, Any], Any] | None:
        if kind is FunctionType:
            return Pickler._function
        if kind is CellType:
            return Pickler._cell
        if kind is ModuleType:
            return Pickler._module
        if issubclass(kind, type):
            return Pickler._class
        if issubclass(kind, BaseException):
            return Pickler._exception
        if issubclass(kind, (functions.ByValue, errors.WithOrigin)):
            return Pickler._stand_in
        if issubclass(kind, _stackless.tasklet):
            return Pickler._tasklet
        return Pickler._stream if kind in self._streams else None

    def _cell(self, cell: CellType) -> Any:
        return functions.reduce_cell(cell, itself)

    def _exception(self, error: BaseException) -> Any:
        return errors.reduce_exception(error, itself)

    def _stand_in(self, stand_in: StandIn) -> Any:
        return itself, (stand_in.original,)

    def _module(self, module: ModuleType) -> Any:
        if is_importable(module.__name__):
            return NotImplemented
        return cloudpickle.Pickler.dispatch_table[ModuleType](module)

    def _stream(self, stream: Any) -> Any:
        name = next((name for name in _STREAMS if getattr(sys, name) is stream), None)
        return NotImplemented if name is None else (getattr, (sys, name))

    def _tasklet(self, tasklet: _stackless.tasklet) -> Any:
        reason = None if tasklet.is_current else _stackless._why_not_parked(tasklet)
        if reason is not None:
            # Plain pickle writes it for inspection, and running the copy fails.
            raise pickle.PicklingError(f"cannot pickle {tasklet}: {reason}")
        return NotImplemented

    def _class(self, each: type) -> Any:
        reduced = super().reducer_override(each)
        if isinstance(reduced, tuple) and len(reduced) > 2 and each.__flags__ & _IMMUTABLE_TYPE:
            return NotImplemented  # written in C: a class by value would be no copy of it
        return reduced

    def _function(self, function: FunctionType) -> Any:
        if is_importable(function.__module__) and functions.is_found(function):
            self._remember(function.__module__)
            return NotImplemented
        name: Any = function.__globals__.get("__name__")
        if is_importable(name) and functions.vars_of_module(name) is function.__globals__:
            self._remember(name)
            return functions.reduce_function(function, name, itself)
        globals_ = functions.Namespace.of(function.__globals__)
        return functions.reduce_function(function, globals_, itself)

    def _remember(self, module: str) -> None:
        top = module.partition(".")[0]
        if top != "stackless" and top not in sys.stdlib_module_names:
            self.modules.add(module)


def is_importable(name: Any) -> bool:
    """Whether another process can import the module `name`, and is meant to.

    Not `__main__`, not what was made by hand, not what cloudpickle was told to send by value.
    """
    module = sys.modules.get(name) if isinstance(name, str) else None
    if name == "__main__" or getattr(module, "__spec__", None) is None:
        return False
    by_value = cloudpickle.list_registry_pickle_by_value()
    return not any(name == each or name.startswith(each + ".") for each in by_value)
