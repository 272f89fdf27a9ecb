"""Pickling a waiting tasklet with `dumps` and `loads`, beside `pickle` of a plain object graph.

The graph has as many objects as the tasklet has calls, each with a name, a position and variables.
"""

import pickle
from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

from harness import OURS, Case
from peers import stackless

PLAIN = "pickle of plain objects"
DEPTHS = (1, 10, 100)


class Call:
    """What a plain program would keep of a call."""

    def __init__(self, function: str, position: int, variables: dict[str, Any]) -> None:
        self.function = function
        self.position = position
        self.variables = variables


def go_down(calls: int, total: float, name: str) -> None:
    if calls == 1:
        stackless.schedule_remove()
        return
    go_down(calls - 1, total + 0.5, name)


def waiting(depth: int, function: Callable[..., None] = go_down) -> Any:
    made = stackless.tasklet(function)(depth, 1.5, "order")
    stackless.run()
    return made


def waiting_by_value(depth: int) -> Any:
    """The same in a function that has no name for pickle."""

    def by_value(calls: int, total: float, name: str) -> None:
        if calls == 1:
            stackless.schedule_remove()
            return
        by_value(calls - 1, total + 0.5, name)

    return waiting(depth, by_value)


def plain(depth: int) -> list[Call]:
    return [
        Call(
            "snapshot.go_down", 30 + each % 2, {"calls": each, "total": 1.5 + each, "name": "order"}
        )
        for each in range(depth)
    ]


def repeated(make: Callable[[], Callable[[], Any]]) -> Callable[[int], float]:
    """Measure calls of what `make` returns."""

    def measure(operations: int) -> float:
        call = make()
        start = perf_counter()
        for _ in repeat(None, operations):
            call()
        return perf_counter() - start

    return measure


def dumping(thing: Any) -> Callable[[], bytes]:
    return lambda: stackless.dumps(thing)


def loading(thing: Any) -> Callable[[], Any]:
    blob = stackless.dumps(thing)
    return lambda: stackless.loads(blob)


def pickling(thing: Any) -> Callable[[], bytes]:
    return lambda: pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)


def unpickling(thing: Any) -> Callable[[], Any]:
    data = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
    return lambda: pickle.loads(data)


def dumps_case(depth: int, make: Callable[[int], Any] = waiting, name: str = "") -> Case:
    made = Case(f"dumps{name}{depth}", f"dumps() of a tasklet with {depth} {name or 'calls'}")
    made.peer(OURS, "stackless")(repeated(lambda: dumping(make(depth))))
    made.peer(PLAIN)(repeated(lambda: pickling(plain(depth))))
    return made


def loads_case(depth: int) -> Case:
    made = Case(f"loads{depth}", f"loads() of a tasklet with {depth} calls")
    made.peer(OURS, "stackless")(repeated(lambda: loading(waiting(depth))))
    made.peer(PLAIN)(repeated(lambda: unpickling(plain(depth))))
    return made


DUMPS = {depth: dumps_case(depth) for depth in DEPTHS}
LOADS = {depth: loads_case(depth) for depth in DEPTHS}
BY_VALUE = dumps_case(1, waiting_by_value, "call by value")
