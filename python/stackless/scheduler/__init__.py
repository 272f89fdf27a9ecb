"""The names that the Carbon engine's scheduler adds to those of Stackless.

Everything of ``stackless`` is here too, so a program written for that scheduler needs one line::

    sys.modules["scheduler"] = stackless.scheduler

Where that scheduler differs from Stackless, this module does as Stackless. All functions may be
called from any thread. (Stackless contract, section 18.)
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import stackless as _package
from stackless import *  # noqa: F403
from stackless import _stackless
from stackless._package.surface import adopt
from stackless.scheduler._channels import QueueChannel, kill_waiting
from stackless.scheduler._channels import channel as channel
from stackless.scheduler._tasklets import tasklet as tasklet

__all__ = [
    "QueueChannel",
    "ScheduleManager",
    "block_trap",
    "calculateruncount",
    "get_active_tasklet_count",
    "get_all_time_tasklet_count",
    "get_number_of_active_channels",
    "get_number_of_active_schedule_managers",
    "get_schedule_manager",
    "get_tasklets_completed_last_run_with_timeout",
    "get_tasklets_switched_last_run_with_timeout",
    "get_use_nested_tasklets",
    "run_with_timeout",
    "set_use_nested_tasklets",
    "unblock_all_channels",
]
__all__ += _package.__all__

adopt(globals(), "stackless.scheduler._")

_stackless._count_switches(tasklet)


def __getattr__(name: str) -> Any:
    """What `stackless` computes on access, such as `current`."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_package, name)


def __dir__() -> list[str]:
    return sorted(__all__)


class ScheduleManager:
    """Stands for a thread's scheduler. Gone when nobody refers to it and the thread has ended."""

    __slots__ = ("__weakref__", "_thread_id")

    def __init__(self) -> None:
        self._thread_id = threading.get_ident()

    @property
    def thread_id(self) -> int:
        """The thread's identity."""
        return self._thread_id


class _Here(threading.local):
    manager: ScheduleManager | None = None
    last_run = (0, 0)


_here = _Here()


def get_schedule_manager() -> ScheduleManager:
    """Return the calling thread's manager, always the same object."""
    if _here.manager is None:
        _here.manager = ScheduleManager()
    return _here.manager


def get_number_of_active_schedule_managers() -> int:
    """Return how many threads have used tasklets and not ended."""
    return _stackless._thread_count()


def calculateruncount() -> int:
    """Count the runnable tasklets of the calling thread, one by one; see getruncount()."""
    return sum(1 for _ in _ring(_stackless.getcurrent()))


def _ring(first: _package.tasklet) -> Iterator[_package.tasklet]:
    at: _package.tasklet | None = first
    while at is not None:
        yield at
        at = at.next if at.next is not first else None


def get_all_time_tasklet_count() -> int:
    """Return how many tasklets were ever made, main tasklets included."""
    return _stackless._all_time_count()


def get_active_tasklet_count() -> int:
    """Return how many tasklet objects there are, alive or not, of all threads."""
    return _stackless._tasklet_count()


def get_number_of_active_channels() -> int:
    """Return in how many channels, of all threads, somebody waits."""
    return _stackless._channel_count()


def unblock_all_channels() -> int:
    """Kill everything that waits in any channel, with TaskletExit; return how many channels."""
    channels = _stackless._channels()
    for one in channels:
        kill_waiting(one)
    return len(channels)


def set_use_nested_tasklets(flag: bool, /) -> None:
    """Choose what `t.run()` does with a tasklet that is runnable already, in all threads.

    True, as in Stackless and by default: those behind t run before the caller goes on. False: t
    moves to directly before the caller, which goes on when t gives way or ends.
    """
    _stackless._set_use_nested_tasklets(flag)


def get_use_nested_tasklets() -> bool:
    """Return what `set_use_nested_tasklets` set last."""
    return _stackless._get_use_nested_tasklets()


def run_with_timeout(nanoseconds: int, /) -> None:
    """Run tasklets until none is left or the time is up; nobody is interrupted.

    The tasklet that runs when the time is up goes on to its next switch. ValueError for less
    than 0.
    """
    me = _stackless.getcurrent()
    completed = _stackless._completed()
    others = _stackless._switches() - _stackless._switches(me)
    try:
        _package.run(seconds=nanoseconds / 1e9, soft=True)
    finally:
        switched = _stackless._switches() - _stackless._switches(me) - others
        _here.last_run = (_stackless._completed() - completed, switched)


def get_tasklets_completed_last_run_with_timeout() -> int:
    """Return how many tasklets ended in the calling thread's last run_with_timeout().

    Only tasklets of this module's class are counted.
    """
    return _here.last_run[0]


def get_tasklets_switched_last_run_with_timeout() -> int:
    """Return how often the calling thread's last run_with_timeout() switched to a tasklet."""
    return _here.last_run[1]


@contextmanager
def block_trap(flag: bool = True) -> Iterator[None]:
    """Set the current tasklet's `block_trap`, and put it back at the end."""
    me = _stackless.getcurrent()
    old, me.block_trap = me.block_trap, flag
    try:
        yield
    finally:
        me.block_trap = old


#: The table of C functions for C++ code, a capsule. Found as "scheduler._C_API" when this module
#: stands in sys.modules as "scheduler".
_C_API: Any = _stackless._c_api(sys.modules[__name__])
