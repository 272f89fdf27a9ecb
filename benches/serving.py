"""Servers in processes of their own, under a load from another: what they take of the processor.

The server runs on one processor, the load (net/load.c) on another. Needs a C compiler.
"""

import ctypes
import functools
import os
import re
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
    """Of one round: processor time of the server for an answer, and answers in a second."""

    microseconds: float
    rate: float


class Work(NamedTuple):
    connections: int
    message: str  # its length in bytes, "http" or "http-once"
    seconds: float


@functools.cache
def compiled(name: str) -> str:
    """The path of a program made of net/NAME.c."""
    program = f"{_directory.name}/{name}"
    subprocess.run(["cc", "-O2", "-o", program, str(HERE / f"{name}.c")], check=True)
    return program


def built_by_go(name: str) -> str | None:
    """The same for net/NAME.go, None if there is no Go."""
    source = HERE / f"{name}.go"
    if problem := go.problem(source):
        print(f"Go {problem}")
        return None
    return str(go.program(source))


def python_servers(file: str, needs: Mapping[str, tuple[str, ...]]) -> dict[str, Command]:
    """How to start those whose packages are installed."""
    found = {}
    for peer, packages in needs.items():
        if missing := [name for name in packages if peers.missing(name)]:
            print(f"{peer} skipped: {', '.join(missing)} not installed")
        else:
            found[peer] = [sys.executable, str(HERE / file), peer]
    return found


def processors() -> tuple[set[int], set[int]]:
    """One for the server, one for the load; the same if there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


def used(pid: int) -> float:
    """The processor seconds of a process, so far: of threads that have ended, too."""
    clock = ctypes.c_int()
    if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(error, os.strerror(error))
    return time.clock_gettime(clock.value)


@contextmanager
def on(processor: set[int], command: Command) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process there, killed at the end, and the first line that it prints."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, processor),
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def under_load(command: Command, work: Work) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server's process id, and the load, from the moment on from which that counts."""
    ours, others = processors()
    connections, message, seconds = work
    with on(ours, command) as (server, port):
        load = [compiled("load"), port, str(connections), message, str(seconds)]
        with on(others, load) as (process, said):
            if said != "begin":
                raise SystemExit("the load did not begin")
            yield server.pid, process


def result_of(load: subprocess.Popen[str]) -> tuple[int, float]:
    """How many answers there were, in how many seconds."""
    assert load.stdout is not None
    answers, seconds = load.stdout.readline().split()
    return int(answers), float(seconds)


def cost(command: Command, work: Work) -> Cost:
    with under_load(command, work) as (server, load):
        before = used(server)
        answers, seconds = result_of(load)
        return Cost((used(server) - before) / answers * 1e6, answers / seconds)


def system_calls(command: Command, work: Work) -> float:
    """For each answer, as strace counts them."""
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


def table(
    title: str,
    servers: Mapping[str, Command],
    work: Work,
    rounds: int,
    required: Mapping[str, float],
    calls: bool = False,
) -> None:
    """Measure all of them in turn, print the best of each beside the first one.

    `required`: how many times as much as the first one a peer should take at least.
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
            mark = f">= {required[peer]}"
            line += f"{mark:>10}{'' if ratio >= required[peer] else '  missed'}"
        if calls:
            line += f"{system_calls(servers[peer], work):>8.2f} system calls"
        print(line, flush=True)
