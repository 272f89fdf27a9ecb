"""The pickler of `stackless.dumps`: cloudpickle's, with this package's reducers."""

from __future__ import annotations

import builtins
import collections
import copyreg
import datetime
import decimal
import importlib
import io
import pickle
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
from cloudpickle.cloudpickle import (  # type: ignore[import-untyped]
    _PICKLE_BY_VALUE_MODULES as _BY_VALUE,
)
from cloudpickle.cloudpickle import _class_reduce, _dynamic_class_reduce

from stackless import _stackless
from stackless.pickling import (
    class_lock,  # noqa: F401  # it changes cloudpickle
    code,
    errors,
    facts,
    frames,
    functions,
    generators,
    named,
    objects,
    primitives,
)
from stackless.pickling.functions import itself
from stackless.pickling.primitives import PRIMITIVES, reduce_primitive
from stackless.pickling.standins import StandIn
from stackless.pickling.tasklets import pack

#: Py_TPFLAGS_IMMUTABLETYPE
_IMMUTABLE_TYPE = 1 << 8
_STREAMS = ("stdin", "stdout", "stderr")


def _reduce_file(file: io.TextIOWrapper) -> Any:
    # cloudpickle would read the whole file, and restore it as a copy in memory.
    raise TypeError(
        "cannot pickle an open file; stackless.pickling.register can say how to open it again"
    )


#: Reducers beside those that are registered with copyreg, which come first.
_USUAL = {
    **cloudpickle.Pickler.dispatch_table.maps[0],
    io.TextIOWrapper: _reduce_file,
    **named.USUAL,
}

#: Functions of this package that blobs name, and the function that imports modules.
_OWN: frozenset[Any] = frozenset(
    each
    for module in (code, errors, frames, functions, generators, named, objects, primitives)
    for each in (*vars(module).values(), importlib.import_module)
    if type(each) is FunctionType and functions.is_found(each)
)
#: Classes that every process has under their name.
_COMMON_CLASSES: frozenset[Any] = frozenset(
    (
        *(e for e in vars(builtins).values() if type(e) is type and e.__flags__ & _IMMUTABLE_TYPE),
        _stackless.tasklet,
        _stackless.channel,
        *PRIMITIVES,
    )
)

#: Their subclasses are reduced in a way of their own.
_SPECIAL = (
    *(type, BaseException, functions.ByValue, errors.WithOrigin, _stackless.tasklet),
    *PRIMITIVES,
)

_Tasklet: Any = _stackless.tasklet
Way = Callable[["Pickler", Any], Any]


