"""Measures the processor time of servers that run in their own process, under load from another.

The server runs on one processor, the load (net/load.c) on another. Needs a C compiler.
"""

import argparse
import ctypes
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import go
import peers

HERE = Path(__file__).parent / "net"

_directory = tempfile.TemporaryDirectory(prefix="stackless-bench-")

Command = list[str]


class Cost(NamedTuple):
    """The result of one round: the server's processor time for an answer, answers per second."""

    microseconds: float
    rate: float


class Work(NamedTuple):
    connections: int
    message: str  # the length of a message in bytes, "http" or "http-once"
    seconds: float


@functools.cache
def compiled(name: str) -> str:
    """Compile net/NAME.c; return the path of the program."""
    program = f"{_directory.name}/{name}"
    subprocess.run(["cc", "-O2", "-o", program, str(HERE / f"{name}.c")], check=True)
    return program


def built_by_go(name: str) -> str | None:
    """Compile net/NAME.go; return the path of the program, None if Go is not installed."""
    source = HERE / f"{name}.go"
    if problem := go.problem(source):
        print(f"Go {problem}")
        return None
    return str(go.program(source))


def python_servers(file: str, needs: Mapping[str, tuple[str, ...]]) -> dict[str, Command]:
    """Return the commands of the servers whose packages are installed."""
    found = {}
    for peer, packages in needs.items():
        if missing := [name for name in packages if peers.missing(name)]:
            print(f"{peer} skipped: {', '.join(missing)} not installed")
        else:
            found[peer] = [sys.executable, str(HERE / file), peer]
    return found


def processors() -> tuple[set[int], set[int]]:
    """Return a processor for the server and one for the load; the same if there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


def used(pid: int) -> float:
    """Return the processor seconds of a process so far, threads that have ended included.

    Those of the processes that it has started, and that run, are added.
    """
    clock = ctypes.c_int()
    if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(error, os.strerror(error))
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return time.clock_gettime(clock.value) + sum(map(used, children))


@contextmanager
def on(processor: set[int], command: Command) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a process on these processors; give it and its first line, and kill it at the end."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: os.sched_setaffinity(0, processor),
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def under_load(command: Command, work: Work) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start a server and its load; give the server's process id and the load when it has begun."""
    ours, others = processors()
    connections, message, seconds = work
    with on(ours, command) as (server, port):
        load = [compiled("load"), port, str(connections), message, str(seconds)]
        with on(others, load) as (process, said):
            if said != "begin":
                raise SystemExit("the load did not begin")
            yield server.pid, process


def result_of(load: subprocess.Popen[str]) -> tuple[int, float]:
    """Return the number of answers, and the seconds they took."""
    assert load.stdout is not None
    answers, seconds = load.stdout.readline().split()
    return int(answers), float(seconds)


def cost(command: Command, work: Work) -> Cost:
    with under_load(command, work) as (server, load):
        before = used(server)
        answers, seconds = result_of(load)
        return Cost((used(server) - before) / answers * 1e6, answers / seconds)


def system_calls(command: Command, work: Work) -> float:
    """Return the number of system calls for each answer, counted by strace."""
    summary = Path(_directory.name, "calls")
    trace = ["strace", "-f", "-c", "-o", str(summary), "-p"]
    with under_load(command, work) as (server, load):
        tracer = subprocess.Popen([*trace, str(server)], stderr=subprocess.DEVNULL)
        answers, _ = result_of(load)
        tracer.send_signal(2)
        tracer.wait()
    found = re.search(r"^100\.00\s+\S+\s+\S+\s+(\d+)", summary.read_text(), re.M)
    assert found is not None, summary.read_text()
    return int(found[1]) / answers


def arguments(documentation: str | None) -> argparse.Namespace:
    """Parse the command line of a benchmark of HTTP servers."""
    parser = argparse.ArgumentParser(description=(documentation or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=100)
    return parser.parse_args()


def table(
    title: str,
    servers: Mapping[str, Command],
    work: Work,
    rounds: int,
    required: Mapping[str, float],
    calls: bool = False,
) -> None:
    """Measure all servers in turn; print the best round of each, compared with the first server.

    `required`: the minimum factor of a peer's processor time to that of the first server; for one
    that is ours as well, with a minus sign, the maximum.
    """
    if not servers:
        return
    costs: dict[str, list[Cost]] = {peer: [] for peer in servers}
    for _ in range(rounds):
        for peer, command in servers.items():
            costs[peer].append(cost(command, work))
    best = {peer: min(found) for peer, found in costs.items()}
    first = next(iter(best.values()))
    print(f"\n{title}; best of {rounds} rounds")
    print(f"{'':20}{'us each':>10}{'in a second':>14}{'x ours':>8}{'required':>10}")
    for peer, found in best.items():
        ratio = found.microseconds / first.microseconds
        line = f"{peer:20}{found.microseconds:>10.2f}{found.rate:>14,.0f}{ratio:>8.2f}"
        if peer in required:
            limit = required[peer]
            mark = f">= {limit}" if limit > 0 else f"<= {-limit}"
            kept = ratio >= limit if limit > 0 else ratio <= -limit
            line += f"{mark:>10}{'' if kept else '  missed'}"
        if calls:
            line += f"{system_calls(servers[peer], work):>8.2f} system calls"
        print(line, flush=True)
