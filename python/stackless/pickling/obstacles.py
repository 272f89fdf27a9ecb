"""`why_not_picklable`: finds everything in an object that prevents pickling, and where it is.

The objects are visited as the pickler of `stackless.dumps` would visit them, with the same
reducers, but breadth first, without stopping at a failure, and with the names of the variables and
attributes that lead to them.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

from stackless import _stackless
from stackless.pickling import errors, generators, remedies
from stackless.pickling.errors import WithOrigin
from stackless.pickling.frames import Frame
from stackless.pickling.functions import ByValue
from stackless.pickling.generators import Shell
from stackless.pickling.standins import StandIn

#: Default of the maximum number of objects to look at.
LIMIT = 1_000_000

_ATOMS = frozenset((type(None), bool, int, float, str, bytes, bytearray, complex, type(...)))


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A call in progress."""

    #: The qualified name of the function.
    function: str
    file: str
    #: The current line from 1; 0 if there is none.
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, in {self.function}"


@dataclasses.dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that cannot be pickled."""

    #: The call of a tasklet, generator or coroutine whose variables lead to it, or None.
    frame: Place | None
    #: How to reach it: from the variables of that call ("locals['f'].handlers[2]"); from its
    #: evaluation stack, which holds the iterators of loops for example ("stack[3]"); else from the
    #: argument of why_not_picklable() ("object.handlers[2]").
    path: str
    #: Its type, with the module.
    type: str
    #: Why it cannot be pickled.
    reason: str
    #: What can be done about it.
    remedy: str

    def __str__(self) -> str:
        place = f"{self.frame}: " if self.frame else ""
        return f"{place}{self.path} ({self.type}): {self.reason}; {self.remedy}"


def why_not_picklable(obj: object, *, limit: int = LIMIT) -> list[Obstacle]:
    """Return what prevents `stackless.dumps` from pickling an object; empty if nothing does.

    All obstacles are found, each once, the nearest first. At most `limit` objects are looked at; if
    there are more, the last entry says so. Reducers of the objects are called, as pickling does;
    nothing else is changed. May be called from any thread; for a tasklet, from its own thread.
    Raises TypeError if limit is not an int, ValueError if it is below 1.
    """
    if not isinstance(limit, int):
        raise TypeError(f"limit must be an int, not {type(limit).__name__}")
    if limit < 1:
        raise ValueError("limit must be at least 1")
    walk = _Walk(limit)
    walk.add(obj, "object", None)
    walk.go()
    if not walk.found:
        walk.try_all(obj)
    return walk.found


class _Enough(BaseException):
    """Raised when the maximum number of objects is reached."""


class _Walk:
    def __init__(self, limit: int) -> None:
        from stackless.pickling.pickler import Pickler, registered  # imports cloudpickle

        self.registered = registered
        self.found: list[Obstacle] = []
        self.left = limit
        self.limit = limit
        #: Objects by identity. Holding them keeps objects alive that reducers have made.
        self.seen: dict[int, Any] = {}
        self.queue: collections.deque[tuple[Any, str, Place | None]] = collections.deque()
        self.new_pickler: Callable[[], Any] = lambda: Pickler(io.BytesIO())
        self.pickler = self.new_pickler()

    def add(self, value: Any, path: str, place: Place | None) -> None:
        """Put an object into the queue, unless it is there or was looked at already."""
        self.left -= 1
        if self.left < 0:
            raise _Enough
        if isinstance(value, StandIn):
            if isinstance(value, (ByValue, WithOrigin)):
                value = value.original
            elif not isinstance(value, Shell):
                return  # something with its contents left out
        if type(value) not in _ATOMS and id(value) not in self.seen:
            self.seen[id(value)] = value
            self.queue.append((value, path, place))

    def go(self) -> None:
        try:
            while self.queue:
                value, path, place = self.queue.popleft()
                try:
                    self.look(value, path, place)
                except Exception as error:  # any error of a reducer is an obstacle
                    self.report(value, path, place, error)
        except _Enough:
            text = f"more than {self.limit} objects: not all of them were looked at"
            self.found.append(Obstacle(None, "object", "object", text, "give a larger limit"))

    def report(self, value: Any, path: str, place: Place | None, error: Exception | str) -> None:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        reason = str(error) if isinstance(error, str) else _text(error)
        self.found.append(Obstacle(place, path, name, reason, remedies.remedy(value)))

    def try_all(self, obj: Any) -> None:
        """Pickle the object, as nothing was found, to find out if that really works."""
        try:
            self.new_pickler().dump(obj)
        except Exception as error:
            self.report(obj, "object", None, error)

    # -------------------------------------------------------------- what an object leads to

    def look(self, value: Any, path: str, place: Place | None) -> None:
        kind = type(value)
        if kind is dict:
            for key, each in value.items():
                self.item(key, each, path, place)
        elif kind in (list, tuple):
            for number, each in enumerate(value):
                self.add(each, f"{path}[{number}]", place)
        elif kind in (set, frozenset):
            for each in value:
                self.add(each, f"{path}{{{_shown(each)}}}", place)
        elif isinstance(value, _stackless.tasklet):
            self.tasklet(value, path, place)
        elif kind is Frame and value.generator is None and len(value.picture) > 1:
            self.frame(value.picture)
        else:
            name = _FRAMES.get(kind)
            if name is not None and getattr(value, name) is not None:
                self.variables(getattr(value, name))
            self.reduced(value, path, place)

    def item(self, key: Any, each: Any, path: str, place: Place | None) -> None:
        self.add(key, f"{path}.keys(){{{_shown(key)}}}", place)
        self.add(each, f"{path}[{_shown(key)}]", place)

    def tasklet(self, tasklet: Any, path: str, place: Place | None) -> None:
        frame = None if tasklet.is_current else tasklet.frame
        reason = _stackless._why_not_parked(tasklet)
        if reason is not None:
            self.report(tasklet, path, _place(frame) if frame else place, reason)
        while frame is not None:
            self.variables(frame)
            frame = frame.f_back
        if reason is None:
            self.reduced(tasklet, path, place)

    def frame(self, picture: Any) -> None:
        """Add what a tasklet's call needs to continue and is not in its variables."""
        code = generators.code_of(picture)
        here = Place(code.co_qualname, code.co_filename, generators.line_of(picture))
        self.add(picture[0], "function", here)
        for number, each in enumerate(picture[4]):
            self.add(each, f"stack[{number}]", here)

    def variables(self, frame: types.FrameType) -> None:
        here = _place(frame)
        for name, each in dict(frame.f_locals).items():
            self.add(each, f"locals[{name!r}]", here)

    def reduced(self, value: Any, path: str, place: Place | None) -> None:
        reduced = self.reduce(value)
        if isinstance(reduced, str):
            self.new_pickler().dump(value)  # a name: found, or an error
            return
        make, arguments, *rest = reduced
        state, listed, paired, setter = (*rest, None, None, None, None)[:4]
        if isinstance(value, types.FunctionType):
            self.function(value, state or (), path, place)
            return
        self.add(make, path, place)
        names = dict(enumerate(_ARGUMENTS.get(type(value), ())))
        for number, each in enumerate(arguments):
            shown = "" if isinstance(each, type) else f".{names.get(number, f'<{number}>')}"
            self.add(each, path + shown, place)
        if isinstance(value, _stackless.channel) and isinstance(state, tuple):
            for number, each in enumerate(state[2]):
                self.add(each, f"{path}.queue[{number}]", place)
            for number, each in enumerate(state[4] if len(state) > 4 else ()):
                self.add(each, f"{path}.buffer[{number}]", place)
        elif setter is errors.fill_exception:
            for name, each in zip(_ORIGIN, state, strict=True):
                self.add(each, f"{path}.{name}", place)
        else:
            self.state(state, path, place)
        for number, each in enumerate(listed or ()):
            self.add(each, f"{path}[{number}]", place)
        for key, each in paired or ():
            self.item(key, each, path, place)

    def reduce(self, value: Any) -> Any:
        """Return what the pickler would get: a reducer's tuple, or the name of a global."""
        kind = type(value)
        # The pickler writes a tasklet in a form that says less about its frames.
        if not issubclass(kind, _stackless.tasklet):
            reduced = self.pickler.reducer_override(value)
            if reduced is not NotImplemented:
                return reduced
        if kind is types.FunctionType or issubclass(kind, type):
            return value.__qualname__
        reducer = self.registered(kind)
        return value.__reduce_ex__(4) if reducer is None else reducer(value)

    def function(
        self, function: types.FunctionType, state: tuple[Any, ...], path: str, place: Place | None
    ) -> None:
        whole: tuple[Any, ...] = state + (None,) * (7 - len(state))
        special, defaults, kwdefaults, attributes, cells, carried, _ = whole
        for name, each in itertools.chain((special or {}).items(), (attributes or {}).items()):
            self.add(each, f"{path}.{name}", place)
        for number, each in enumerate(defaults or ()):
            self.add(each, f"{path}.__defaults__[{number}]", place)
        for name, each in (kwdefaults or {}).items():
            self.add(each, f"{path}.__kwdefaults__[{name!r}]", place)
        names = {id(c): name for name, c in _closure(function)}
        for shell, each in cells or ():
            name = names[id(shell.original)]
            self.add(each, f"{path}.__closure__[{name!r}]", place)
        for name, each in (carried or {}).items():
            self.add(each, f"{path}.__globals__[{name!r}]", place)

    def state(self, state: Any, path: str, place: Place | None) -> None:
        parts = state if type(state) is tuple and len(state) == 2 else (state,)
        if all(type(part) in (dict, type(None)) for part in parts):
            for part in parts:
                for name, each in (part or {}).items():
                    shown = f".{name}" if isinstance(name, str) else f"[{_shown(name)}]"
                    self.add(each, path + shown, place)
        else:
            self.add(state, f"{path}.<state>", place)


_ORIGIN = ("__dict__", "__cause__", "__context__", "__traceback__", "__suppress_context__")
#: Names for the arguments of reducers, for types whose attributes have well-known names.
_ARGUMENTS: dict[type, tuple[str, ...]] = {
    types.CellType: ("", "cell_contents"),
    types.MethodType: ("__func__", "__self__"),
    type(functools.lru_cache(len)): ("__wrapped__",),
}
_FRAMES: dict[type, str] = {
    types.GeneratorType: "gi_frame",
    types.CoroutineType: "cr_frame",
    types.AsyncGeneratorType: "ag_frame",
}


def _closure(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    return zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def _place(frame: types.FrameType) -> Place:
    code = frame.f_code
    return Place(code.co_qualname, code.co_filename, frame.f_lineno or 0)


def _shown(key: Any) -> str:
    """Return the repr of a simple key; of other objects their type, as a repr may run any code."""
    if type(key) in _ATOMS:
        text = repr(key)
        return text if len(text) <= 40 else text[:39] + "…"
    return f"<{type(key).__name__}>"


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
