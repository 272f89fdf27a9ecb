"""asyncio and tasklets in one program, each called from the other.

    aio.wait(awaitable)           in a tasklet: its result; only the calling tasklet waits
    await aio.call(f, *args)      in a coroutine: f(*args), called in a new tasklet
    aio.run(coroutine)            as asyncio.run(), in an event loop that lets tasklets run
    aio.EventLoop                 that event loop

A running event loop, and the task that it executes, belong to the tasklet in which the loop runs.
So several tasklets of a thread may each run a loop at the same time, and code in other tasklets
finds no running loop (`asyncio.get_running_loop()`). This needs no import of this module.
"""

from stackless._package.surface import adopt as _adopt
from stackless.aio._call import call, use_tasklets_for_threadpool
from stackless.aio._loop import EventLoop, run
from stackless.aio._wait import wait

__all__ = ["EventLoop", "call", "run", "use_tasklets_for_threadpool", "wait"]

_adopt(globals(), "stackless.aio.")


def __dir__() -> list[str]:
    return sorted(__all__)
