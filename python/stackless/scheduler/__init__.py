"""The names that the Carbon engine's scheduler adds to those of Stackless.

All names of ``stackless`` are here too, so a program written for that scheduler needs one line::

    sys.modules["scheduler"] = stackless.scheduler

Where that scheduler differs from Stackless, this module behaves as Stackless. All functions may be
called from any thread.
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
from stackless.scheduler._tasklets import tasklet as tasklet  # type: ignore[assignment]

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
    """Return an attribute that `stackless` computes on access, such as `current`."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_package, name)


def __dir__() -> list[str]:
    return sorted(__all__)


class ScheduleManager:
    """A handle of a thread's scheduler. It is freed when the thread has ended and no reference is
    left."""

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
    """Return the number of threads that have used tasklets and have not ended."""
    return _stackless._thread_count()


def calculateruncount() -> int:
    """Count the runnable tasklets of the calling thread; the same number as getruncount()."""
    return sum(1 for _ in _ring(_stackless.getcurrent()))


def _ring(first: _package.tasklet) -> Iterator[_package.tasklet]:
    at: _package.tasklet | None = first
    while at is not None:
        yield at
        at = at.next if at.next is not first else None


def get_all_time_tasklet_count() -> int:
    """Return the number of tasklets made so far, main tasklets included."""
    return _stackless._all_time_count()


def get_active_tasklet_count() -> int:
    """Return the number of tasklet objects of all threads, alive or not."""
    return _stackless._tasklet_count()


def get_number_of_active_channels() -> int:
    """Return the number of channels, of all threads, in which tasklets wait."""
    return _stackless._channel_count()


def unblock_all_channels() -> int:
    """Kill all tasklets that wait in channels, with TaskletExit; return the number of channels."""
    channels = _stackless._channels()
    for one in channels:
        kill_waiting(one)
    return len(channels)


def set_use_nested_tasklets(flag: bool, /) -> None:
    """Choose what `t.run()` does with a tasklet that is runnable already, in all threads.

    True, as in Stackless and by default: the tasklets behind t run before the caller continues.
    False: t is moved directly before the caller, which continues when t switches or ends.
    """
    _stackless._set_use_nested_tasklets(flag)


def get_use_nested_tasklets() -> bool:
    """Return what `set_use_nested_tasklets` set last."""
    return _stackless._get_use_nested_tasklets()


def run_with_timeout(nanoseconds: int, /) -> None:
    """Run tasklets until none is left or the time has expired; no tasklet is interrupted.

    The tasklet that runs when the time expires continues to its next switch. ValueError for a
    negative number.
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
    """Return the number of tasklets that ended in the calling thread's last run_with_timeout().

    Only tasklets of this module's class are counted.
    """
    return _here.last_run[0]


def get_tasklets_switched_last_run_with_timeout() -> int:
    """Return the number of switches to tasklets in the calling thread's last run_with_timeout()."""
    return _here.last_run[1]


@contextmanager
def block_trap(flag: bool = True) -> Iterator[None]:
    """A context manager that sets the current tasklet's `block_trap` and restores it at its end."""
    me = _stackless.getcurrent()
    old, me.block_trap = me.block_trap, flag
    try:
        yield
    finally:
        me.block_trap = old


#: The table of C functions for C++ code, a capsule. C++ code finds it as "scheduler._C_API" if
#: this module is in sys.modules as "scheduler".
_C_API: Any = _stackless._c_api(sys.modules[__name__])
