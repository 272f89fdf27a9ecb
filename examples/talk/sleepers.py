"""Three ways to sleep: fried spam and eggs are ready after different times.

In the first, every tasklet reads the clock at each of its turns. In the second, one tasklet reads
it for all of them. In the third, no tasklet does: `stackless.sleep` waits in the system.

    python examples/talk/sleepers.py [--times | --system]
"""

import argparse
import time
from collections.abc import Callable

import stackless

MEAL = [("eggs", 0.2), ("spam", 0.1), ("fried spam", 0.3)]


def busy_sleep(seconds: float) -> None:
    """Wait by reading the clock at every turn."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        stackless.schedule()


class SharedSleeper:
    """One tasklet reads the clock; the others wait in channels until it wakes them."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, int, stackless.channel]] = []

    def sleep(self, seconds: float) -> None:
        channel = stackless.channel()
        if not self.waiting:
            stackless.tasklet(self.look)()
        self.waiting.append((time.monotonic() + seconds, len(self.waiting), channel))
        channel.receive()

    def look(self) -> None:
        while True:
            self.waiting.sort()
            if not self.waiting:
                return
            if self.waiting[0][0] <= time.monotonic():
                self.waiting.pop(0)[2].send(None)
            stackless.schedule()


def cook(dish: str, seconds: float, sleep: Callable[[float], None]) -> None:
    sleep(seconds)
    print(f"  {dish} ready")


def processor_time(sleep: Callable[[float], None]) -> float:
    """Cook the meal, and return how many seconds the processor was busy."""
    before = time.process_time()
    for dish, seconds in MEAL:
        stackless.tasklet(cook)(dish, seconds, sleep)
    stackless.run()
    return time.process_time() - before


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sleep in three ways.")
    parser.add_argument("--times", action="store_true", help="print how busy the processor was")
    parser.add_argument("--system", action="store_true", help="only the way of today")
    arguments = parser.parse_args()
    if arguments.system:
        processor_time(stackless.sleep)
        parser.exit()
    ways: list[tuple[str, Callable[[float], None]]] = [
        ("everybody looks at the clock", busy_sleep),
        ("one looks for all", SharedSleeper().sleep),
        ("the system wakes them", stackless.sleep),
    ]
    used = []
    for title, sleep in ways:
        print(f"{title}:")
        used.append(processor_time(sleep))
        if arguments.times:
            print(f"  processor: {used[-1]:.3f} s")
    print(f"the last one kept the processor {'idle' if used[2] < min(used[:2]) / 4 else 'busy'}")
