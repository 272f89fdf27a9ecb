"""A thousand tasklets that do nothing: bare ones, and those of a task group. The time of one."""

import asyncio
from itertools import repeat
from time import perf_counter

from harness import OURS, Case
from peers import stackless

CASE = Case("group", "start 1000 tasklets, and wait until they have ended")
GROUP = "stackless, in a group"
COUNT = 1000


def nothing() -> None:
    pass


@CASE.peer(OURS, "stackless")
def bare(operations: int) -> float:
    tasklet, run = stackless.tasklet, stackless.run
    start = perf_counter()
    for _ in repeat(None, max(operations // COUNT, 1)):
        for _ in repeat(None, COUNT):
            tasklet(nothing)()
        run()
    return per_operation(perf_counter() - start, operations)


@CASE.peer(GROUP, "stackless")
def grouped(operations: int) -> float:
    group_of = stackless.TaskGroup
    start = perf_counter()
    for _ in repeat(None, max(operations // COUNT, 1)):
        with group_of() as group:
            for _ in repeat(None, COUNT):
                group.start(nothing)
    return per_operation(perf_counter() - start, operations)


@CASE.peer("asyncio.TaskGroup")
def on_asyncio(operations: int) -> float:
    async def task() -> None:
        pass

    async def main() -> float:
        start = perf_counter()
        for _ in repeat(None, max(operations // COUNT, 1)):
            async with asyncio.TaskGroup() as group:
                for _ in repeat(None, COUNT):
                    group.create_task(task())
        return perf_counter() - start

    return per_operation(asyncio.run(main()), operations)


def per_operation(seconds: float, operations: int) -> float:
    """The time for this number of operations: at least one group was measured."""
    return seconds * operations / (max(operations // COUNT, 1) * COUNT)
