"""`virtual_time`: a clock that jumps to the next timer when nothing can run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import stackless

#: Functions of the module `time` that show the virtual time, and whether they count nanoseconds.
_CLOCKS = {
    "monotonic": False,
    "monotonic_ns": True,
    "perf_counter": False,
    "perf_counter_ns": True,
    "time": False,
    "time_ns": True,
}
#: Modules that have kept one of these functions under a name of their own.
_COPIES = {"threading": ("_time", "monotonic"), "queue": ("time", "monotonic")}


class virtual_time:
    """A context manager in which sleeping and waiting take no time: for tests.

    The clock of the calling thread's tasklets stands still while one of them can run. Where the
    thread would sleep, it jumps to the next timer: of sleep(), time-outs, deadlines. So a test that
    sleeps for days takes milliseconds, and always takes the same course. time.monotonic(),
    time.perf_counter() and time.time() show the virtual time in this thread; names that were
    imported from `time` before, and datetime, do not. Calls on worker threads take real time; the
    clock stands still meanwhile. With `stackless.monkey` time.sleep() sleeps virtually as well.

    `now` is the time that has passed in the block, in seconds; advance() moves the clock. Raises
    RuntimeError if it is entered while another one is in use.
    """

    __slots__ = ("_began", "_kept", "_wall")

    _used = False

    def __init__(self) -> None:
        self._began = 0.0
        self._wall = 0
        self._kept: list[tuple[Any, str, Any]] = []

    @property
    def now(self) -> float:
        """float: seconds of virtual time since the block was entered."""
        return stackless.clock() - self._began

    def advance(self, seconds: float) -> None:
        """Move the clock forward; what is due by then runs when the caller waits or switches.

        Raises ValueError if seconds is negative.
        """
        if not seconds >= 0:
            raise ValueError("the clock does not go back")
        stackless.set_virtual_clock(stackless.clock() + seconds)

    def __enter__(self) -> Self:
        if virtual_time._used:
            raise RuntimeError("virtual_time() is in use already")
        virtual_time._used = True
        self._wall = time.time_ns()
        stackless.set_virtual_clock(stackless.clock())
        self._began = stackless.clock()  # it has whole nanoseconds
        # Other threads still see the real clock: stackless.clock() is the caller's.
        for name, nanoseconds in _CLOCKS.items():
            self._replace(time, name, self._clock("time" in name.split("_"), nanoseconds))
        for module, (name, original) in _COPIES.items():
            if module in sys.modules:
                self._replace(sys.modules[module], name, getattr(time, original))
        return self

    def _clock(self, wall: bool, nanoseconds: bool) -> Callable[[], float]:
        def now() -> float:
            if not wall:
                return stackless.clock()
            return self._wall / 1e9 + self.now

        def now_ns() -> int:
            return round(now() * 1e9)

        return now_ns if nanoseconds else now

    def _replace(self, module: Any, name: str, value: object) -> None:
        self._kept.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for module, name, value in reversed(self._kept):
            setattr(module, name, value)
        self._kept.clear()
        stackless.set_virtual_clock(None)
        virtual_time._used = False
