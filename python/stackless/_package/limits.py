"""What needs no engine: the atomic section, thread lists, settings."""

from __future__ import annotations

import sys
import threading
from typing import NamedTuple, Never

from stackless import _stackless


class atomic:
    """A context manager in which the current tasklet is not interrupted involuntarily.

    Switches that the code asks for itself stay allowed. May be nested; exceptions pass through.
    (Stackless contract, section 6.)
    """

    __slots__ = ("_outer",)

    def __init__(self) -> None:
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        self._outer.append(_stackless.getcurrent().set_atomic(True))

    def __exit__(self, *exception: object) -> None:
        _stackless.getcurrent().set_atomic(self._outer.pop())


def getthreads(*arguments: Never) -> list[int]:
    """Return the identities of all Python threads, the process's main thread first."""
    if arguments:
        raise TypeError(f"getthreads() takes no arguments ({len(arguments)} given)")
    main = threading.main_thread().ident
    return sorted(sys._current_frames(), key=lambda ident: ident != main)


class StackLimits(NamedTuple):
    """How large C stacks are, and how many there may be."""

    #: Bytes of address space for one tasklet's C stack; only what is touched becomes memory.
    size: int
    #: The most stacks of this process.
    count: int  # type: ignore[assignment]
    #: From so many stacks in use in one thread on, the tasklets that wait longest are parked.
    park_above: int
    #: Seconds of waiting after which a thread that has nothing to do parks a tasklet.
    park_after: float


def get_stack_limits() -> StackLimits:
    """Return the limits in force."""
    return StackLimits(*_stackless._stack_limits())


def set_stack_limits(
    *,
    size: int | None = None,
    count: int | None = None,
    park_above: int | None = None,
    park_after: float | None = None,
) -> StackLimits:
    """Change the size of the C stacks of tasklets that start from now on, or how many there may be.

    The default size is 8 MiB of address space, that of a usual main thread. Smaller stacks need
    less page table memory, and allow less recursion through C code; on Python 3.11 nothing but
    the recursion limit guards a smaller stack against C recursion that is too deep. The size is
    rounded up to whole pages.

    When a thread uses `park_above` stacks (4,096 by default) and needs another, or when there are
    no more, some of its tasklets that have waited longest are parked: they give up their C stack,
    and get one again when they go on. Those with C code between their Python calls cannot be
    parked. When all `count` stacks are in use all the same, starting another tasklet raises
    MemoryError.

    A thread that has nothing to do and more than 64 stacks looks every `park_after` seconds (1.0
    by default, math.inf: never) who has waited since its last look, parks those as well, and gives
    the memory of stacks that nobody uses back to the system.

    The environment variables STACKLESS_STACK_SIZE, STACKLESS_STACK_COUNT, STACKLESS_PARK_ABOVE and
    STACKLESS_PARK_AFTER set the limits at import.

    Returns the limits in force. Raises ValueError below 65536 or above 1073741824 bytes, for a
    number below 1, and for seconds that are negative or NaN; TypeError for what is not an int, or
    no number of seconds. Applies to all threads.
    """
    old = get_stack_limits()
    _stackless._set_stack_limits(
        old.size if size is None else size,
        old.count if count is None else count,
        old.park_above if park_above is None else park_above,
        old.park_after if park_after is None else park_after,
    )
    return get_stack_limits()
