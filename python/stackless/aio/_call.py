"""`call`: a coroutine calls a function in a new tasklet, and awaits its result."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import stackless
from stackless.aio._loop import cooperates
from stackless.aio._wait import calling_loop

_P = ParamSpec("_P")
_R = TypeVar("_R")


async def call(func: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Call func(*args, **kwargs) in a new tasklet of this thread, and return what it returns.

    The function may wait in any way that tasklets wait, at any depth; the event loop and its other
    tasks run meanwhile. It runs in a copy of the caller's context. An exception that it does not
    catch is raised here; StopIteration as RuntimeError (PEP 479).

    If the awaiting task is cancelled, TaskletExit is raised in the function, and CancelledError
    here when the function has ended.

    Raises TypeError if func is not callable, RuntimeError if the running loop does not let
    tasklets run: use run(), or `EventLoop` as the loop.
    """
    if not callable(func):
        raise TypeError(f"a callable is needed, not {type(func).__name__}")
    loop = asyncio.get_running_loop()
    if not cooperates(loop):
        raise RuntimeError(
            f"tasklets cannot run while {type(loop).__name__} waits: "
            "use stackless.aio.run() or stackless.aio.EventLoop"
        )
    context = contextvars.copy_context()
    context.run(calling_loop.set, (loop, stackless.getmain()))
    result: _R = await _Call(loop, context, func, args, kwargs).outcome()
    return result


class _Call:
    """A call that a tasklet makes, and the future of the coroutine that awaits it."""

    __slots__ = ("_begun", "_future", "_loop", "_tasklet")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._begun = False
        self._future: asyncio.Future[Any] = loop.create_future()
        self._tasklet = stackless.tasklet(self._make).set_context(context)(func, args, kwargs)

    def _make(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._begun = True
        try:
            result = func(*args, **kwargs)
        except stackless.TaskletExit:
            self._future.cancel()
        except StopIteration as error:
            stopped = RuntimeError("the function raised StopIteration")
            stopped.__cause__ = error
            self._fail(stopped)
        except BaseException as error:
            self._fail(error)
        else:
            if not self._future.done():
                self._future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)

    async def outcome(self) -> Any:
        try:
            return await self._future
        except asyncio.CancelledError:
            if not self._begun:
                self._tasklet.kill()
            while self._tasklet.alive:
                self._tasklet.kill(pending=True)
                self._future = self._loop.create_future()
                try:
                    await self._future
                except asyncio.CancelledError:
                    pass  # cancelled once more, or the function has ended with TaskletExit
                except BaseException:
                    if not self._tasklet.alive:
                        raise
            raise


class _Threadpool:
    """The replacement of anyio.to_thread.run_sync()."""

    def __init__(self) -> None:
        self._module = importlib.import_module("anyio.to_thread")
        self._standard = self._module.run_sync
        self._module.run_sync = self._run_sync  # type: ignore[attr-defined]

    async def _run_sync(
        self, func: Callable[..., Any], *args: Any, limiter: Any = None, **options: Any
    ) -> Any:
        running = asyncio._get_running_loop()
        if running is None or not cooperates(running):
            return await self._standard(func, *args, limiter=limiter, **options)
        async with limiter or contextlib.nullcontext():
            return await call(func, *args)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        if self._module.run_sync == self._run_sync:
            self._module.run_sync = self._standard  # type: ignore[attr-defined]


def use_tasklets_for_threadpool() -> contextlib.AbstractContextManager[None]:
    """From now on anyio.to_thread.run_sync() calls functions in tasklets, as call() does.

    This is how Starlette and FastAPI call handlers and dependencies that are plain functions
    (`def`, not `async def`). So these cost a tasklet instead of a thread, and their number is not
    limited, except by a `limiter` that the caller of run_sync() gives. What they call must wait as
    tasklets do: with the modules of this package, or under `stackless.monkey`; else it blocks the
    loop. In loops that do not let tasklets run, threads are used as before.

    Returns a context manager whose end undoes this; it need not be used. Raises ImportError
    without the package `anyio`.
    """
    return _Threadpool()
