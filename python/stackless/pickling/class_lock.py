"""Makes cloudpickle's lock safe for tasklets.

Classes that go by value are numbered by cloudpickle, in tables that a `threading.Lock` protects. A
tasklet that is interrupted there by a limit of `run()` would keep the lock, and the next tasklet of
the thread that pickles a class would wait for it in the operating system: neither could continue.
The same holds for a destructor that runs there and pickles a class. So the lock becomes one that
its thread can take again, and its owner is not interrupted.
"""

from __future__ import annotations

import _thread

from cloudpickle import cloudpickle  # type: ignore[import-untyped]

from stackless import _stackless


class ClassLock:
    """A lock for short sections that do not wait: a context manager, as `threading.RLock` is."""

    def __init__(self) -> None:
        self._lock = _thread.RLock()
        #: Tasklets that hold the lock, and whether they were atomic before. Only a destructor that
        #: switches can make them leave in another order than they entered.
        self._inside: list[tuple[_stackless.tasklet, bool]] = []

    def __enter__(self) -> None:
        me = _stackless.getcurrent()
        was_atomic = me.set_atomic(True)
        self._lock.acquire()
        self._inside.append((me, was_atomic))

    def __exit__(self, *exception: object) -> None:
        me = _stackless.getcurrent()
        last = max(n for n, (tasklet, _) in enumerate(self._inside) if tasklet is me)
        _, was_atomic = self._inside.pop(last)
        self._lock.release()
        me.set_atomic(was_atomic)


if hasattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_LOCK"):
    cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK = ClassLock()
