"""A factorial around the world: each level of the recursion is computed by another worker.

python examples/cluster/world.py [N] [WORKERS] [ADDRESS]

The tasklet goes to the next worker before each call and before each return, with all calls that are
under way: twice as many moves as levels. Without the address of a Dask scheduler, the workers are
processes on this machine.
"""

import math
import os
import sys
from collections import Counter
from time import perf_counter

from stackless import cluster


def factorial(n: int, workers: list[str], seen: list[int]) -> int:
    cluster.go(workers[n % len(workers)])
    seen.append(os.getpid())
    if n == 0:
        return 1
    result = n * factorial(n - 1, workers, seen)
    cluster.go(workers[(n + 1) % len(workers)])
    seen.append(os.getpid())
    return result


def around(n: int, workers: list[str]) -> tuple[int, list[int]]:
    seen: list[int] = []
    return factorial(n, workers, seen), seen


def main(n: int, workers: int, address: str | None) -> None:
    with cluster.connect(address, workers=None if address else workers) as c:
        names = [each.name for each in c.workers()]
        start = perf_counter()
        result, seen = c.spawn(around, n, names).join()
        seconds = perf_counter() - start
        assert result == math.factorial(n)
        print(f"{n}! has {len(str(result))} digits, by {len(names)} workers")
        for pid, times in Counter(seen).items():
            print(f"    process {pid}: there {times} times")
        print(f"    {seconds / len(seen) * 1e3:.1f} ms for each move", file=sys.stderr)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 30,
        int(given[1]) if given[1:] else 3,
        given[2] if given[2:] else None,
    )