class Pickler(pickle.Pickler):
    """Pickles functions by value, at any depth, where another process cannot find their name."""

    # It has no `dispatch_table`, so that the pickler in C uses that of copyreg.
    __slots__ = (
        "__weakref__",
        "_aliases",
        "_namespaces",
        "codes",
        "modules",
        "proto",
        "same_program",
    )

    def __init__(
        self,
        file: Any,
        protocol: int | None = None,
        codes: dict[bytes, bytes] | None = None,
        same_program: bool = False,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
    ) -> None:
        super().__init__(
            file,
            pickle.HIGHEST_PROTOCOL if protocol is None else protocol,
            buffer_callback=buffer_callback,
        )
        self.proto = protocol
        #: If not None: the data of code objects go there, by their digest, and not into the pickle.
        self.codes = codes
        #: True if the same program will unpickle: it has the same `__main__`, and may have changed.
        self.same_program = same_program
        #: The modules of functions, except those of Python and of this package.
        self.modules: set[str] = set()
        #: The stand-ins for globals, by the id of those.
        self._namespaces: dict[int, functions.Namespace] | None = None
        #: The ids of the `type` aliases that were begun.
        self._aliases: set[int] | None = None

    def dump(self, obj: Any) -> None:
        """Pickle an object."""
        try:
            super().dump(obj)
        except RecursionError as error:
            raise pickle.PicklingError(
                "cannot pickle this object: it needs too deep a recursion"
            ) from error

    #: Pickle calls this for each object that is not a simple built-in one. It is set below.
    reducer_override: Callable[[Any], Any]

    def _reduce(self, obj: Any) -> Any:
        """Reduce an object that `reducer_override` cannot reduce by itself."""
        kind = type(obj)
        way = _FIXED.get(kind) or self._way(kind)
        return NotImplemented if way is None else way(self, obj)

    def _way(self, kind: type) -> Way | None:
        if issubclass(kind, _SPECIAL):
            if issubclass(kind, type):
                return Pickler._class
            if issubclass(kind, BaseException):
                return Pickler._exception
            if issubclass(kind, (functions.ByValue, errors.WithOrigin)):
                return Pickler._stand_in
            return Pickler._primitive if issubclass(kind, PRIMITIVES) else Pickler._tasklet
        plain = kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
        is_usual = plain and registered(kind) is None
        usual = None if is_usual else Pickler._with_reducer
        return Pickler._stream if kind in [type(getattr(sys, n, None)) for n in _STREAMS] else usual

    def _cell(self, cell: CellType) -> Any:
        return functions.reduce_cell(cell, itself)

    def _exception(self, error: BaseException) -> Any:
        return errors.reduce_exception(error, itself)

    def _stand_in(self, stand_in: StandIn) -> Any:
        return itself, (stand_in.original,)

    def _module(self, module: ModuleType) -> Any:
        if self._has(module.__name__):
            return NotImplemented
        return cloudpickle.Pickler.dispatch_table[ModuleType](module)

    def _stream(self, stream: Any) -> Any:
        name = next((name for name in _STREAMS if getattr(sys, name) is stream), None)
        return self._with_reducer(stream) if name is None else (getattr, (sys, name))

    def _tasklet(self, tasklet: _stackless.tasklet) -> Any:
        reason = None if tasklet.is_current else _stackless._why_not_parked(tasklet)
        if reason is not None:
            # Plain pickle would write it for inspection only, and the copy could not run.
            raise pickle.PicklingError(f"cannot pickle {tasklet}: {reason}")
        kind: Any = type(tasklet)
        if (
            kind.__reduce_ex__ is not object.__reduce_ex__
            or kind.__reduce__ is not _Tasklet.__reduce__
            or kind.__setstate__ is not _Tasklet.__setstate__
            or kind in copyreg.dispatch_table
        ):
            return NotImplemented
        return pack(tasklet) or NotImplemented

    def _primitive(self, primitive: Any) -> Any:
        return reduce_primitive(primitive)

    def _reducible(self, obj: Any) -> Any:
        return obj.__reduce__()

    def _code(self, each: CodeType) -> Any:
        if copyreg.dispatch_table.get(CodeType) is not code.reduce:
            return self._with_reducer(each)
        return code.reduce(each) if self.codes is None else code.reduce_to_digest(each, self.codes)

    def _has(self, name: Any) -> bool:
        """Return True if the process that unpickles has the module `name`."""
        return is_importable(name) or (self.same_program and name == "__main__")

    def _class(self, each: type) -> Any:
        if self.same_program and each.__module__ == "__main__":
            if _leads_to("__main__", each.__qualname__, each):
                return NotImplemented
        reduced = _class_reduce(each)
        if each.__flags__ & _IMMUTABLE_TYPE:
            # Written in C: a class cannot be copied by value.
            long = isinstance(reduced, tuple) and len(reduced) > 2
            return NotImplemented if long else reduced
        if reduced is NotImplemented and not is_reachable(each.__module__):
            return _dynamic_class_reduce(each)
        return reduced

    def _with_reducer(self, obj: Any) -> Any:
        reducer = registered(type(obj))
        if reducer is None:
            given = self.proto is not None and self.proto >= 0
            reduced = obj.__reduce_ex__(self.proto if given else pickle.HIGHEST_PROTOCOL)
        else:
            reduced = reducer(obj)
        return self._by_name(obj, reduced) if isinstance(reduced, str) else reduced

    def _by_name(self, obj: Any, reduced: str) -> Any:
        """Reduce an object whose reducer has returned a name."""
        by_value = named.BY_VALUE.get(type(obj))
        module = _module_of(obj, reduced)
        if (is_reachable(module) or self._has(module)) and (
            by_value is None or _leads_to(module, reduced, obj)
        ):
            return reduced
        if by_value is None:
            raise pickle.PicklingError(
                f"cannot pickle {type(obj).__qualname__!r} object: it is pickled by its name, "
                f"{module}.{reduced}, and another process cannot import that"
            )
        if type(obj) is named.ALIAS:
            if self._aliases is None:
                self._aliases = set()
            if id(obj) in self._aliases:
                raise pickle.PicklingError(
                    f"cannot pickle the type alias {reduced}: it refers to itself"
                )
            self._aliases.add(id(obj))
        return by_value(obj)

    def _function(self, function: FunctionType) -> Any:
        if function in _OWN:
            return NotImplemented
        if self._has(function.__module__) and functions.is_found(function):
            self._remember(function.__module__)
            return NotImplemented
        name: Any = function.__globals__.get("__name__")
        if self._has(name) and functions.vars_of_module(name) is function.__globals__:
            self._remember(name)
            return functions.reduce_function(function, name, itself)
        there = function.__globals__
        if self._namespaces is None:
            self._namespaces = {}
        namespace = self._namespaces.get(id(there))
        if namespace is None:
            namespace = self._namespaces[id(there)] = functions.Namespace(there)
        return functions.reduce_function(function, namespace, itself)

    def _remember(self, module: str) -> None:
        if self.same_program:
            return
        top = module.partition(".")[0]
        named = _named[module] = top != "stackless" and top not in sys.stdlib_module_names
        if named:
            self.modules.add(module)


