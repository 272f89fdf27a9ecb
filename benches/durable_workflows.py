"""Durable workflows beside plain commits of SQLite, in interleaved rounds.

python benches/durable_workflows.py [--rounds N] [--steps N] [--folder FOLDER]

The floor is one row of 1,000 bytes and one commit for each step, with the same settings of the
database, by a plain program.
"""

import argparse
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from time import perf_counter

from stackless import durable


@durable.step
def work(number: int) -> int:
    return number


@durable.workflow
def one(steps: int) -> int:
    return sum([work(number) for number in range(steps)])


@durable.workflow
def empty() -> None:
    pass


def floor(path: str, steps: int) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, data BLOB)")
    start = perf_counter()
    for _ in range(steps):
        connection.execute("INSERT INTO rows (data) VALUES (?)", (b"x" * 1000,))
    seconds = perf_counter() - start
    connection.close()
    return seconds


def steps_of_one(path: str, steps: int) -> float:
    app = durable.App("bench", f"sqlite:///{path}")
    start = perf_counter()
    app.run(one, steps)
    seconds = perf_counter() - start
    app.close()
    return seconds


def many(workflow: Callable[..., object], count: int, *arguments: object) -> Callable[..., float]:
    """Measure `count` workflows at once, from the first claim to the end of the last."""

    def measure(path: str, steps: int) -> float:
        app = durable.App("bench", f"sqlite:///{path}")
        given = [steps // count] if arguments else []
        handles = [app.start(workflow, *given) for _ in range(count)]
        worker = threading.Thread(target=app.serve, kwargs={"concurrency": count})
        start = perf_counter()
        worker.start()
        try:
            for handle in handles:
                handle.result()
            return perf_counter() - start
        finally:
            app.stop()
            worker.join()
            app.close()

    return measure


def main(rounds: int, steps: int, folder: str | None) -> None:
    cases: dict[str, tuple[Callable[..., float], int]] = {
        "commits of SQLite, one for each step": (floor, steps),
        "steps of one workflow": (steps_of_one, steps),
        "steps of 200 workflows at once": (many(one, 200, steps), 10 * steps),
        "empty workflows": (many(empty, steps), steps),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, (measure, count) in cases.items():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                rates[name].append(count / measure(f"{place}/{number}.db", count))
    base = rates["commits of SQLite, one for each step"]
    print(f"{'':40} {'per second':>12}  times the floor of the same round, median")
    for name, found in rates.items():
        ratios = sorted(each / lowest for each, lowest in zip(found, base, strict=True))
        print(f"{name:40} {max(found):12,.0f}  {ratios[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds to run (5)")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="steps (1000)")
    parser.add_argument("--folder", metavar="FOLDER", help="where the databases are made")
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.steps, arguments.folder)
