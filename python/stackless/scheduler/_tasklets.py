"""The tasklet of ``stackless.scheduler``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import MethodType
from typing import Any, Self

import stackless
from stackless import _stackless


def _guarded(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    """Call the function of a tasklet with `dont_raise`.

    No frame here may hold the tasklet while the function runs: it must be possible to find that
    nothing refers to a tasklet. A bound method is called as its function with `self`, so that no C
    code is between the calls.
    """
    if isinstance(function, MethodType):
        args = (function.__self__, *args)
        function = function.__func__
    getter = getattr(_stackless.getcurrent(), "context_manager_getter", None)
    manager = None if getter is None else getter(_stackless.getcurrent())
    if manager is not None:
        leave = type(manager).__exit__
        type(manager).__enter__(manager)
    try:
        function(*args, **kwargs)
    except Exception:
        _report()
    finally:
        if manager is not None:
            leave(manager, None, None, None)


def _report() -> None:
    """Tell the tasklet's exception handler about the exception that is being handled."""
    me = _stackless.getcurrent()
    handler = getattr(me, "exception_handler", None)
    if handler is None:
        return
    states = ("alive", "blocked", "paused", "scheduled")
    shown = " ".join(f"{state}={getattr(me, state):d}" for state in states)
    try:
        handler(f"Unhandled exception in <tasklet {shown} context={getattr(me, 'context', '')}>")
    except Exception:
        traceback.print_exc()


