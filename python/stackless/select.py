"""The module `select`, whose calls block only the calling tasklet.

All names of the standard module are here; `select`, `poll` and `epoll` are replaced. They wait for
anything that those of the standard module wait for: sockets of any module, pipes, terminals, other
epoll objects. Everything else is as documented for the standard module. Any thread may call them.

What the standard module does not define:

* Closing a descriptor does not wake tasklets that wait for it with `select` or `poll`, as in the
  standard module. Closing an epoll object wakes those that wait in its `poll`: OSError, EBADF.
* A file that is registered with a poll object while it waits counts from its next `poll` on; with
  an epoll object at once.
* A limit, a timeout or `kill` ends a wait like any other; no descriptor is left over.
* A call that finds something ready, or has the timeout 0, does not let other tasklets run.
* A wait needs a descriptor of its own, except a wait in an epoll object's `poll`.
"""

from __future__ import annotations

import errno as _errno
import math as _math
import operator as _operator
import select as _stock
import sys as _sys
import time as _time
from select import *  # noqa: F403
from typing import Any, Self

from stackless._package.surface import exported as _exported
from stackless._stackless import _descriptor_closed, _wait_ready, getcurrent, tasklet
from stackless._stackless import sleep as _sleep

__all__ = _exported(_stock)

# The standard functions, kept here as they may be patched later.
_select: Any = _stock.select
_poll: Any = _stock.poll
_epoll: Any = _stock.epoll

_MOST_MILLISECONDS = 2**31 - 1
_MOST_SECONDS = 2**63 / 1e9


def _number(seconds: Any, what: str) -> float:
    """Return a timeout as a number, with the errors of the standard functions."""
    if not isinstance(seconds, float):
        try:
            return _operator.index(seconds)
        except TypeError:
            if _sys.version_info < (3, 15):
                raise TypeError(f"timeout must be {what} or None") from None
            kind = type(seconds)
            if not hasattr(kind, "__float__"):
                raise TypeError(
                    f"timeout must be a real number or None, not {kind.__name__}"
                ) from None
            return _number(float(seconds), what)
    if _math.isnan(seconds):
        raise ValueError("Invalid value NaN (not a number)")
    return seconds


def _not_too_long(seconds: float) -> float:
    if not -_MOST_SECONDS <= seconds < _MOST_SECONDS:
        raise OverflowError("timestamp too large to convert to C PyTime_t")
    return seconds


def _seconds(number: float, unit: int) -> float | None:
    """Return `number / unit` seconds as poll() and epoll read them; None: without a limit."""
    seconds = _not_too_long(number / unit)
    if seconds * 1000 > _MOST_MILLISECONDS:
        raise OverflowError("timeout is too large")
    return None if seconds < 0 else seconds


def _descriptor(file: Any) -> Any:
    """Return the descriptor of a file; other objects are left for the standard call to refuse."""
    if isinstance(file, int):
        return file
    fileno = getattr(file, "fileno", None)
    return file if fileno is None else fileno()


class _Watch:
    """One descriptor for several, which can be read when one of them may be ready."""

    __slots__ = ("_epoll",)

    def __init__(self, wanted: dict[int, int]) -> None:
        self._epoll = _epoll()
        for number, events in wanted.items():
            try:
                self._epoll.register(number, events)
            except PermissionError:
                pass  # the readiness of a regular file does not change
            except OSError as error:
                self._epoll.close()
                if error.errno != _errno.EBADF:
                    raise
                raise OSError(_errno.EBADF, "a descriptor was closed meanwhile") from error

    def wait(self, until: float | None) -> None:
        """Wait for one of the descriptors, or until that time; may return earlier."""
        _wait(self._epoll.fileno(), until)

    def close(self) -> None:
        _descriptor_closed(self._epoll.fileno())
        self._epoll.close()

    def is_ready(self) -> bool:
        return bool(self._epoll.poll(0, 1))


def _wait(descriptor: int, until: float | None) -> None:
    seconds = None if until is None else max(until - _time.monotonic(), 0.0)
    _wait_ready(descriptor, False, seconds)


def _over(until: float | None) -> bool:
    return until is not None and _time.monotonic() >= until


def _until(seconds: float | None) -> float | None:
    return None if seconds is None else _time.monotonic() + seconds


def _wait_for_any(wanted: dict[int, int], seconds: float | None, ask: Any) -> Any:
    """Wait until `ask()`, which has found nothing, finds something ready, or for `seconds`."""
    until = _until(seconds)
    watch = _Watch(wanted)
    try:
        while not _over(until):
            watch.wait(until)
            ready = ask()
            if ready:
                return ready
            if watch.is_ready():
                # An error or a hang-up for which select() was not asked: epoll always reports it.
                _sleep(0.01 if until is None else min(0.01, max(until - _time.monotonic(), 0)))
    finally:
        watch.close()
    return ask()


_SELECT_EVENTS = (
    _stock.EPOLLIN | _stock.EPOLLRDNORM | _stock.EPOLLRDBAND,
    _stock.EPOLLOUT | _stock.EPOLLWRNORM | _stock.EPOLLWRBAND,
    _stock.EPOLLPRI,
)


