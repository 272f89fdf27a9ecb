"""Durable workflows beside plain commits of the same database, and beside DBOS, in one run.

python benches/durable_workflows.py [--rounds N] [--steps N] [--folder FOLDER] [--postgres URL]
                                    [--no-dbos]

The floor is one row of 1,000 bytes and one commit for each step, with the same settings of the
database, by a plain program. Rounds are interleaved. Without a URL, PostgreSQL is started if it is
installed, with fsync. DBOS is measured if it is installed (benches/durable-requirements.txt).
"""

import argparse
import contextlib
import importlib.util
import itertools
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from stackless import durable

HERE = Path(__file__).parent
KEY = b"a key of the benchmark"
#: Seconds that workflows sleep; longer than it takes to start them all.
ASLEEP = 3.0


@durable.step
def work(number: int) -> int:
    return number


@durable.workflow
def several(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += work(number)
    return total


@durable.workflow
def empty() -> None:
    pass


def deep(depth: int, until: float) -> int:
    if depth:
        return 1 + deep(depth - 1, until)
    durable.sleep(until)
    return 1


@durable.workflow
def sleeping(depth: int, seconds: float) -> int:
    return deep(depth, seconds)


# ------------------------------------------------------------------ what is measured


def floor(url: str, steps: int) -> float:
    """Seconds for one plain commit for each step."""
    insert = "INSERT INTO plain_rows (data) VALUES (%s)"
    if url.startswith("sqlite"):
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        insert = insert.replace("%s", "?")
    else:
        import psycopg

        connection = psycopg.connect(url, autocommit=True)
    connection.execute("CREATE TABLE plain_rows (data BYTEA)")
    start = perf_counter()
    for _ in range(steps):
        connection.execute(insert, (b"x" * 1000,))
    seconds = perf_counter() - start
    connection.close()
    return seconds


def one(url: str, steps: int) -> float:
    app = durable.App("bench", url, key=KEY)
    app.run(several, 1)
    start = perf_counter()
    app.run(several, steps)
    seconds = perf_counter() - start
    app.close()
    return seconds


def wait_for_all(app: durable.App, *statuses: str) -> None:
    """Wait until no workflow is ready, running, or in one of these states."""
    while any(app.workflows(status=each, limit=1) for each in ("ready", "running", *statuses)):
        sleep(0.01)  # asking costs the worker time


@contextlib.contextmanager
def worker(app: durable.App, concurrency: int) -> Iterator[None]:
    thread = threading.Thread(target=app.serve, kwargs={"concurrency": concurrency})
    thread.start()
    try:
        yield
    finally:
        app.stop()
        thread.join()
        app.close()


def many(count: int) -> Callable[[str, int], float]:
    """Steps of `count` workflows at once, from the first claim to the end of the last."""

    def measure(url: str, steps: int) -> float:
        app = durable.App("bench", url, key=KEY)
        app.start_all(several, [(steps // count,)] * count)
        start = perf_counter()
        with worker(app, count):
            wait_for_all(app)
            return perf_counter() - start

    return measure


def empties(url: str, count: int) -> float:
    """Empty workflows, from the start of the first to the end of the last."""
    app = durable.App("bench", url, key=KEY)
    with worker(app, 1000):
        start = perf_counter()
        for _ in range(count):
            app.start(empty)
        wait_for_all(app)
        return perf_counter() - start


def together(url: str, count: int) -> float:
    """The same, started with one call."""
    app = durable.App("bench", url, key=KEY)
    with worker(app, 1000):
        start = perf_counter()
        app.start_all(empty, [()] * count)
        wait_for_all(app)
        return perf_counter() - start


def wakes(url: str, count: int) -> float:
    """Workflows ten calls deep, from when their sleep is over to the end of the last."""
    app = durable.App("bench", url, key=KEY)
    app.start_all(sleeping, [(10, ASLEEP)] * count)
    with worker(app, count):
        wait_for_all(app)
    app = durable.App("bench", url, key=KEY)
    if len(app.workflows(status="sleeping", limit=count)) != count:
        raise RuntimeError(f"some workflows woke before all slept: make ASLEEP longer ({ASLEEP} s)")
    sleep(ASLEEP)
    start = perf_counter()
    with worker(app, count):
        wait_for_all(app, "sleeping")
        return perf_counter() - start


def dbos(case: str, count: int) -> Callable[[str, int], float]:
    """The same of DBOS; it starts its workflows in the time that is measured."""

    def measure(url: str, steps: int) -> float:
        each = steps if case == "empty" else steps // count
        workflows = steps if case == "empty" else count
        command = [sys.executable, str(HERE / "durable_dbos.py"), url, case, f"{workflows}"]
        done = subprocess.run([*command, f"{each}"], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"DBOS failed:\n{done.stderr[-2000:]}")
        return float(done.stdout.split()[-1])

    return measure


# ------------------------------------------------------------------ databases


@contextlib.contextmanager
def postgres(url: str | None) -> Iterator[Callable[[], str] | None]:
    """Give a function that makes a database and returns its URL; None without PostgreSQL."""
    with contextlib.ExitStack() as stack:
        if url is None:
            sys.path.append(str(HERE.parent / "tests" / "libraries"))
            import servers

            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="postgresql"))
            try:
                server = servers.PostgreSQL(folder)
            except BaseException as error:
                print(f"without PostgreSQL: {error}")
                yield None
                return
            stack.enter_context(server.running("-c", "fsync=on"))
            url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
        import psycopg

        numbers = itertools.count(1)

        def new() -> str:
            name = f"bench{next(numbers)}"
            with contextlib.closing(psycopg.connect(url, autocommit=True)) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return f"{url.rpartition('/')[0]}/{name}"

        yield new


def report(name: str, rates: dict[str, list[float]]) -> None:
    print(f"\n{name:44} {'per second':>10} {'of the floor':>13} {'of DBOS':>8}   (medians)")
    base = rates["plain commits, one for each step"]
    for case, found in rates.items():
        text = f"{case:44} {statistics.median(found):10,.0f}"
        against = statistics.median(a / b for a, b in zip(found, base, strict=True))
        text += f" {against:13.2f}"
        if (peer := rates.get(f"DBOS: {case}")) is not None:
            text += f" {statistics.median(a / b for a, b in zip(found, peer, strict=True)):8.1f}"
        print(text)


Cases = dict[str, tuple[Callable[[str, int], float], int]]


def run(name: str, new: Callable[[], str], cases: Cases, rounds: int) -> None:
    """Measure all cases in each round, on databases that `new` makes, and print the medians."""
    rates: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case, (measure, count) in cases.items():
            rates[case].append(count / measure(new(), count))
    report(name, rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds to run (3)")
    parser.add_argument("--steps", type=int, default=3000, metavar="N", help="steps (3000)")
    parser.add_argument("--folder", metavar="FOLDER", help="where SQLite's databases are made")
    parser.add_argument("--postgres", metavar="URL", help="a PostgreSQL server's database")
    parser.add_argument("--no-dbos", action="store_true", help="without DBOS")
    given = parser.parse_args()
    steps = given.steps
    cases: Cases = {
        "plain commits, one for each step": (floor, steps),
        "steps of one workflow": (one, steps),
        "steps of 1,000 workflows at once": (many(1000), 20_000),
        "empty workflows, started and run": (empties, steps),
        "empty workflows, started with one call": (together, steps),
        "workflows 10 calls deep that wake up": (wakes, steps),
    }
    if not given.no_dbos and importlib.util.find_spec("dbos"):
        cases["DBOS: steps of one workflow"] = dbos("one", 1), steps // 2
        cases["DBOS: steps of 1,000 workflows at once"] = dbos("many", 1000), 2000
        cases["DBOS: empty workflows, started and run"] = dbos("empty", 0), steps // 2
    numbers = itertools.count(1)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        run("SQLite", lambda: f"sqlite:///{folder}/{next(numbers)}.db", cases, given.rounds)
    with postgres(given.postgres) as new:
        if new is not None:
            run("PostgreSQL", new, cases, given.rounds)


if __name__ == "__main__":
    main()
