"""An event loop of asyncio that lets the tasklets of its thread run."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from select import EPOLLIN, EPOLLOUT
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from typing import Any, TypeVar

import stackless
from stackless import selectors
from stackless import sleep as _sleep

_T = TypeVar("_T")

#: Events after which a read does not block: all but EPOLLOUT, errors included; and for writing.
_READ, _WRITE = ~EPOLLOUT, ~EPOLLIN


class _Selector(selectors.EpollSelector):
    """Waits as a tasklet does, and lets other tasklets run also while its loop is busy."""

    def __init__(self, loop: EventLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        keys = self._fd_to_key  # type: ignore[attr-defined]
        found = self._selector.poll(0, len(keys) or 1)  # type: ignore[attr-defined]
        if found or (timeout is not None and timeout <= 0):
            # The loop has callbacks to run. Tasklets that can run or whose time has come are first.
            _sleep(0)
        else:
            with _WokenByCalls(self._loop, self.wake):  # type: ignore[attr-defined]
                found = self._selector.poll(timeout, len(keys) or 1)  # type: ignore[attr-defined]
        ready = []
        for descriptor, events in found:
            if (key := keys.get(descriptor)) is not None:
                wanted = (EVENT_READ if events & _READ else 0) | (
                    EVENT_WRITE if events & _WRITE else 0
                )
                ready.append((key, wanted & key.events))
        return ready


class EventLoop(asyncio.SelectorEventLoop):
    """An event loop of asyncio that runs in a tasklet, beside the other tasklets of its thread.

    While it waits, and between two rounds of callbacks, the other tasklets run. They may call its
    methods directly, as callbacks do, and set the results of its futures; other threads use
    call_soon_threadsafe(), as always. A callback or coroutine that makes its tasklet wait blocks
    this loop, and only this loop.

    Otherwise it is `asyncio.SelectorEventLoop` (library reference, "Event Loop"). For programs that
    choose a loop by name: `asyncio.Runner(loop_factory=EventLoop)`, `uvicorn --loop
    stackless.aio:EventLoop`.
    """

    def __init__(self) -> None:
        #: The futures that tasklets wait for.
        self._awaited: set[asyncio.Future[Any]] = set()
        #: The main tasklet of the thread that it runs in.
        self._main: stackless.tasklet | None = None
        super().__init__(_Selector(self))

    def run_forever(self) -> None:
        self._main = stackless.getmain()
        try:
            super().run_forever()
        finally:
            self._main = None

    def _check_thread(self) -> None:
        # Debug mode asks this. Under `stackless.monkey` tasklets have identifiers as threads have.
        if self._main is not None and self._main is not stackless.getmain():
            raise RuntimeError(
                "Non-thread-safe operation invoked on an event loop other than the current one"
            )

    def _begin_here(
        self, coroutine: Coroutine[Any, Any, _T], context: contextvars.Context
    ) -> asyncio.Task[_T]:
        """Make a task and its first step, in the calling tasklet; Python 3.12 and later."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._asyncgen_firstiter_hook, self._asyncgen_finalizer_hook)  # type: ignore[attr-defined]
        asyncio._set_running_loop(self)
        try:
            return asyncio.Task(coroutine, loop=self, context=context, eager_start=True)  # type: ignore[call-arg]
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)


class _WokenByCalls:
    """While the loop waits in its selector, call_soon() and call_at() end that wait.

    They are replaced on the loop object for that time only, so that they cost nothing while the
    loop runs.
    """

    __slots__ = ("_loop", "_wake")

    def __init__(self, loop: EventLoop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake

    def __enter__(self) -> None:
        loop, wake = self._loop, self._wake
        standard_soon, standard_at = loop.call_soon, loop.call_at

        def call_soon(*arguments: Any, **named: Any) -> Any:
            handle = standard_soon(*arguments, **named)
            wake()
            return handle

        def call_at(*arguments: Any, **named: Any) -> Any:
            handle = standard_at(*arguments, **named)
            wake()
            return handle

        loop.call_soon, loop.call_at = call_soon, call_at  # type: ignore[method-assign, assignment]

    def __exit__(self, *error: object) -> None:
        del self._loop.call_soon, self._loop.call_at


def cooperates(loop: asyncio.AbstractEventLoop) -> bool:
    """True if the loop lets the tasklets of its thread run while it waits."""
    if isinstance(loop, EventLoop):
        return True
    selector = getattr(loop, "_selector", None)
    own = (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector)
    monkey = sys.modules.get("stackless.monkey")
    patched = monkey is not None and monkey.is_patched("select")
    return isinstance(selector, own) or (patched and selector is not None)


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine in a new `EventLoop`, as asyncio.run() does, and return its result.

    The loop runs in the calling tasklet; the other tasklets of the thread run beside it. Several
    tasklets may call it at the same time. Raises what asyncio.run() raises: RuntimeError if a loop
    already runs in the calling tasklet.
    """
    with asyncio.Runner(debug=debug, loop_factory=EventLoop) as runner:
        return runner.run(main)