def _callable_or_none(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a callable or None")


class tasklet(stackless.tasklet):
    """tasklet(func=None, args=None, kwargs=None)

    A tasklet whose exceptions can stay inside it, with diagnostics: its function and its times.
    """

    __slots__ = (
        "_context",
        "_dont_raise",
        "_end",
        "_function",
        "_getter",
        "_handler",
        "_highlighted",
        "_names",
        "_parent",
        "_run_time",
        "_start",
    )

    _context: str
    _dont_raise: bool
    _end: int  # set by the engine, as _start is
    _function: Callable[..., object] | None  # bound, and waiting for its arguments
    _getter: Callable[[tasklet], AbstractContextManager[Any]] | None
    _handler: Callable[[str], object] | None
    _highlighted: bool
    _names: tuple[str, str, str, int]
    _parent: str
    _run_time: float
    _start: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._dont_raise = self._highlighted = False
        self._function = self._getter = self._handler = None
        self._context = self._parent = ""
        self._names = ("", "", "", 0)
        self._start = self._end = 0
        self._run_time = 0.0
        return self

    def bind(
        self,
        func: Callable[..., object] | None = None,
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """As in stackless; fills the diagnostics, and sets the times to 0."""
        self._bind(func, args, kwargs)
        if func is not None:
            self._names = _names_of(func)
        self._fresh(sys._getframe(1).f_code.co_filename, sys._getframe(1).f_lineno)
        return self

    def _bind(
        self,
        func: Callable[..., object] | None,
        args: tuple[Any, ...] | list[Any] | None,
        kwargs: dict[str, Any] | None,
    ) -> None:
        function = self._function if func is None else func
        if args is None and kwargs is None:
            super().bind(func)
            self._function = func
            return
        if self._dont_raise and callable(function):
            # Bound once without the wrapper, to check the arguments as those of any tasklet.
            super().bind(function, args, kwargs)  # type: ignore[arg-type]
            given = (function, tuple(args or ()), dict(kwargs or {}))
            super().bind(_guarded, given)
        else:
            super().bind(func, args, kwargs)  # type: ignore[arg-type]
        self._function = None

    def setup(self, /, *args: Any, **kwargs: Any) -> Self:
        """As in stackless; sets the times to 0 and `parent_callsite`."""
        self._setup(args, kwargs)
        self._fresh(sys._getframe(1).f_code.co_filename, sys._getframe(1).f_lineno)
        return self

    def __call__(self, /, *args: Any, **kwargs: Any) -> Self:
        self._setup(args, kwargs)
        self._fresh(sys._getframe(1).f_code.co_filename, sys._getframe(1).f_lineno)
        return self

    def _setup(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._dont_raise and not self.alive:
            self._bind(None, args, kwargs)
            self.insert()
        else:
            super().setup(*args, **kwargs)
            self._function = None

    def _fresh(self, file: str, line: int) -> None:
        self._parent = f"{file}:{line}"
        self._start = self._end = 0

    @property
    def dont_raise(self) -> bool:
        """True if exceptions do not leave the tasklet: `exception_handler`, if any, is told.

        TaskletExit and exceptions that are not subclasses of Exception leave it as usual. Set it
        before a function is bound, else RuntimeError; TypeError for a value that is not a bool.
        """
        return self._dont_raise

    @dont_raise.setter
    def dont_raise(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError("dont_raise must be a bool")
        if self.alive or self._function is not None:
            raise RuntimeError("dont_raise must be set before the tasklet is bound")
        self._dont_raise = value

    @property
    def context_manager_getter(self) -> Callable[[tasklet], AbstractContextManager[Any]] | None:
        """A function that gets the tasklet and returns a context manager; for `dont_raise`.

        It is called when the tasklet starts, and the function runs inside the context manager.
        `__exit__` always gets None three times; exceptions of `__exit__` and `__enter__` do leave
        the tasklet. TypeError for a value that is not callable and not None.
        """
        return self._getter

    @context_manager_getter.setter
    def context_manager_getter(
        self, value: Callable[[tasklet], AbstractContextManager[Any]] | None
    ) -> None:
        _callable_or_none("context_manager_getter", value)
        self._getter = value

    @property
    def exception_handler(self) -> Callable[[str], object] | None:
        """With `dont_raise`: called with a line about the tasklet, while the exception is handled.

        An exception of the handler itself is printed. TypeError for a value that is not callable
        and not None.
        """
        return self._handler

    @exception_handler.setter
    def exception_handler(self, value: Callable[[str], object] | None) -> None:
        _callable_or_none("exception_handler", value)
        self._handler = value

    @property
    def method_name(self) -> str:
        """The `__name__` of the bound function; empty before one is bound."""
        return self._names[0]

    @property
    def module_name(self) -> str:
        """The `__module__` of the bound function."""
        return self._names[1]

    @property
    def file_name(self) -> str:
        """The file of the bound function's code."""
        return self._names[2]

    @property
    def line_number(self) -> int:
        """The first line of the bound function's code; 0 if it has none."""
        return self._names[3]

    @property
    def parent_callsite(self) -> str:
        """`file:line` of the code that last bound or set up the tasklet. May be set."""
        return self._parent

    @parent_callsite.setter
    def parent_callsite(self, value: str) -> None:
        self._parent = _text("parent_callsite", value)

    @property
    def context(self) -> str:
        """Free text."""
        return self._context

    @context.setter
    def context(self, value: str) -> None:
        self._context = _text("context", value)

    @property
    def highlighted(self) -> bool:
        """A mark for the program's own use. TypeError for a value that is not a bool."""
        return self._highlighted

    @highlighted.setter
    def highlighted(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError("highlighted must be a bool")
        self._highlighted = value

    @property
    def startTime(self) -> int:
        """The time when the function began, as time.monotonic_ns(); 0 before."""
        return self._start

    @property
    def endTime(self) -> int:
        """The time when the function ended, as time.monotonic_ns(); 0 before."""
        return self._end

    @property
    def runTime(self) -> float:
        """A number for the program's own use: the package never changes it."""
        return self._run_time

    @runTime.setter
    def runTime(self, value: float) -> None:
        self._run_time = float(value)

    @property
    def times_switched_to(self) -> int:
        """The number of switches to the tasklet since it was bound."""
        return _stackless._switches(self)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str")
    return value


def _names_of(function: Callable[..., object]) -> tuple[str, str, str, int]:
    code = getattr(function, "__code__", None)
    return (
        str(getattr(function, "__name__", "unknown_method")),
        str(getattr(function, "__module__", "unknown_module")),
        str(getattr(code, "co_filename", "unknown_file")),
        getattr(code, "co_firstlineno", 0),
    )
