"""A recursion 100 levels deep in which each level runs in its own tasklet. The time per level."""

import asyncio
import queue
import threading
from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from harness import OURS, Case
from peers import gevent, greenlet, stackless, uvloop

CASE = Case("call", "call(f, *args): a level of recursion in a tasklet of its own (warm pool)")
DEPTH = 100


def time_levels(descend: Callable[[int], Any], operations: int) -> float:
    """Return the seconds for `operations` levels; `descend(n)` makes n levels."""
    start = perf_counter()
    for _ in repeat(None, operations // DEPTH):
        descend(DEPTH)
    return perf_counter() - start


@CASE.peer(OURS, "stackless")
def ours(operations: int) -> float:
    def send_result(result: Any, function: Any, args: Any) -> None:
        result.send(function(*args))

    def call(function: Any, *args: Any) -> Any:
        result = channel()
        tasklet(send_result)(result, function, args)
        return result.receive()

    def descend(n: int) -> int:
        return 1 + call(descend, n - 1) if n else 0

    def descend_and_finish(n: int) -> None:
        descend(n)
        run()  # the tasklets that have sent their result end now

    channel, tasklet, run = stackless.channel, stackless.tasklet, stackless.run
    return time_levels(descend_and_finish, operations)


@CASE.peer("plain call")
def plain(operations: int) -> float:
    def descend(n: int) -> int:
        return 1 + descend(n - 1) if n else 0

    return time_levels(descend, operations)


@CASE.peer("greenlet, parent", "greenlet")
def greenlets(operations: int) -> float:
    def descend(n: int) -> int:
        return 1 + create(descend).switch(n - 1) if n else 0

    create = greenlet.greenlet
    return time_levels(descend, operations)


@CASE.peer("gevent.spawn().get()", "gevent")
def gevents(operations: int) -> float:
    def descend(n: int) -> int:
        return 1 + spawn(descend, n - 1).get() if n else 0

    spawn = gevent.spawn
    return time_levels(descend, operations)


async def tasks(operations: int) -> float:
    async def descend(n: int) -> int:
        return 1 + await create(descend(n - 1)) if n else 0

    create = asyncio.create_task
    start = perf_counter()
    for _ in repeat(None, operations // DEPTH):
        await descend(DEPTH)
    return perf_counter() - start


@CASE.peer("asyncio, await a task")
def on_asyncio(operations: int) -> float:
    return asyncio.run(tasks(operations))


@CASE.peer("uvloop, await a task", "uvloop")
def on_uvloop(operations: int) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(tasks(operations))


@CASE.peer("thread, SimpleQueue")
def threads(operations: int) -> float:
    def call(function: Any, *args: Any) -> Any:
        result: queue.SimpleQueue[Any] = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: result.put(function(*args)))
        thread.start()
        value = result.get()
        thread.join()
        return value

    def descend(n: int) -> int:
        return 1 + call(descend, n - 1) if n else 0

    return time_levels(descend, operations)


CASE.go()
