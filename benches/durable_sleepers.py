"""A store with a million sleeping workflows: size, start of a worker, memory, late wake-ups.

python benches/durable_sleepers.py [--count N] [--waking N] [--folder FOLDER] [--postgres URL]

Starting a million workflows one by one would take minutes, so the rows of most are copies of one
that sleeps for a year, made by the database. The others are started, and wake meanwhile. The worker
is a process of its own.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stackless import durable

import durable_workflows
import process_memory

KEY = b"a key of the benchmark"


@durable.step
def note(due: float) -> float:
    return time.time() - due


@durable.workflow
def sleeper(seconds: float) -> float:
    due = time.time() + seconds
    durable.sleep(seconds)
    return note(due)


@durable.workflow
def empty() -> None:
    pass


COPY = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
INSERT INTO durable_workflows ({columns}) SELECT {values}
FROM numbers, durable_workflows WHERE id = 'template'
"""


def columns(app: durable.App) -> list[str]:
    """The columns of the table of workflows."""
    database = app._store._database
    statement = "SELECT name FROM pragma_table_info('durable_workflows')"
    if not hasattr(database, "path"):
        statement = (
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = 'durable_workflows' AND table_schema = current_schema()"
        )
    return [name for (name,) in database.read(statement)]


def fill(app: durable.App, count: int) -> None:
    """Copy the workflow `template`, with times in the year after it."""
    names = columns(app)
    # The ids are as long as those that are made for workflows.
    own = {"id": "'copy' || (1000000000000000000 + n)", "due": "due + n"}
    statement = COPY.format(
        count=count, columns=", ".join(names), values=", ".join(own.get(n, n) for n in names)
    )
    app._store._write(lambda to: to.run(statement)).result()
    app._store._write(lambda to: to.run("ANALYZE")).result()  # as autovacuum does


@contextlib.contextmanager
def worker(url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, __file__, "--worker", url], text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def serve(url: str) -> None:
    durable.App("bench", url, key=KEY).serve(concurrency=1000)


def until(handle: durable.Handle, status: str) -> None:
    while handle.status() != status:
        time.sleep(0.005)


def size(app: durable.App, folder: str) -> int:
    if hasattr(app._store._database, "path"):
        app._store._read("PRAGMA wal_checkpoint(TRUNCATE)")
        return sum(os.path.getsize(each) for each in Path(folder).glob("sleepers.db*"))
    return int(app._store._read("SELECT pg_database_size(current_database())")[0][0])


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, url: str, folder: str, count: int, waking: int) -> None:
    print(f"\n{name}")
    app = durable.App("bench", url, key=KEY)
    with worker(url) as process:
        app.start(empty).result()
        resident = process_memory.memory(process.pid)[0]
        until(app.start(sleeper, 365 * 86400.0, id="template"), "sleeping")
    print(f"  a worker, the store empty: {resident / 1e6:.0f} MB resident")
    before, start = size(app, folder), time.perf_counter()
    fill(app, count)
    seconds = time.perf_counter() - start
    each = (size(app, folder) - before) / count
    print(f"  {count:,} copies made in {seconds:.0f} s: {each:.0f} bytes each, with all indexes")

    start = time.perf_counter()
    with worker(url) as process:
        app.start(empty).result()
        print(f"  first workflow done {time.perf_counter() - start:.2f} s after its worker's start")
        chance = random.Random(1)
        began = time.perf_counter()
        handles = [app.start(sleeper, chance.uniform(5, 20)) for _ in range(waking)]
        print(f"  {waking:,} more started in {time.perf_counter() - began:.1f} s; each wakes")
        late = sorted(handle.result() for handle in handles)
        print(
            f"  late by {late[len(late) // 2] * 1000:.0f} ms (median), "
            f"{late[len(late) * 99 // 100] * 1000:.0f} ms (99 %), {late[-1] * 1000:.0f} ms (most)"
        )
        spent = processor_time(process.pid)
        time.sleep(10)
        idle = (processor_time(process.pid) - spent) / 10
        resident = process_memory.memory(process.pid)[0]
        print(
            f"  the worker: {resident / 1e6:.0f} MB resident; {idle:.1%} of a core while it waits"
        )
    app.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000, metavar="N", help="(1,000,000)")
    parser.add_argument("--waking", type=int, default=2000, metavar="N", help="that wake (2000)")
    parser.add_argument("--folder", metavar="FOLDER", help="where SQLite's database is made")
    parser.add_argument("--postgres", metavar="URL", help="a PostgreSQL server's database")
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        serve(given.worker)
        return
    with (
        tempfile.TemporaryDirectory(dir=given.folder) as folder,
        durable_workflows.postgres(given.postgres) as new,
    ):
        url = f"sqlite:///{folder}/sleepers.db"
        measure("SQLite", url, folder, given.count, given.waking)
        if new is not None:
            measure("PostgreSQL", new(), folder, given.count, given.waking)


if __name__ == "__main__":
    main()