def select(  # type: ignore[no-redef]
    rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None, /
) -> tuple[list[Any], list[Any], list[Any]]:
    """Wait until files can be read (rlist) or written (wlist), or are exceptional (xlist).

    Files are descriptors or objects with a method fileno(). Waits at most `timeout` seconds, None:
    without a limit. Returns three lists: the files of each argument that are ready; three empty
    lists if the time has expired. Errors are those of the standard function.
    """
    seconds = None
    if timeout is not None:
        seconds = _not_too_long(_number(timeout, "a float"))
        if seconds < 0:
            raise ValueError("timeout must be non-negative")
    try:
        files = [
            each if isinstance(each, (list, tuple)) else list(each)
            for each in (rlist, wlist, xlist)
        ]
    except TypeError:
        raise TypeError("arguments 1-3 must be sequences") from None

    def ask() -> Any:
        found = _select(files[0], files[1], files[2], 0)
        return found if any(found) else None

    ready = ask()
    if ready is None and seconds != 0:
        wanted: dict[int, int] = {}
        for each, events in zip(files, _SELECT_EVENTS, strict=True):
            for file in each:
                number = _descriptor(file)
                wanted[number] = wanted.get(number, 0) | events
        ready = _wait_for_any(wanted, seconds, ask)
    return ready or ([], [], [])


class poll:  # type: ignore[no-redef]
    """A set of files to wait for, each with its events; otherwise as the standard object."""

    __slots__ = ("_events", "_poll", "_waited_for")

    def __init__(self) -> None:
        self._poll = _poll()
        self._events: dict[int, int] = {}
        self._waited_for = False

    def register(
        self, fd: Any, eventmask: int = _stock.POLLIN | _stock.POLLPRI | _stock.POLLOUT, /
    ) -> None:
        """Add a file, or change its events."""
        number = _descriptor(fd)
        self._poll.register(number, eventmask)
        self._events[number] = eventmask

    def modify(self, fd: Any, eventmask: int, /) -> None:
        """Change the events of a file. OSError (ENOENT) if it is not registered."""
        number = _descriptor(fd)
        self._poll.modify(number, eventmask)
        self._events[number] = eventmask

    def unregister(self, fd: Any, /) -> None:
        """Remove a file. KeyError if it is not registered."""
        number = _descriptor(fd)
        self._poll.unregister(number)
        del self._events[number]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for events; return a list of (descriptor, events).

        Waits at most `timeout` milliseconds; None, negative: without a limit. RuntimeError if
        another tasklet or thread already waits in the poll() of this object.
        """
        if self._waited_for:
            raise RuntimeError("concurrent poll() invocation")
        seconds = None
        if timeout is not None:
            seconds = _seconds(_number(timeout, "an integer"), 1000)
        ready: list[tuple[int, int]] = self._poll.poll(0)
        if ready or seconds == 0:
            return ready
        self._waited_for = True
        try:
            return _wait_for_any(self._events, seconds, lambda: self._poll.poll(0)) or []
        finally:
            self._waited_for = False


class epoll:  # type: ignore[no-redef]
    """The system's interest list for files; otherwise as the standard class.

    The functions and objects of this module can wait for it, too.
    """

    __slots__ = ("__weakref__", "_epoll", "_waiting", "_wakes")

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        self._own(_epoll(sizehint, flags))

    def _own(self, made: Any) -> None:
        self._epoll = made
        self._waiting: list[tasklet] = []
        self._wakes = 0

    @classmethod
    def fromfd(cls, fd: int, /) -> Self:
        """Make an epoll object of a descriptor, which the object then owns and closes."""
        made = cls.__new__(cls)
        made._own(_epoll.fromfd(fd))
        return made

    @property
    def closed(self) -> bool:
        """bool: True if close() was called."""
        closed: bool = self._epoll.closed
        return closed

    def fileno(self) -> int:
        """Return the descriptor. ValueError if it is closed."""
        number: int = self._epoll.fileno()
        return number

    def close(self) -> None:
        """Close it. Tasklets that wait in its poll() get OSError (EBADF)."""
        if not self._epoll.closed:
            try:
                _descriptor_closed(self._epoll.fileno())
            finally:
                self._epoll.close()

    def __del__(self) -> None:
        if hasattr(self, "_epoll"):
            self.close()

    def __enter__(self) -> Self:
        self._epoll.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def register(
        self, fd: Any, eventmask: int = _stock.EPOLLIN | _stock.EPOLLPRI | _stock.EPOLLOUT
    ) -> None:
        """Add a file. OSError: EEXIST if it is already registered, EPERM for a regular file."""
        self._epoll.register(fd, eventmask)

    def modify(self, fd: Any, eventmask: int) -> None:
        """Change the events of a file."""
        self._epoll.modify(fd, eventmask)

    def unregister(self, fd: Any) -> None:
        """Remove a file."""
        self._epoll.unregister(fd)

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait for events; return a list of at most `maxevents` pairs (descriptor, events).

        Waits at most `timeout` seconds; None, negative: without a limit.
        """
        ready: list[tuple[int, int]]
        if timeout == 0:
            ready = self._epoll.poll(0, maxevents)
            return ready
        seconds = None
        if timeout is not None:
            seconds = _seconds(_number(timeout, "an integer"), 1)
        until = _until(seconds)
        wakes, waiter = self._wakes, getcurrent()
        self._waiting.append(waiter)
        try:
            while True:
                _wait(self._epoll.fileno(), until)  # returns at once if something is ready
                ready = self._epoll.poll(0, maxevents)
                if ready or wakes != self._wakes or _over(until):
                    return ready
        finally:
            self._waiting.remove(waiter)

    def wake(self) -> None:
        """End the calls of poll() that wait now: they return what is ready, or an empty list.

        May be called in any thread, and never switches. The standard class has no such method.
        """
        self._wakes += 1
        for waiter in self._waiting:
            if not waiter.is_current:
                waiter.insert()


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Return a name that the standard module has, but does not export."""
    return getattr(_stock, name)
