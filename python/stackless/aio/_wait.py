"""`wait`: a tasklet waits for a coroutine or another awaitable, in an event loop of its thread.

The loop is the one whose coroutine has started the calling tasklet with `call`; else one that this
thread has for the purpose, in a tasklet of its own, made at the first use:

    calling tasklet                          tasklet of the loop
    wait(coroutine)
      begins it as a task (1)  ── waits ──>  continues the task when what it awaits is there
      returns its result       <── wakes ──  the task is done

(1) On Python 3.12 and later its first step is made in the calling tasklet, so that a coroutine that
does not have to wait costs no switch.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import os
import sys
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import stackless
from stackless import sync
from stackless.aio._loop import EventLoop

_T = TypeVar("_T")

#: The loop whose coroutine started this tasklet, with the main tasklet of its thread.
calling_loop: contextvars.ContextVar[tuple[asyncio.AbstractEventLoop, stackless.tasklet]] = (
    contextvars.ContextVar("calling_loop")
)

#: The loops that threads have for wait(), by the main tasklets of the threads.
_loops: weakref.WeakKeyDictionary[stackless.tasklet, _OwnLoop] = weakref.WeakKeyDictionary()


def wait(awaitable: Awaitable[_T], /) -> _T:
    """Wait for a coroutine, a future or another awaitable; return its result, or raise its error.

    Only the calling tasklet waits. A coroutine runs as a task in an event loop of this thread: the
    loop whose coroutine started the calling tasklet with call(), else one that the thread has for
    wait(). Objects that belong to a loop, such as clients with open connections, can be used again
    by later calls of the same thread. The coroutine sees the caller's context variables, and the
    caller sees what it sets.

    If the wait is ended from outside (a time limit, kill(), throw()), the task is cancelled, and
    the exception is raised when the task has ended.

    A future, or a task, may belong to any loop that runs, in any thread.

    Raises TypeError if the object is not awaitable, and RuntimeError in a coroutine or callback of
    a loop that runs in this tasklet: use `await` there.
    """
    if asyncio._get_running_loop() is not None:
        _close(awaitable)
        raise RuntimeError("an event loop runs in this tasklet: use await instead of wait()")
    if asyncio.isfuture(awaitable):
        future: asyncio.Future[_T] = awaitable
        return _result_of(future, future.get_loop().call_soon_threadsafe)
    loop = _loop()
    context = contextvars.copy_context()
    task = _start(awaitable, loop, context)
    try:
        return _result_of(task, _call if isinstance(loop, EventLoop) else loop.call_soon_threadsafe)
    finally:
        for variable, value in context.items():
            if variable.get(_MISSING) is not value:
                variable.set(value)


_MISSING: Any = object()


def _close(awaitable: object) -> None:
    if asyncio.iscoroutine(awaitable):
        awaitable.close()  # without the warning that it was never awaited


def _loop() -> asyncio.AbstractEventLoop:
    main = stackless.getmain()
    loop, thread = calling_loop.get((None, None))
    if loop is not None and thread is main and loop.is_running():
        return loop
    own = _loops.get(main)
    if own is None or own.is_closing:
        own = _loops[main] = _OwnLoop()
    return own.loop


async def _awaited(awaitable: Awaitable[_T]) -> _T:
    return await awaitable


def _start(
    awaitable: Awaitable[_T], loop: asyncio.AbstractEventLoop, context: contextvars.Context
) -> asyncio.Task[_T]:
    if asyncio.iscoroutine(awaitable):
        coroutine: Coroutine[Any, Any, _T] = awaitable
    elif hasattr(type(awaitable), "__await__"):
        coroutine = _awaited(awaitable)
    else:
        kind = type(awaitable).__name__
        raise TypeError(f"a coroutine, a future or another awaitable is needed, not {kind}")
    if not isinstance(loop, EventLoop):
        loop.call_soon_threadsafe(lambda: None)  # ends its wait, if it waits
    elif sys.version_info >= (3, 12) and loop.is_running():
        return loop._begin_here(coroutine, context)
    return loop.create_task(coroutine, context=context)


def _call(function: Callable[..., object], *arguments: Any) -> None:
    function(*arguments)


def _result_of(future: asyncio.Future[_T], call: Callable[..., object]) -> _T:
    if not future.done():
        _wait_for(future, call)
    return future.result()


def _wait_for(future: asyncio.Future[Any], call: Callable[..., object]) -> None:
    """Wait until the future is done. `call` makes calls that its loop allows where it runs."""
    done = sync.Event()
    loop = future.get_loop()
    awaited = loop._awaited if isinstance(loop, EventLoop) else set()
    awaited.add(future)
    call(future.add_done_callback, lambda _future: done.set())
    try:
        done.wait()
    except BaseException:
        if not future.done():
            call(future.cancel)
            # Another exception ends this wait too; the future is cancelled in any case.
            with stackless.shield():
                done.wait()
        raise
    finally:
        awaited.discard(future)


class _OwnLoop:
    """The event loop that a thread has for wait(), in a daemon tasklet."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=EventLoop)
        self.loop = self._runner.get_loop()
        self._is_parents = False
        #: True if its tasks are being cancelled, and after that.
        self.is_closing = False
        # The end of a thread kills tasklets below which C code runs, so that `_serve` closes the
        # loop; others are just dropped.
        below_c_code = functools.partial(self._serve)
        self.tasklet = stackless.tasklet(below_c_code).set_context(contextvars.Context())
        self.tasklet.daemon = True
        self.tasklet()

    def _serve(self) -> None:
        try:
            while True:
                try:
                    self.loop.run_forever()
                    return
                except (KeyboardInterrupt, SystemExit) as error:
                    if not self._is_raised_elsewhere(error):
                        raise
        finally:
            self.is_closing = True
            if not self._is_parents:
                self._runner.close()  # cancels its tasks, and waits for them

    def _is_raised_elsewhere(self, error: BaseException) -> bool:
        """True if a task has ended with this exception, and a tasklet waits for the task."""
        awaited = self.loop._awaited  # type: ignore[attr-defined]
        ended = [each for each in awaited if each.done() and not each.cancelled()]
        return any(each.exception() is error for each in ended)

    def stop(self) -> None:
        """End the loop as asyncio.run() does: its tasks are cancelled."""
        if not self.is_closing:
            self.loop.call_soon(self.loop.stop)
        self.tasklet.join()

    def abandon(self) -> None:
        """In the child of a fork: end the loop, whose epoll object and files the parent has too."""
        self._is_parents = True
        self.tasklet.kill()


def _abandon_loops() -> None:
    for own in list(_loops.values()):
        own.abandon()
    _loops.clear()


os.register_at_fork(after_in_child=_abandon_loops)


@atexit.register
def _stop_own_loop() -> None:
    own = _loops.pop(stackless.getmain(), None)
    if own is not None:
        own.stop()
