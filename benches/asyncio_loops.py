"""asyncio beside tasklets: the cost of loops, of calls between them, memory of blocking calls.

Each loop runs in processes of its own, in turns; the best of a few rounds counts.

    python benches/asyncio_loops.py [--rounds N] [--operations N]
"""

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import own_process
import process_memory

Run = Callable[[Coroutine[Any, Any, Any]], Any]

#: Number of blocking calls at once in the measure of memory. A call that has blocked for longer
#: than a second or two is parked: it is measured before and after that.
CALLS = 1000
PARKED_AFTER = 2.5
MEMORY = "bytes for a call that blocks"
LATER = f"bytes for a call that has blocked for {PARKED_AFTER} s"
#: The highest allowed microseconds.
REQUIRED = {"wait of a ready coroutine": 5.0}


async def turns(operations: int) -> float:
    """Microseconds for a turn of the loop that resumes one coroutine."""
    start = time.perf_counter()
    for _ in range(operations):
        await asyncio.sleep(0)
    return (time.perf_counter() - start) / operations * 1e6


async def timers(operations: int) -> float:
    """Microseconds for a sleep of one microsecond, which is one timer."""
    start = time.perf_counter()
    for _ in range(operations):
        await asyncio.sleep(1e-6)
    return (time.perf_counter() - start) / operations * 1e6


async def echo(operations: int) -> float:
    """Microseconds for a message of 64 bytes to a server in the same loop, and its answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        start = time.perf_counter()
        for _ in range(operations):
            writer.write(b"x" * 64)
            await reader.read(100)
        seconds = time.perf_counter() - start
        writer.close()
        await writer.wait_closed()
    return seconds / operations * 1e6


WORK: dict[str, Callable[[int], Coroutine[Any, Any, float]]] = {
    "turns": turns,
    "timers": timers,
    "echo": echo,
}


async def ready() -> int:
    return 1


async def one_turn() -> None:
    await asyncio.sleep(0)


def bridges(operations: int) -> dict[str, float]:
    """Microseconds for aio.wait() and aio.call()."""
    from stackless import aio

    def wait(coroutine: Callable[[], Coroutine[Any, Any, Any]]) -> float:
        aio.wait(coroutine())
        start = time.perf_counter()
        for _ in range(operations):
            aio.wait(coroutine())
        return (time.perf_counter() - start) / operations * 1e6

    async def call() -> float:
        start = time.perf_counter()
        for _ in range(operations):
            await aio.call(int)
        return (time.perf_counter() - start) / operations * 1e6

    return {
        "wait of a ready coroutine": wait(ready),
        "wait of a coroutine that waits one turn": wait(one_turn),
        "call of an empty function": aio.run(call()),
    }


async def on_threads(measure: Callable[[], None]) -> None:
    """Await CALLS blocking calls on threads at once; call `measure` twice while they wait."""
    started, release = threading.Semaphore(0), threading.Event()

    def blocking() -> None:
        started.release()
        release.wait()

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(CALLS) as pool:
        calls = [loop.run_in_executor(pool, blocking) for _ in range(CALLS)]
        for _ in range(CALLS):
            await asyncio.to_thread(started.acquire)
        measure()
        await asyncio.sleep(PARKED_AFTER)
        measure()
        release.set()
        await asyncio.gather(*calls)


async def in_tasklets(measure: Callable[[], None]) -> None:
    """The same in tasklets."""
    import stackless
    from stackless import aio

    channel: stackless.channel = stackless.channel()

    def blocking() -> None:
        channel.receive()

    calls = [asyncio.ensure_future(aio.call(blocking)) for _ in range(CALLS)]
    while channel.balance > -CALLS:
        await asyncio.sleep(0.001)
    measure()
    await asyncio.sleep(PARKED_AFTER)
    measure()
    await aio.call(channel.send_sequence, range(CALLS))
    await asyncio.gather(*calls)


def used() -> int:
    """Bytes of resident memory, page tables and stacks in the kernel."""
    return sum(process_memory.memory()) + process_memory.kernel_stacks()


def memory(
    run: Run, blocking: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
) -> own_process.Figures:
    """Bytes for each blocking call, soon after it has begun and later."""
    measured: list[float] = []
    run(asyncio.to_thread(int))
    before = used()
    run(blocking(lambda: measured.append((used() - before) / CALLS)))
    return dict(zip((MEMORY, LATER), measured, strict=True))


def loop_figures(run: Run, operations: int) -> own_process.Figures:
    return {name: run(work(operations)) for name, work in WORK.items()}


def stock(operations: int) -> own_process.Figures:
    return {**memory(asyncio.run, on_threads), **loop_figures(asyncio.run, operations)}


def ours(operations: int) -> own_process.Figures:
    from stackless import aio

    figures = {**memory(aio.run, in_tasklets), **loop_figures(aio.run, operations)}
    return {**figures, **bridges(operations)}


def uvloop(operations: int) -> own_process.Figures:
    import uvloop

    return loop_figures(uvloop.run, operations)


PEERS = {"asyncio": (stock, None), "ours": (ours, None), "uvloop": (uvloop, "uvloop")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--operations", type=int, default=20000)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer:
        print(json.dumps(PEERS[given.peer][0](given.operations)))
        return

    arguments = ["--operations", str(given.operations)]
    found = own_process.best(__file__, PEERS, arguments, given.rounds)
    print(f"{'microseconds':<40}" + "".join(f"{name:>10}" for name in found))
    for name in found["ours"]:
        if name in (MEMORY, LATER):
            continue
        texts = [
            f"{figures[name]:10.2f}" if name in figures else f"{'-':>10}"
            for figures in found.values()
        ]
        limit = f"  <= {REQUIRED[name]}" if name in REQUIRED else ""
        print(f"{name:<40}" + "".join(texts) + limit)
    for name in WORK:
        print(
            f"{name}: {found['ours'][name] / found['asyncio'][name]:.2f} x asyncio, required <= 1.0"
        )
    for name, required in ((MEMORY, ""), (LATER, ", required <= 0.2")):
        own, threads = found["ours"][name], found["asyncio"][name]
        print(f"{name}: {own:.0f}, on a thread {threads:.0f}; {own / threads:.3f} x{required}")


if __name__ == "__main__":
    main()
