"""Many tasklets that sleep for 0 to 1 s at the same time: how late they wake, and what they cost.

Each peer runs in a process of its own; the best of a few rounds counts.

    python benches/sleepers.py [--count N] [--rounds N]
"""

import argparse
import asyncio
import json
import random
import resource
from collections.abc import Callable
from time import monotonic, process_time

import own_process
import peers

Sleeps = list[float]


def ours(sleeps: Sleeps) -> None:
    for seconds in sleeps:
        peers.stackless.tasklet(sleep_of_ours)(seconds)
    peers.stackless.run()


def sleep_of_ours(seconds: float) -> None:
    peers.stackless.sleep(seconds)
    woken()


def gevents(sleeps: Sleeps) -> None:
    def sleep(seconds: float) -> None:
        peers.gevent.sleep(seconds)
        woken()

    peers.gevent.joinall([peers.gevent.spawn(sleep, seconds) for seconds in sleeps])


async def tasks(sleeps: Sleeps) -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken()

    await asyncio.gather(*[sleep(seconds) for seconds in sleeps])


PEERS: dict[str, tuple[Callable[[Sleeps], None], str | None]] = {
    "ours": (ours, "stackless"),
    "gevent": (gevents, "gevent"),
    "asyncio": (lambda sleeps: asyncio.run(tasks(sleeps)), None),
    "uvloop": (lambda sleeps: peers.uvloop.run(tasks(sleeps)), "uvloop"),
}

count_woken = 0


def woken() -> None:
    global count_woken
    count_woken += 1


def measure(peer: str, count: int) -> dict[str, float]:
    """Measure in this process: seconds after the last one was due, processor seconds, bytes."""
    chance = random.Random(1)
    sleeps = [chance.random() for _ in range(count)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, busy = monotonic(), process_time()
    PEERS[peer][0](sleeps)
    late, busy = monotonic() - begun - max(sleeps), process_time() - busy
    if count_woken != count:
        raise SystemExit(f"only {count_woken} of {count} woke")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"late": late, "processor": busy, "memory": (most - before) * 1024}


def main(count: int, rounds: int) -> None:
    found = own_process.best(__file__, PEERS, ["--count", str(count)], rounds)
    print(f"{count:,} sleepers of 0 to 1 s, best of {rounds} rounds")
    print(f"{'':10}{'late, s':>10}{'processor, s':>14}{'memory, MB':>12}")
    for peer, best in found.items():
        print(
            f"{peer:10}{best['late']:>10.2f}{best['processor']:>14.2f}{best['memory'] / 1e6:>12.0f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=PEERS, help="measure this one, in this process")
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(measure(arguments.peer, arguments.count)))
    else:
        main(arguments.count, arguments.rounds)
