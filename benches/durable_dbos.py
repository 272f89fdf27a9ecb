"""DBOS doing what durable_workflows.py measures; for that file, in a process of its own.

python benches/durable_dbos.py URL one|many|empty WORKFLOWS STEPS    prints seconds
"""

import logging
import os
import sqlite3
import sys
from time import perf_counter

if sqlite3.sqlite_version_info < (3, 42):  # it stores NULL for times then, and fails
    import pysqlite3

    sys.modules["sqlite3"] = pysqlite3

from dbos import DBOS  # noqa: E402


@DBOS.step()
def work(number: int) -> int:
    return number


@DBOS.workflow()
def several(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += work(number)
    return total


@DBOS.workflow()
def empty() -> None:
    pass


def main(url: str, case: str, count: int, steps: int) -> None:
    logging.disable(logging.CRITICAL)
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "CRITICAL"})
    DBOS.launch()
    several(1)
    start = perf_counter()
    if case == "one":
        several(steps)
    else:
        function, given = (empty, ()) if case == "empty" else (several, (steps,))
        handles = [DBOS.start_workflow(function, *given) for _ in range(count)]
        for handle in handles:
            handle.get_result()
    print(perf_counter() - start, flush=True)
    os._exit(0)  # its threads take a while to stop


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
