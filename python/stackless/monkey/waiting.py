"""What the patches of several modules have in common: a function that waits, and asking again."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from stackless._stackless import _cooperates, _give_way
from stackless._stackless import sleep as _sleep

Patch = tuple[Any, str, Any]
T = TypeVar("T")

#: Seconds between two attempts, where nothing tells of a change: the first and the longest pause.
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02


def waiting(module: ModuleType, name: str, call: Callable[..., Any]) -> Patch:
    """Return the patch of a function: `call(standard, ...)` where tasklets can switch."""
    standard = getattr(module, name)
    standard = getattr(standard, "_stackless_standard", standard)

    @functools.wraps(standard)
    def wait(*arguments: Any, **named: Any) -> Any:
        if not _cooperates():
            return standard(*arguments, **named)
        _give_way()
        return call(standard, *arguments, **named)

    wait.__module__ = module.__name__
    wait._stackless_standard = standard  # type: ignore[attr-defined]
    return module, name, wait


def ask(
    look: Callable[[], T],
    is_done: Callable[[T], bool],
    until: float | None = None,
    pause: float = _FIRST_PAUSE,
) -> T:
    """Call `look` again and again, with pauses, until `is_done` takes what it returns.

    Returns that; or what it returned last, once it is `until` by `time.monotonic()`. `pause`: the
    first one, in seconds.
    """
    while not is_done(result := look()):
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            break
        _sleep(pause if left is None else min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
    return result