def _as_usual(pickler: Pickler, obj: Any) -> Any:
    return NotImplemented


#: Types that pickle, with copyreg, supports as they are, and never by a name in a module.
_USUALLY_PICKLED: tuple[type, ...] = (
    range,
    slice,
    complex,
    bytearray,
    enumerate,
    zip,
    reversed,
    type(iter([])),
    type(iter(())),
    type(iter("")),
    type(iter("ä")),
    type(iter(b"")),
    type(iter({})),
    type(iter(set())),
    type(iter(range(0))),
    type(iter(range(1 << 80))),
    collections.deque,
    collections.OrderedDict,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
)

#: Reducers by type, for types whose reducer is always the same.
_FIXED: dict[type, Way] = {
    **dict.fromkeys(_USUALLY_PICKLED, _as_usual),
    FunctionType: Pickler._function,
    CodeType: Pickler._code,
    CellType: Pickler._cell,
    ModuleType: Pickler._module,
    BuiltinFunctionType: Pickler._with_reducer,
    type: Pickler._class,
    _stackless.tasklet: Pickler._tasklet,
    functions.Namespace: Pickler._reducible,
    functions.Shell: Pickler._reducible,
    generators.Shell: Pickler._reducible,
    frames.Frame: Pickler._reducible,
}


#: By the name of a module whose functions were pickled: whether blobs name it.
_named: dict[str, bool] = {}

_WAYS = {kind: way is _as_usual for kind, way in _FIXED.items()}
Pickler.reducer_override = _stackless._reducer_override(
    Pickler,
    (
        _SPECIAL,
        _WAYS,
        _COMMON_CLASSES,
        _BY_VALUE,
        copyreg.dispatch_table,
        _USUAL,
        facts.known,
        code.reduce,
        code.stored,
        _named,
        object.__reduce_ex__,
        object.__reduce__,
    ),
)


def registered(kind: type) -> Any:
    """Return the reducer that is registered for a type; None if there is none."""
    return copyreg.dispatch_table.get(kind) or _USUAL.get(kind)


def _module_of(obj: Any, name: str) -> str:
    try:
        found: str = pickle.whichmodule(obj, name)  # type: ignore[attr-defined]
    except pickle.PicklingError:  # since Python 3.14, if it is not found there
        found = getattr(obj, "__module__", None) or "__main__"
    return found


def _leads_to(module: str, name: str, obj: Any) -> bool:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is obj


def is_reachable(name: Any) -> bool:
    """Return True if another process has the module `name` after importing it or its package.

    Modules that C code makes when its package is imported have no spec of their own.
    """
    if is_importable(name):
        return True
    package, dot, _ = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    made_here = getattr(sys.modules.get(name), "__spec__", None) is None
    return bool(dot) and made_here and is_reachable(package)


def is_importable(name: Any) -> bool:
    """Return True if another process can import the module `name`, and should.

    False for `__main__`, for a module that was made without an import, and for a module that
    cloudpickle was told to send by value.
    """
    module = sys.modules.get(name) if isinstance(name, str) else None
    if name == "__main__" or getattr(module, "__spec__", None) is None:
        return False
    if not _BY_VALUE:
        return True
    return not any(name == each or name.startswith(each + ".") for each in _BY_VALUE)
