"""Tests of programs with tasklets: virtual time, random orders, and a plugin for pytest.

`virtual_time` makes sleeping take no time; `explore` runs a program under many orders of its
tasklets and shows the one that fails; `schedules` is a Hypothesis strategy for such orders. The
plugin (`stackless.testing.plugin`) is loaded by pytest where this package is installed.
"""

from __future__ import annotations

from stackless._package.surface import adopt as _adopt
from stackless._testing.clock import virtual_time
from stackless._testing.explore import Schedule, ScheduleFailure, Unfinished, explore, replay
from stackless._testing.hypothesis import schedules

__all__ = [
    "Schedule",
    "ScheduleFailure",
    "Unfinished",
    "explore",
    "replay",
    "schedules",
    "virtual_time",
]

_adopt(globals(), "stackless._")


def __dir__() -> list[str]:
    return sorted(__all__)
