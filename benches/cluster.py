"""Tasklets on worker processes beside Dask's own calls, on the same workers in one run.

python benches/cluster.py [--rounds N] [--workers N]

Rounds are interleaved; the table shows the median of each. All processes are on this machine, so
the times are those of the software, not of a network.
"""

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy
from distributed import Client
from stackless import cluster

MESSAGES, MOVES, CALLS, ACTOR_CALLS, SUBMITS = 1000, 200, 10_000, 200, 100
ARRAYS, ARRAY_SIZE = 20, 10_000_000
BUFFERED, TASKLETS, CPU_TASKLETS, CPU_STEPS = 50_000, 10_000, 1000, 40_000


# ------------------------------------------------------------------ what the tasklets do


def echo(there: Any, back: Any) -> None:
    for value in there:
        back.send(value)


def ping(there: Any, back: Any) -> float:
    """Seconds for a message to another worker, half of a round trip."""
    there.send(0)
    back.receive()
    start = perf_counter()
    for n in range(MESSAGES):
        there.send(n)
        back.receive()
    seconds = perf_counter() - start
    there.close()
    return seconds / MESSAGES / 2


def send_arrays(channel: Any) -> float:
    """Seconds for an array to another worker, and its confirmation."""
    array = numpy.ones(ARRAY_SIZE, dtype="uint8")
    channel.send(array)
    start = perf_counter()
    for _ in range(ARRAYS):
        channel.send(array)
    seconds = perf_counter() - start
    channel.close()
    return seconds / ARRAYS


def receive_arrays(channel: Any) -> int:
    return sum(int(array[-1]) for array in channel)


def call_with_arrays(actor: Any) -> float:
    """The same with an actor of Dask on another worker."""
    array = numpy.ones(ARRAY_SIZE, dtype="uint8")
    actor.take(array).result()
    start = perf_counter()
    for _ in range(ARRAYS):
        actor.take(array).result()
    return (perf_counter() - start) / ARRAYS


def source(channel: Any) -> None:
    for n in range(BUFFERED):
        channel.send(n)
    channel.close()


def sink(channel: Any) -> float:
    """Seconds per message, from the first to the last."""
    channel.receive()
    start = perf_counter()
    for _ in channel:
        pass
    return (perf_counter() - start) / BUFFERED


def hop(depth: int, hosts: list[str]) -> float:
    """Seconds for one move of a tasklet that is `depth` calls deep."""
    if depth:
        return hop(depth - 1, hosts)
    cluster.go(hosts[0])
    start = perf_counter()
    for n in range(MOVES):
        cluster.go(hosts[(n + 1) % 2])
    return (perf_counter() - start) / MOVES


def compute(n: int) -> int:
    return sum(i * i for i in range(n))


def increment(n: int) -> int:
    return n + 1


class Counter:
    """An actor of Dask."""

    def __init__(self) -> None:
        self.n = 0

    def increment(self) -> int:
        self.n += 1
        return self.n

    def take(self, array: Any) -> int:
        return int(array[-1])


# ------------------------------------------------------------------ what is measured


def messages(c: cluster.Cluster, client: Client) -> float:
    one, other = (each.name for each in c.workers()[:2])
    there, back = c.channel(on=other), c.channel(on=one)
    c.spawn(echo, there, back, on=other)
    return c.spawn(ping, there, back, on=one).join()


def arrays(c: cluster.Cluster, client: Client) -> float:
    one, other = (each.name for each in c.workers()[:2])
    channel = c.channel(on=other)
    receiver = c.spawn(receive_arrays, channel, on=other)
    seconds = c.spawn(send_arrays, channel, on=one).join()
    assert receiver.join() == ARRAYS + 1
    return seconds


def actor_arrays(c: cluster.Cluster, client: Client) -> float:
    one, other = (each.address for each in c.workers()[:2])
    actor = client.submit(Counter, actor=True, pure=False, workers=[other])
    return client.submit(call_with_arrays, actor, pure=False, workers=[one]).result()


def buffered(c: cluster.Cluster, client: Client) -> float:
    one, other = (each.name for each in c.workers()[:2])
    channel = c.channel(capacity=1000, on=other)
    receiver = c.spawn(sink, channel, on=other)
    c.spawn(source, channel, on=one)
    return receiver.join()


