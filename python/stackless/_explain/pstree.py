"""``python -m stackless pstree``: the tasklets of a running process as a tree."""

from __future__ import annotations

import argparse

from stackless._explain import text
from stackless._explain.client import Connection, run, show


def main(argv: list[str]) -> int:
    """Returns 0, or 1 if the process does not answer."""
    parser = argparse.ArgumentParser(
        prog="python -m stackless pstree",
        description="Show the threads of a running process, below them the channels that tasklets "
        "wait in and the other states, below them the tasklets.",
    )
    parser.add_argument("pid", type=int, metavar="PID")
    parser.add_argument("-a", "--all", action="store_true", help="a line for every tasklet")
    given = parser.parse_args(argv)

    def command() -> None:
        with Connection(given.pid) as connection:
            process = connection.snapshot()
        show(text.pstree(process, given.all))

    return run(parser.prog, command)
