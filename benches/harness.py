"""Measure cases in interleaved rounds, each beside an empty call, and print them as tables.

A case is one kind of work, done by several peers. A peer's function does the work a given number of
times and returns the seconds that took. All peers of a case run in turn in each round, so that a
slow period of the machine affects all of them; an empty C call is timed before each of them, and
the times of a round are divided by the shortest of its empty calls.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from time import perf_counter
from typing import Any

import go
import peers

Measure = Callable[[int], float]

OURS = "ours"
GRAIN = 1000  # numbers of operations are multiples of this


def _empty_function() -> tuple[Callable[[], Any], str]:
    if peers.stackless is None:
        return math.gcd, "math.gcd(), for want of our own"
    return peers.stackless._stackless._noop_fastcall, "an empty METH_FASTCALL function"


EMPTY_FUNCTION, EMPTY_NAME = _empty_function()


def empty_call(operations: int) -> float:
    """Return the seconds of `operations` calls of an empty C function in a `for` loop."""
    call = EMPTY_FUNCTION
    start = perf_counter()
    for _ in repeat(None, operations):
        call()
    return perf_counter() - start


@dataclass
class Peer:
    name: str
    measure: Measure
    needs: str | None


@dataclass
class Case:
    """One kind of work and its peers; `operations` is the number, by default calibrated."""

    name: str
    title: str
    operations: int | None = None
    only_on_request: bool = False
    peers: list[Peer] = field(default_factory=list)

    def peer(self, name: str, needs: str | None = None) -> Callable[[Measure], Measure]:
        def add(measure: Measure) -> Measure:
            self.peers.append(Peer(name, measure, needs))
            return measure

        return add

    def go(self) -> None:
        """Add Go as a peer, which has a mode of the same name."""
        self.peers.append(Peer("Go", lambda operations: go.seconds(self.name, operations), "go"))


@dataclass
class Result:
    """The measures of one peer, per round: nanoseconds, and multiples of the empty call."""

    ns: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    problem: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.ns)

    @property
    def best(self) -> float:
        return min(self.ns)

    def as_json(self) -> dict[str, Any]:
        if self.problem:
            return {"problem": self.problem}
        return {
            "median_ns": self.median,
            "best_ns": self.best,
            "median_ratio": statistics.median(self.ratios),
            "best_ratio": min(self.ratios),
            "rounds_ns": self.ns,
        }


def calibrate(measure: Measure, seconds: float) -> int:
    """Return the number of operations that take about `seconds`. Also warms up."""
    operations = GRAIN
    while True:
        taken = measure(operations)
        if taken >= seconds / 3:
            return max(GRAIN, round(operations * seconds / taken / GRAIN) * GRAIN)
        growth = seconds / taken if taken > 0 else 10
        operations = round(operations * min(10, max(2, growth)) / GRAIN) * GRAIN


def problem_of(peer: Peer) -> str | None:
    if peer.needs == "go":
        return go.problem()
    return f"skipped: {peer.needs} is not installed" if peers.missing(peer.needs) else None


def run_case(
    case: Case, rounds: int, seconds: float, only: set[str] | None = None
) -> dict[str, Result]:
    """Measure the peers of a case, each for about `seconds` in each round."""
    chosen = [peer for peer in case.peers if only is None or peer.name in only]
    results = {peer.name: Result(problem=problem_of(peer)) for peer in chosen}
    operations: dict[str, int] = {}
    floor_operations = calibrate(empty_call, seconds / 4)

    def measure(peer: Peer) -> float | None:
        """Return nanoseconds per operation; None if the peer fails, which its result then says."""
        try:
            if peer.name not in operations:
                operations[peer.name] = case.operations or calibrate(peer.measure, seconds)
            return peer.measure(operations[peer.name]) / operations[peer.name] * 1e9
        except (OSError, RuntimeError, MemoryError) as error:
            results[peer.name].problem = f"failed: {type(error).__name__}: {error}"
            return None

    for _ in range(rounds):
        floors = []
        measured: dict[str, float] = {}
        for peer in chosen:
            if results[peer.name].problem is None:
                floors.append(empty_call(floor_operations) / floor_operations * 1e9)
                ns = measure(peer)
                if ns is not None:
                    measured[peer.name] = ns
        for name, ns in measured.items():
            results[name].ns.append(ns)
            results[name].ratios.append(ns / min(floors))
    return results


def print_case(case: Case, results: dict[str, Result]) -> None:
    ours = results.get(OURS)
    our_median = ours.median if ours and not ours.problem else None
    width = max(len(name) for name in results)
    print(f"\n{case.title}  [{case.name}]")
    print(f"  {'':{width}} {'ns':>17}    {'x empty call':>15}  {'x ours':>9}")
    print(f"  {'':{width}} {'median':>9} {'best':>7}   {'median':>7} {'best':>8}  {'median':>9}")
    for name, result in results.items():
        if result.problem:
            print(f"  {name:{width}} {result.problem}")
            continue
        beside_ours = f"{result.median / our_median:9.2f}" if our_median else f"{'-':>9}"
        print(
            f"  {name:{width}} {result.median:9.0f} {result.best:7.0f}   "
            f"{statistics.median(result.ratios):7.1f} {min(result.ratios):8.1f}  {beside_ours}"
        )