def moves(c: cluster.Cluster, client: Client) -> float:
    return c.spawn(hop, 10, [each.name for each in c.workers()[:2]]).join()


def our_map(c: cluster.Cluster, client: Client) -> float:
    start = perf_counter()
    assert sum(c.map(increment, range(CALLS))) == CALLS * (CALLS + 1) // 2
    return (perf_counter() - start) / CALLS


def dask_map(c: cluster.Cluster, client: Client) -> float:
    start = perf_counter()
    found = client.gather(client.map(increment, range(CALLS), pure=False))
    assert sum(found) == CALLS * (CALLS + 1) // 2
    return (perf_counter() - start) / CALLS


def spawns(c: cluster.Cluster, client: Client) -> float:
    start = perf_counter()
    for each in [c.spawn(increment, n) for n in range(TASKLETS)]:
        each.join()
    return (perf_counter() - start) / TASKLETS


def one_spawn(c: cluster.Cluster, client: Client) -> float:
    start = perf_counter()
    for n in range(SUBMITS):
        c.spawn(increment, n).join()
    return (perf_counter() - start) / SUBMITS


def submits(c: cluster.Cluster, client: Client) -> float:
    start = perf_counter()
    for n in range(SUBMITS):
        client.submit(increment, n, pure=False).result()
    return (perf_counter() - start) / SUBMITS


def actor_calls(c: cluster.Cluster, client: Client) -> float:
    actor = client.submit(Counter, actor=True, pure=False).result()
    start = perf_counter()
    for _ in range(ACTOR_CALLS):
        actor.increment().result()
    return (perf_counter() - start) / ACTOR_CALLS


def actor_pipelined(c: cluster.Cluster, client: Client) -> float:
    actor = client.submit(Counter, actor=True, pure=False).result()
    start = perf_counter()
    for each in [actor.increment() for _ in range(ACTOR_CALLS)]:
        each.result()
    return (perf_counter() - start) / ACTOR_CALLS


def on_workers(hosts: int) -> Callable[[cluster.Cluster, Client], float]:
    def measure(c: cluster.Cluster, client: Client) -> float:
        names = [each.name for each in c.workers()[:hosts]]
        start = perf_counter()
        kept = [c.spawn(compute, CPU_STEPS, on=names[n % hosts]) for n in range(CPU_TASKLETS)]
        for each in kept:
            each.join()
        return perf_counter() - start

    return measure


CASES: dict[str, Callable[[cluster.Cluster, Client], float]] = {
    "a message between two workers": messages,
    "Dask: call of an actor, and its result": actor_calls,
    "an array of 10 MB between two workers": arrays,
    "Dask: an actor called with such an array": actor_arrays,
    "a message into a buffer, many at once": buffered,
    "Dask: calls of an actor, many at once": actor_pipelined,
    "a move of a tasklet, 10 calls deep": moves,
    "spawn and join, one after the other": one_spawn,
    "Dask: submit and result, one after the other": submits,
    "spawn and join, all at once": spawns,
    "a call of c.map": our_map,
    "Dask: a call of Client.map, gathered": dask_map,
    f"{CPU_TASKLETS} tasklets that compute, on one worker": on_workers(1),
    "the same on two workers": on_workers(2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    times: dict[str, list[float]] = {each: [] for each in CASES}
    with cluster.connect(workers=given.workers) as c:
        with Client(c.address) as client:
            for _ in range(given.rounds):
                for name, measure in CASES.items():
                    times[name].append(measure(c, client))
    for name, found in times.items():
        print(f"{name:48} {statistics.median(found) * 1e6:12,.0f} us")

    def ratio(one: str, other: str) -> float:
        names = {each: next(name for name in CASES if each in name) for each in (one, other)}
        return statistics.median(times[names[one]]) / statistics.median(times[names[other]])

    print()
    print(
        f"Dask's actor call / our message:          {ratio('call of an actor', 'a message be'):.1f}"
    )
    print(f"Dask's actor call / our message, 10 MB:   {ratio('actor called', 'an array of'):.1f}")
    print(f"Dask's map / our map:                     {ratio('Client.map', 'c.map'):.1f}")
    print(f"Dask's submit / our spawn:                {ratio('submit', 'spawn and join, one'):.1f}")
    print(f"two workers / one, computing:             {ratio('the same', 'that compute'):.2f}")


if __name__ == "__main__":
    main()
