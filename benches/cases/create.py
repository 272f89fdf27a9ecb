"""Make a hundred tasklets, run them until they end, and repeat. The time of one tasklet."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import repeat
from time import perf_counter

from harness import OURS, Case
from peers import gevent, greenlet, stackless, uvloop

CASE = Case("create", "create, run and finish one, in batches of 100 (warm pool)")
BATCH = 100
ITERATORS = "callable iterator, next()"


def nothing() -> None:
    pass


@CASE.peer(OURS, "stackless")
def ours(operations: int) -> float:
    tasklet, run = stackless.tasklet, stackless.run
    start = perf_counter()
    for _ in repeat(None, operations // BATCH):
        for _ in repeat(None, BATCH):
            tasklet(nothing)()
        run()
    return perf_counter() - start


@CASE.peer("generator")
def generators(operations: int) -> float:
    def empty() -> Iterator[None]:
        return
        yield

    start = perf_counter()
    for _ in repeat(None, operations // BATCH):
        for batch in [empty() for _ in repeat(None, BATCH)]:
            for _ in batch:
                pass
    return perf_counter() - start


@CASE.peer(ITERATORS)
def iterators(operations: int) -> float:
    """The cost for any extension: make an object for a function, call it from C, drop it."""
    make, call = iter, next
    start = perf_counter()
    for _ in repeat(None, operations // BATCH):
        for caller in [make(nothing, BATCH) for _ in repeat(None, BATCH)]:
            call(caller)
    return perf_counter() - start


@CASE.peer("greenlet", "greenlet")
def greenlets(operations: int) -> float:
    create = greenlet.greenlet
    start = perf_counter()
    for _ in repeat(None, operations // BATCH):
        for batch in [create(nothing) for _ in repeat(None, BATCH)]:
            batch.switch()
    return perf_counter() - start


@CASE.peer("gevent.spawn", "gevent")
def gevents(operations: int) -> float:
    spawn, joinall = gevent.spawn, gevent.joinall
    start = perf_counter()
    for _ in repeat(None, operations // BATCH):
        joinall([spawn(nothing) for _ in repeat(None, BATCH)])
    return perf_counter() - start


async def tasks(operations: int) -> float:
    async def nothing() -> None:
        pass

    create, sleep = asyncio.create_task, asyncio.sleep
    start = perf_counter()
    for _ in repeat(None, operations // BATCH):
        batch = [create(nothing()) for _ in repeat(None, BATCH)]
        await sleep(0)  # one turn of the loop runs them all
        del batch
    return perf_counter() - start


@CASE.peer("asyncio task")
def on_asyncio(operations: int) -> float:
    return asyncio.run(tasks(operations))


@CASE.peer("uvloop, asyncio task", "uvloop")
def on_uvloop(operations: int) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(tasks(operations))


@CASE.peer("thread")
def threads(operations: int) -> float:
    start = perf_counter()
    for _ in repeat(None, operations // BATCH):
        batch = [threading.Thread(target=nothing) for _ in repeat(None, BATCH)]
        for thread in batch:
            thread.start()
        for thread in batch:
            thread.join()
    return perf_counter() - start


CASE.go()
