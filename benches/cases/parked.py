"""A tasklet is resumed and waits again, on its stack, and parked each time it waits."""

from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from harness import OURS, Case
from peers import stackless

PARKED = "stackless, parked"


def recurse(depth: int, operations: int) -> None:
    if depth:
        recurse(depth - 1, operations)
        return
    pause = stackless.schedule_remove
    for _ in repeat(None, operations + 1):
        pause(None)


def waiting(depth: int, operations: int) -> Any:
    t = stackless.tasklet(recurse)(depth, operations)
    t.run()
    return t


def on_stack(depth: int) -> Callable[[int], float]:
    def measure(operations: int) -> float:
        t = waiting(depth, operations)
        run = t.run
        start = perf_counter()
        for _ in repeat(None, operations):
            run()
        return perf_counter() - start

    return measure


def parked(depth: int) -> Callable[[int], float]:
    def measure(operations: int) -> float:
        from stackless import _stackless

        t = waiting(depth, operations)
        park, run = _stackless._park, t.run
        start = perf_counter()
        for _ in repeat(None, operations):
            park(t)
            run()
        return perf_counter() - start

    return measure


def case(depth: int) -> Case:
    made = Case(f"parked{depth}", f"resume a tasklet {depth} calls deep, which waits again")
    made.peer(OURS, "stackless")(on_stack(depth))
    made.peer(PARKED, "stackless")(parked(depth))
    return made


SHALLOW, DEEP = case(1), case(20)
