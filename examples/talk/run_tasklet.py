"""Wait for some tasklets but not for all: the program ends when those that must finish have ended.

`run_tasklet` counts the living ones and `run_all` schedules until the count is 0; a pump that never
ends is started as a plain tasklet and is not waited for, and an error does not change the count.

    python examples/talk/run_tasklet.py
"""

from collections.abc import Callable
from typing import Any

import stackless

unfinished = 0


def run_tasklet(function: Callable[..., Any], *args: Any) -> stackless.tasklet:
    """Start a tasklet that `run_all` waits for."""
    global unfinished
    unfinished += 1
    return stackless.tasklet(_counted)(function, args)


def _counted(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    global unfinished
    try:
        function(*args)
    finally:
        unfinished -= 1


def run_all() -> None:
    """Run all tasklets in turn until those that must finish have ended."""
    while unfinished:
        stackless.schedule()


def pump() -> None:
    while True:
        stackless.schedule()


def count_down(name: str, n: int) -> None:
    while n:
        print(f"{name}: {n}")
        stackless.schedule()
        n -= 1
    print(f"{name}: done")


def fail(name: str) -> None:
    stackless.schedule()
    raise ValueError(f"{name} failed")


if __name__ == "__main__":
    endless = stackless.tasklet(pump)()
    run_tasklet(count_down, "A", 3)
    run_tasklet(fail, "B")
    run_tasklet(count_down, "C", 1)
    try:
        run_all()
    except ValueError as error:
        print(f"{error}, {unfinished} to go")
    run_all()
    print(f"all finished, the pump is {'still running' if endless.alive else 'dead'}")
    endless.kill()
