"""Messages that are read by a `for` loop, which the sender ends. The time of one message."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from itertools import repeat
from time import perf_counter
from typing import Any

from harness import OURS, Case
from peers import gevent, gevent_queue, greenlet, stackless, uvloop

CASE = Case("for", "channel `for` loop, per item")


@CASE.peer(OURS, "stackless")
def ours(operations: int) -> float:
    def sender() -> None:
        send = channel.send
        for _ in repeat(None, operations):
            send(None)
        channel.send_exception(StopIteration)

    def receiver() -> None:
        for _ in channel:
            pass

    channel = stackless.channel()
    stackless.tasklet(receiver)()
    stackless.tasklet(sender)()
    start = perf_counter()
    stackless.run()
    return perf_counter() - start


@CASE.peer("generator")
def generators(operations: int) -> float:
    def sender() -> Iterator[None]:
        for _ in repeat(None, operations):
            yield

    start = perf_counter()
    for _ in sender():
        pass
    return perf_counter() - start


@CASE.peer("greenlet, switches", "greenlet")
def greenlets(operations: int) -> float:
    def sender() -> bool:
        switch = receiver.switch
        for _ in repeat(None, operations):
            switch(None)
        return True

    receiver = greenlet.getcurrent()
    start = perf_counter()
    for _ in iter(greenlet.greenlet(sender).switch, True):
        pass
    return perf_counter() - start


def gevents(channel: Any, operations: int) -> float:
    def sender() -> None:
        put = channel.put
        for _ in repeat(None, operations):
            put(None)
        put(StopIteration)

    def receiver() -> None:
        for _ in channel:
            pass

    pair = [gevent.spawn(receiver), gevent.spawn(sender)]
    start = perf_counter()
    gevent.joinall(pair, raise_error=True)
    return perf_counter() - start


@CASE.peer("gevent.queue.Channel", "gevent")
def gevent_channel(operations: int) -> float:
    return gevents(gevent_queue.Channel(), operations)


@CASE.peer("gevent.queue.Queue(1)", "gevent")
def gevent_queue_of_one(operations: int) -> float:
    return gevents(gevent_queue.Queue(1), operations)


class Items:
    """Iterates over the items of a queue until one is True."""

    def __init__(self, channel: asyncio.Queue[bool]) -> None:
        self.get = channel.get

    def __aiter__(self) -> "Items":
        return self

    async def __anext__(self) -> None:
        if await self.get():
            raise StopAsyncIteration


async def tasks(operations: int) -> float:
    channel: asyncio.Queue[bool] = asyncio.Queue(1)

    async def sender() -> None:
        put = channel.put
        for _ in repeat(None, operations):
            await put(False)
        await put(True)

    async def receiver() -> None:
        async for _ in Items(channel):
            pass

    start = perf_counter()
    await asyncio.gather(receiver(), sender())
    return perf_counter() - start


@CASE.peer("asyncio.Queue(1)")
def on_asyncio(operations: int) -> float:
    return asyncio.run(tasks(operations))


@CASE.peer("uvloop, asyncio.Queue(1)", "uvloop")
def on_uvloop(operations: int) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(tasks(operations))


@CASE.peer("threads, queue.Queue(1)")
def threads(operations: int) -> float:
    def sender() -> None:
        put = channel.put
        for _ in repeat(None, operations):
            put(False)
        put(True)

    channel: queue.Queue[bool] = queue.Queue(1)
    thread = threading.Thread(target=sender)
    start = perf_counter()
    thread.start()
    for _ in iter(channel.get, True):
        pass
    thread.join()
    return perf_counter() - start


CASE.go()
