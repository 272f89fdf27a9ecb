"""The channels of ``stackless.scheduler``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NoReturn

import stackless
from stackless import _stackless


class channel(stackless.channel):
    """A channel that can be cleared."""

    __slots__ = ()

    def clear(self) -> None:
        """Kill the tasklets that wait now, with TaskletExit, in their order."""
        kill_waiting(self)


def kill_waiting(channel: stackless.channel) -> None:
    for one in _stackless._channel_queue(channel):
        # Killing the others may have woken it.
        in_alt = _stackless._waits_in_alt(one) and one in _stackless._channel_queue(channel)
        if one._channel is channel or in_alt:
            one.kill()


class QueueChannel(channel):
    """A channel with a queue of any length: sending never blocks.

    May be used between threads. Iteration ends as with other channels; after `close()`, when the
    queue is empty.
    """

    # No operation of another thread may happen between the test of the queue or balance and the
    # step that depends on it. The interpreter changes threads after calls and when functions begin:
    # so functions are looked up before the test, and nothing is called between test and step.

    __slots__ = ("data_queue",)

    #: Items, oldest first: (True, value) or (False, (type, exception, traceback)).
    data_queue: deque[tuple[bool, Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.data_queue = deque()
        self.preference = 1

    @property
    def balance(self) -> int:
        """The length of the queue; if that is 0, minus the number of waiting receivers."""
        return len(self.data_queue) or super().balance

    @property
    def closed(self) -> bool:
        """True if it is closing, no tasklet waits in it, and the queue is empty."""
        return super().closed and not self.data_queue

    def __len__(self) -> int:
        return len(self.data_queue)

    def __bool__(self) -> bool:
        return True

    # Sending never waits, so that a timeout makes no difference to it.

    def send(self, value: Any, /, *, timeout: float | None = None) -> None:
        """Give the value to a waiting receiver, or else append it to the queue.

        ValueError if the channel is closing and no receiver waits.
        """
        mine: Any = super()
        send = mine.send
        if mine.balance < 0 or self.closing:
            send(value)
        else:
            self.data_queue.append((True, value))

    def send_exception(self, exc: Any, /, *args: Any, timeout: float | None = None) -> None:
        """Send an exception: a class with arguments, or an instance. TypeError for other values."""
        is_class = isinstance(exc, type) and issubclass(exc, BaseException)
        if not is_class and (args or not isinstance(exc, BaseException)):
            super().send_exception(exc, *args)  # raises the TypeError of all channels
        self.send_throw(exc, args if is_class else None)

    def send_throw(
        self,
        exc: Any,
        val: Any = None,
        tb: TracebackType | None = None,
        /,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send an exception: an instance, or a class with a value, arguments, or None."""
        raised = _raised(exc, val, tb)
        mine: Any = super()
        send = mine.send_throw
        if mine.balance < 0 or self.closing:
            send(raised[1], None, raised[2])
        else:
            self.data_queue.append((False, raised))

    def receive(self, *, timeout: float | None = None) -> Any:
        """Return the oldest item of the queue; wait at most `timeout` seconds if it is empty."""
        wait = super().receive
        return self._take(wait if timeout is None else lambda: wait(timeout=timeout))

    def __next__(self) -> Any:
        return self._take(super().__next__)

    def _take(self, wait: Callable[[], Any]) -> Any:
        queue = self.data_queue
        take = queue.popleft
        if not queue:
            return wait()
        fine, data = take()
        if fine:
            return data
        try:
            raise data[1] if data[2] is None else data[1].with_traceback(data[2])
        finally:
            del data

    # The engine knows nothing of `data_queue`.

    def receiving(self) -> NoReturn:
        """Raise TypeError: `alt()` cannot wait for this channel."""
        raise TypeError(
            "alt() cannot wait for a QueueChannel, whose queue it does not know; "
            "use stackless.channel(capacity=n)"
        )

    def sending(self, value: Any, /) -> NoReturn:
        """Raise TypeError: `alt()` cannot wait for this channel."""
        self.receiving()

    def __alt_case__(self) -> NoReturn:
        self.receiving()

    def send_sequence(self, iterable: Iterable[Any], /) -> int:
        """Send every item; return their number."""
        number = 0
        for item in iterable:
            self.send(item)
            number += 1
        return number


def _raised(exc: Any, val: Any = None, tb: Any = None) -> tuple[Any, Any, Any]:
    """Return (type, exception, traceback) for the three arguments of a throw."""
    if tb is not None and not isinstance(tb, TracebackType):
        raise TypeError("third argument must be a traceback object")
    if isinstance(exc, BaseException):
        if val is not None:
            raise TypeError("instance exception may not have a separate value")
        return type(exc), exc, tb
    if not (isinstance(exc, type) and issubclass(exc, BaseException)):
        kind = type(exc).__name__
        raise TypeError(f"exceptions must be classes, or instances, not {kind}")
    if not isinstance(val, exc):
        val = exc() if val is None else exc(*val) if isinstance(val, tuple) else exc(val)
    return type(val), val, tb
