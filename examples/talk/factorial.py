"""Recursion without a limit: each level runs in its own tasklet.

`call(f, *args)` starts `f` in a new tasklet and waits for its result on a fresh channel, so a
thousand levels are a thousand short stacks instead of one deep one.

    python examples/talk/factorial.py [--time | --call N]
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import stackless


def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call the function in a new tasklet, and wait for its result."""
    result = stackless.channel()
    stackless.tasklet(_send_result)(result, function, args)
    return result.receive()


def _send_result(
    result: stackless.channel, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    result.send(function(*args))


def plain_factorial(n: int) -> int:
    return 1 if n <= 1 else n * plain_factorial(n - 1)


def factorial(n: int) -> int:
    return 1 if n <= 1 else n * call(factorial, n - 1)


def main() -> None:
    print(f"5! = {plain_factorial(5)}")
    try:
        plain_factorial(1000)
    except RecursionError as error:
        # Some versions also say where the limit was reached ("... in comparison").
        print(f"1000! = {str(error).removesuffix(' in comparison')}")
    print(f"1000! / 998! = {call(factorial, 1000) // call(factorial, 998)}")


def best_time(compute: Callable[[], int], repeats: int = 20) -> float:
    """Return the shortest of some runs, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
        stackless.run()  # tasklets that have sent their result end now
    return min(times) * 1e3


def print_times() -> None:
    sys.setrecursionlimit(sys.getrecursionlimit() + 1000)  # for 998 levels of plain calls
    plain = best_time(lambda: plain_factorial(998))
    tasklets = best_time(lambda: call(factorial, 998))
    print(f"998!: plain {plain:.2f} ms, tasklets {tasklets:.2f} ms ({tasklets / plain:.1f}x)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Factorials, plain and with tasklets.")
    parser.add_argument("--time", action="store_true", help="time 998! both ways as well")
    parser.add_argument("--call", type=int, metavar="N", help="only N!, with tasklets")
    arguments = parser.parse_args()
    if arguments.call is not None:
        print(f"{arguments.call}! = {call(factorial, arguments.call)}")
        stackless.run()
    else:
        main()
    if arguments.time:
        print_times()
