"""Events and semaphores: the engine's, with the signatures of `threading`."""

from __future__ import annotations

import warnings

from stackless._stackless import _Event, _Semaphore


class Event(_Event):
    """A flag that tasklets and threads wait for, as `threading.Event`.

    wait() waits until set() was called; clear() resets the flag.
    """

    def isSet(self) -> bool:
        """Return `is_set()`. Deprecated, as in `threading`."""
        warnings.warn(
            "isSet() is deprecated, use is_set() instead", DeprecationWarning, stacklevel=2
        )
        return self.is_set()

    def _at_fork_reinit(self) -> None:
        """Nothing has to be done: the threads that waited do not exist in the child."""


class Semaphore(_Semaphore):
    """A counter as `threading.Semaphore`: acquire() takes one, and waits while there is none.

    value: the number at first. ValueError if it is negative.
    """

    def __init__(self, value: int = 1) -> None:
        super().__init__(value, False)


class BoundedSemaphore(Semaphore):
    """A semaphore whose value cannot exceed the initial one, as `threading.BoundedSemaphore`.

    release() raises ValueError if it would: that is a mistake in the program.
    """

    def __init__(self, value: int = 1) -> None:
        _Semaphore.__init__(self, value, True)
