"""Switch to the next tasklet in a ring of 2 and of 1000; all have started before the timing."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, repeat
from time import perf_counter

from harness import OURS, Case
from peers import gevent, greenlet, stackless, uvloop

TWO = Case("schedule2", "schedule with 2 tasklets, per call")
THOUSAND = Case("schedule1000", "schedule with 1000 tasklets, per call")
GENERATORS = "generators, next()"


def ours(members: int, operations: int) -> float:
    def spin(calls: int) -> None:
        schedule = stackless.schedule
        schedule()
        for _ in repeat(None, calls):
            schedule()

    for _ in range(members):
        stackless.tasklet(spin)(operations // members)
    stackless.schedule()
    start = perf_counter()
    stackless.run()
    return perf_counter() - start


def greenlets(members: int, operations: int) -> float:
    def spin(place: int, calls: int) -> None:
        switch = ring[(place + 1) % members].switch
        greenlet.getcurrent().parent.switch()
        for _ in repeat(None, calls):
            switch()

    ring = [greenlet.greenlet(spin) for _ in range(members)]
    for place, member in enumerate(ring):
        member.switch(place, operations // members)
    start = perf_counter()
    ring[0].switch()  # returns when the first one ends: all have then made their calls
    taken = perf_counter() - start
    for member in ring:
        member.throw()
    return taken


def gevents(members: int, operations: int) -> float:
    def spin(calls: int) -> None:
        sleep = gevent.sleep
        sleep(0)
        for _ in repeat(None, calls):
            sleep(0)

    spinning = [gevent.spawn(spin, operations // members) for _ in range(members)]
    gevent.sleep(0)
    start = perf_counter()
    gevent.joinall(spinning)
    return perf_counter() - start


async def tasks(members: int, operations: int) -> float:
    async def spin(calls: int) -> None:
        sleep = asyncio.sleep
        await sleep(0)
        for _ in repeat(None, calls):
            await sleep(0)

    spinning = [asyncio.create_task(spin(operations // members)) for _ in range(members)]
    await asyncio.sleep(0)
    start = perf_counter()
    for task in spinning:
        await task
    return perf_counter() - start


def on_asyncio(members: int, operations: int) -> float:
    return asyncio.run(tasks(members, operations))


def on_uvloop(members: int, operations: int) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(tasks(members, operations))


def threads(members: int, operations: int) -> float:
    """Threads in a ring: each waits for its own lock and releases that of the next thread."""

    def spin(acquire: Callable[[], bool], release: Callable[[], None], calls: int) -> None:
        for _ in repeat(None, calls):
            acquire()
            release()

    locks = [threading.Lock() for _ in range(members)]
    for lock in locks:
        lock.acquire()
    spinning = [
        threading.Thread(
            target=spin, args=(locks[i - 1].acquire, locks[i].release, operations // members)
        )
        for i in range(members)
    ]
    for thread in spinning:
        thread.start()
    start = perf_counter()
    locks[-1].release()
    for thread in spinning:
        thread.join()
    return perf_counter() - start


def generators(members: int, operations: int) -> float:
    def spin() -> Iterator[None]:
        while True:
            yield

    ring = [spin() for _ in range(members)]
    for member in ring:
        next(member)
    start = perf_counter()
    for member in chain.from_iterable(repeat(ring, operations // members)):
        next(member)
    return perf_counter() - start


for case, members in ((TWO, 2), (THOUSAND, 1000)):
    case.peer(OURS, "stackless")(partial(ours, members))
    case.peer(GENERATORS)(partial(generators, members))
    case.peer("greenlet, switch ring", "greenlet")(partial(greenlets, members))
    case.peer("gevent.sleep(0)", "gevent")(partial(gevents, members))
    case.peer("asyncio.sleep(0)")(partial(on_asyncio, members))
    case.peer("uvloop, sleep(0)", "uvloop")(partial(on_uvloop, members))
    case.peer("threads, locks in a ring")(partial(threads, members))
    case.go()
