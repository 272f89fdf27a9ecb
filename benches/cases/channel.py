"""One tasklet sends, another receives; at most one message is buffered. The time of one message."""

import asyncio
import os
import queue
import tempfile
import threading
from collections.abc import Generator
from itertools import repeat
from time import perf_counter
from typing import Any

from harness import OURS, Case
from peers import gevent, gevent_queue, greenlet, stackless, uvloop

RECORDED = "stackless, recorded"
CASE = Case("channel", "channel message: one send and one receive, switches included")


@CASE.peer(OURS, "stackless")
def ours(operations: int) -> float:
    def sender() -> None:
        send = channel.send
        for _ in repeat(None, operations):
            send(None)

    def receiver() -> None:
        receive = channel.receive
        for _ in repeat(None, operations):
            receive()

    channel = stackless.channel()
    stackless.tasklet(receiver)()
    stackless.tasklet(sender)()
    start = perf_counter()
    stackless.run()
    return perf_counter() - start


@CASE.peer(RECORDED, "stackless")
def recorded(operations: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        with stackless.record(os.path.join(directory, "channel.json")):
            return ours(operations)


@CASE.peer("generator, send()")
def generators(operations: int) -> float:
    def receiver() -> Generator[None, None, None]:
        while True:
            yield

    send = receiver().send
    send(None)
    start = perf_counter()
    for _ in repeat(None, operations):
        send(None)
    return perf_counter() - start


@CASE.peer("greenlet, switches", "greenlet")
def greenlets(operations: int) -> float:
    def sender(receiver: Any) -> None:
        switch = receiver.switch
        for _ in repeat(None, operations):
            switch(None)

    peer = greenlet.greenlet(sender)
    switch = peer.switch
    start = perf_counter()
    switch(greenlet.getcurrent())
    for _ in repeat(None, operations - 1):
        switch()
    taken = perf_counter() - start
    peer.throw()
    return taken


def gevents(channel: Any, operations: int) -> float:
    def sender() -> None:
        put = channel.put
        for _ in repeat(None, operations):
            put(None)

    def receiver() -> None:
        get = channel.get
        for _ in repeat(None, operations):
            get()

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


async def tasks(operations: int) -> float:
    channel: asyncio.Queue[None] = asyncio.Queue(1)

    async def sender() -> None:
        put = channel.put
        for _ in repeat(None, operations):
            await put(None)

    async def receiver() -> None:
        get = channel.get
        for _ in repeat(None, operations):
            await get()

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
            put(None)

    channel: queue.Queue[None] = queue.Queue(1)
    thread = threading.Thread(target=sender)
    get = channel.get
    start = perf_counter()
    thread.start()
    for _ in repeat(None, operations):
        get()
    thread.join()
    return perf_counter() - start


CASE.go()
