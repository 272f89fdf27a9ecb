"""Schedules: when a cron expression is due next, in a time zone."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import zoneinfo
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """Starts a workflow at the times of a cron expression."""

    name: str
    cron: str
    timezone: str
    function: str
    #: When it starts one next, in seconds since the epoch.
    due: float
    created: float


def _croniter() -> Any:
    try:
        return importlib.import_module("croniter").croniter
    except ImportError as error:
        raise ImportError("schedules need croniter: pip install 'stackless-rs[durable]'") from error


def zone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone. ValueError if there is none of this name."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


def next_time(cron: str, timezone: str, after: float) -> float:
    """Return the first time of a cron expression after another time.

    ValueError for an expression that is wrong, or has no such time.
    """
    begin = datetime.datetime.fromtimestamp(after, zone(timezone))
    found: float = _croniter()(cron, begin).get_next(float)
    return found


def id_at(name: str, time: float, timezone: str) -> str:
    """Return the id of the workflow that a schedule starts at a time."""
    when = datetime.datetime.fromtimestamp(time, zone(timezone))
    return f"{name}@{when.isoformat(timespec='seconds')}"
