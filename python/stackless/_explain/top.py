"""``python -m stackless top``: which tasklets of a running process are switched to most."""

from __future__ import annotations

import argparse
import sys
import time

from stackless._explain import text
from stackless._explain.client import Connection, run, show
from stackless._package.command import interval


def main(argv: list[str]) -> int:
    """Returns 0, or 1 if the process does not answer."""
    parser = argparse.ArgumentParser(
        prog="python -m stackless top",
        description="Show repeatedly which tasklets of a running process are switched to most. "
        "Switches are counted while this command runs.",
    )
    parser.add_argument("pid", type=int, metavar="PID")
    parser.add_argument(
        "-i", "--interval", type=interval, default=2.0, metavar="SECONDS", help="2 by default"
    )
    parser.add_argument("-n", "--lines", type=int, default=20, help="how many tasklets (20)")
    parser.add_argument("--once", action="store_true", help="show one table and end")
    given = parser.parse_args(argv)

    def command() -> None:
        with Connection(given.pid) as connection:
            connection.count()
            before, at = connection.snapshot(), time.monotonic()
            while True:
                time.sleep(given.interval)
                after, now = connection.snapshot(), time.monotonic()
                if not given.once and sys.stdout.isatty():
                    print("\x1b[H\x1b[2J", end="")
                show(text.top(before, after, now - at, given.lines))
                sys.stdout.flush()
                if given.once:
                    return
                before, at = after, now

    return run(parser.prog, command)
