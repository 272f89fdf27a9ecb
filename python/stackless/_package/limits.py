"""The atomic section, the list of threads, and the limits on C stacks: no engine code needed."""

from __future__ import annotations

import sys
import threading
from typing import NamedTuple, Never

from stackless import _stackless


class atomic:
    """A context manager in which the current tasklet is not interrupted involuntarily.

    Switches that the code asks for explicitly stay allowed. May be nested; exceptions pass through.
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
    """The size of C stacks, their maximum number, and when tasklets are parked."""

    #: Bytes of address space for one tasklet's C stack; only pages that are used need memory.
    size: int
    #: Maximum number of stacks in this process.
    count: int  # type: ignore[assignment]
    #: Number of stacks in use in one thread from which on the longest waiting tasklets are parked.
    park_above: int
    #: Seconds of waiting after which an idle thread parks a tasklet.
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
    """Change the size of C stacks, their maximum number, or when waiting tasklets are parked.

    The size applies to tasklets that start from now on. The default is 8 MiB of address space, as
    for a usual main thread. Smaller stacks need less page table memory, and allow less recursion
    through C code; on Python 3.11 only the recursion limit protects a smaller stack against C
    recursion that is too deep. The size is rounded up to whole pages.

    When a thread uses `park_above` stacks (4,096 by default) and needs another, or when no stack is
    left, some of its tasklets that have waited longest are parked: they give up their C stack, and
    get one again when they continue. Tasklets with C code between their Python calls cannot be
    parked. When all `count` stacks are in use and no tasklet can be parked, starting another
    tasklet raises MemoryError.

    An idle thread with more than 64 stacks checks every `park_after` seconds (1.0 by default,
    math.inf: never) which tasklets have waited since the last check, parks those as well, and
    returns the memory of unused stacks to the system.

    The environment variables STACKLESS_STACK_SIZE, STACKLESS_STACK_COUNT, STACKLESS_PARK_ABOVE and
    STACKLESS_PARK_AFTER set the limits at import.

    Returns the limits in force. Raises ValueError for a size below 65536 or above 1073741824 bytes,
    for a count below 1, and for seconds that are negative or NaN; TypeError for a value that is not
    an int, or not a number of seconds. Applies to all threads.
    """
    old = get_stack_limits()
    _stackless._set_stack_limits(
        old.size if size is None else size,
        old.count if count is None else count,
        old.park_above if park_above is None else park_above,
        old.park_after if park_after is None else park_after,
    )
    return get_stack_limits()
