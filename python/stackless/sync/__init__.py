"""Locks, conditions, events, semaphores, barriers and queues for tasklets and threads.

    from stackless import sync

    jobs = sync.Queue(maxsize=10)

The classes are those of `threading` and `queue`, with the same methods, arguments and exceptions.
What differs: a tasklet that has to wait lets the others of its thread run, and the owner of a lock
is the tasklet. The same object can be used by tasklets of several threads, and by threads without
tasklets, which block in the system.

The first that waits is served first. What it waits for is handed to it, so that no other caller can
take it in between. `release()`, `set()`, `notify()`, `put()` into a queue with room, and calls that
by their arguments do not wait, never switch.
"""

from __future__ import annotations

from queue import Empty, Full

from stackless._package.surface import adopt
from stackless._stackless import Lock, RLock, SimpleQueue, local
from stackless.sync.conditions import Barrier, BrokenBarrierError, Condition
from stackless.sync.queues import LifoQueue, PriorityQueue, Queue, ShutDown
from stackless.sync.signals import BoundedSemaphore, Event, Semaphore

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Empty",
    "Event",
    "Full",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Semaphore",
    "ShutDown",
    "SimpleQueue",
    "local",
]

adopt(globals(), "stackless.sync.")


def __dir__() -> list[str]:
    return sorted(__all__)
