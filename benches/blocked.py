"""What a blocked tasklet costs: make many, two Python frames deep, measure, wake and finish them.

Each measurement needs its own process, which prints one line of JSON:

    python benches/blocked.py ours|greenlet|gevent|asyncio|threads COUNT [--stack-size BYTES]
"""

import argparse
import asyncio
import gc
import json
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from peers import gevent, gevent_queue, greenlet, stackless
from process_memory import memory

BATCH = 1000  # number of tasklets that are made before they run


class Meter:
    """Notes memory and time when the work begins, when all are blocked, and when all have ended."""

    def __init__(self) -> None:
        self.moments: list[tuple[float, int, int]] = []
        self.ended: list[None] = []

    def mark(self) -> None:
        self.moments.append((perf_counter(), *memory()))

    def one_finished(self) -> None:
        self.ended.append(None)  # safe between threads, too

    def report(self, count: int) -> dict[str, float]:
        if len(self.ended) != count:
            raise SystemExit(f"only {len(self.ended)} of {count} finished")
        (begun, rss0, pte0), (blocked, rss, pte), (ended, _, _) = self.moments
        return {
            "rss": (rss - rss0) / count,
            "page_tables": (pte - pte0) / count,
            "total": rss - rss0,
            "create": blocked - begun,
            "wake": ended - blocked,
        }


def two_frames_deep(wait: Callable[[], Any], meter: Meter) -> Callable[[], None]:
    def outer() -> None:
        inner()
        meter.one_finished()

    def inner() -> None:
        wait()

    return outer


def ours(count: int, meter: Meter) -> None:
    channel = stackless.channel()
    outer = two_frames_deep(channel.receive, meter)
    meter.mark()
    for i in range(count):
        stackless.tasklet(outer)()
        if i % BATCH == 0:
            stackless.run()
    stackless.run()
    meter.mark()
    for _ in range(count):
        channel.send(None)
    stackless.run()
    meter.mark()


def greenlets(count: int, meter: Meter) -> None:
    outer = two_frames_deep(greenlet.getcurrent().switch, meter)
    meter.mark()
    waiting = [greenlet.greenlet(outer) for _ in range(count)]
    for one in waiting:
        one.switch()
    meter.mark()
    for one in waiting:
        one.switch()
    meter.mark()


def gevents(count: int, meter: Meter) -> None:
    channel = gevent_queue.Channel()
    outer = two_frames_deep(channel.get, meter)
    gevent.sleep(0)  # makes the hub before the memory is measured
    meter.mark()
    waiting = []
    for i in range(count):
        waiting.append(gevent.spawn(outer))
        if i % BATCH == 0:
            gevent.sleep(0)
    gevent.sleep(0)
    meter.mark()
    for _ in range(count):
        channel.put(None)
    gevent.joinall(waiting)
    meter.mark()


async def tasks(count: int, meter: Meter) -> None:
    channel: asyncio.Queue[None] = asyncio.Queue()

    async def outer() -> None:
        await inner()
        meter.one_finished()

    async def inner() -> None:
        await channel.get()

    meter.mark()
    waiting = []
    for i in range(count):
        waiting.append(asyncio.create_task(outer()))
        if i % BATCH == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    meter.mark()
    for _ in range(count):
        channel.put_nowait(None)
    for task in waiting:
        await task
    meter.mark()


def on_asyncio(count: int, meter: Meter) -> None:
    asyncio.run(tasks(count, meter))


def threads(count: int, meter: Meter) -> None:
    meter.mark()
    locks = [threading.Lock() for _ in range(count)]
    waiting = []
    for lock in locks:
        lock.acquire()
        outer = two_frames_deep(lock.acquire, meter)
        waiting.append(threading.Thread(target=outer, daemon=True))
        waiting[-1].start()
    meter.mark()
    for lock, thread in zip(locks, waiting, strict=True):
        lock.release()
        thread.join()  # one by one: all at once they would compete for the interpreter's lock
    meter.mark()


PEERS: dict[str, Callable[[int, Meter], None]] = {
    "ours": ours,
    "greenlet": greenlets,
    "gevent": gevents,
    "asyncio": on_asyncio,
    "threads": threads,
}


def main(peer: str, count: int, stack_size: int | None) -> None:
    if stack_size is not None:
        stackless.set_stack_limits(size=stack_size)
    meter = Meter()
    gc.collect()
    PEERS[peer](count, meter)
    print(json.dumps(meter.report(count)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure what blocked ones cost.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("count", type=int)
    parser.add_argument("--stack-size", type=int, metavar="BYTES", help="of ours only")
    arguments = parser.parse_args()
    main(arguments.peer, arguments.count, arguments.stack_size)
