"""A parameter sweep on workers that may be taken away at any time.

python examples/cluster/sweep.py

starts a worker that stays and three more, as a cloud's preemptible machines, and sixteen
simulations on them. Then two of the machines are wanted back: their workers get SIGTERM, and a new
one comes. The simulations move to the others; no step of one is computed twice. At the end a
picture shows where each was at what time.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from stackless import cluster
from stackless.cluster import Cluster, Tasklet

SIMULATIONS, STEPS, PAUSE, WIDTH = 16, 60, 0.03, 60


def simulate(growth: float, steps: int, log: Any) -> float:
    """A step of a simulation, again and again; waiting in `cluster.sleep` it can move."""
    x = 0.5
    for step in range(steps):
        x = growth * x * (1 - x)
        log.send((time.time(), growth, step, cluster.here().name))
        cluster.sleep(PAUSE)
    return x


def machine(c: Cluster, name: str) -> subprocess.Popen[bytes]:
    """Start a worker as a process of its own. (In a cloud: `dask worker ADDRESS` on a machine.)"""
    settings = {"name": name, "nthreads": 1, "host": "127.0.0.1", "memory_limit": 0}
    settings |= {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    spec = json.dumps({"cls": "distributed.Worker", "opts": settings})
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", "spec", c.address, "--spec", spec],
        env={**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"},
    )
    while name not in [each.name for each in c.workers()]:
        time.sleep(0.01)
    return process


def picture(log: list[tuple[float, float, int, str]], names: list[str]) -> None:
    """Print a line for each simulation: which worker computed it, from left to right in time."""
    letters = dict(zip(names, "ABCDEFGH", strict=False))
    print(", ".join(f"{letter}: {name}" for name, letter in letters.items()))
    begin, end = log[0][0], log[-1][0]
    for growth in sorted({each[1] for each in log}):
        line = [" "] * (WIDTH + 1)
        for at, which, _, name in log:
            if which == growth:
                line[int((at - begin) / (end - begin) * WIDTH)] = letters[name]
        print(f"{growth:.2f} {''.join(line)}")


def bar(done: int, whole: int) -> None:
    if sys.stderr.isatty():
        filled = 40 * done // whole
        end = "\n" if done == whole else ""
        text = f"\r[{'#' * filled}{'.' * (40 - filled)}] {done}/{whole} steps"
        print(text, end=end, file=sys.stderr, flush=True)


def main() -> None:
    with cluster.connect(workers=1) as c:
        machines = [machine(c, f"spot-{n}") for n in range(3)]
        log = c.channel(capacity=SIMULATIONS * STEPS)
        growths = [2.8 + n / 15 for n in range(SIMULATIONS)]
        tasklets: list[Tasklet[float]] = [
            c.spawn(simulate, growth, STEPS, log) for growth in growths
        ]
        seen: list[tuple[float, float, int, str]] = []
        for n in range(SIMULATIONS * STEPS):
            seen.append(log.receive(timeout=60))
            bar(n + 1, SIMULATIONS * STEPS)
            if n == 300:
                machines[0].send_signal(signal.SIGTERM)
            if n == 400:
                machines.append(machine(c, "spot-3"))
                c.rebalance()
            if n == 600:
                machines[1].send_signal(signal.SIGTERM)
        results = [each.join() for each in tasklets]
        steps = Counter((growth, step) for _, growth, step, _ in seen)
        assert len(steps) == SIMULATIONS * STEPS and set(steps.values()) == {1}
        picture(sorted(seen), [f"spot-{n}" for n in range(4)] + ["worker-0"])
        print(f"{len(results)} results; {len(steps)} steps, each computed once")
    for each in machines:
        each.kill()
        each.wait()


if __name__ == "__main__":
    main()
