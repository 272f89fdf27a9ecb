"""``python -m stackless run``: run a program that was written for threads, as it is."""

from __future__ import annotations

import argparse
import atexit
import os
import resource
import sys
import time

from stackless import _stackless, monkey
from stackless._package.exit import enable_from
from stackless._package.own_code import hide_own_frames
from stackless._package.program import USAGE, add_arguments, found, required
from stackless._run import blocked
from stackless.monkey.threads import Settings


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"not a positive number of seconds: {text!r}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stackless run",
        usage=f"%(prog)s [OPTION ...] {USAGE}",
        description="Run a Python program written for threads. Its threads are tasklets of "
        "one OS thread, and the blocking calls of the standard library wait in them.",
        epilog="The exit status, signals and tracebacks are those of the program.",
    )
    parser.add_argument(
        "--blocked",
        type=_seconds,
        metavar="SECONDS",
        help="report a thread that lets no other one run for so long (STACKLESS_BLOCKED)",
    )
    parser.add_argument(
        "--stats", action="store_true", help="print at the end what was started and used, to stderr"
    )
    add_arguments(parser)
    return parser


class _Stats:
    """What a program has used since this object was made."""

    def __init__(self) -> None:
        _stackless._count_switches()
        self._begun = time.monotonic()
        self._tasklets = _stackless._all_time_count()

    def show(self) -> None:
        wall = time.monotonic() - self._begun
        used = resource.getrusage(resource.RUSAGE_SELF)
        rows = {
            "wall time": f"{wall:.3f} s",
            "processor time": f"{used.ru_utime + used.ru_stime:.3f} s",
            "largest memory": f"{used.ru_maxrss / 1024:.1f} MiB",
            "tasklets started": f"{_stackless._all_time_count() - self._tasklets}",
            "switches in the main thread": f"{_stackless._switches()}",
        }
        print("stackless run:", file=sys.stderr)
        for name, value in rows.items():
            print(f"  {name:28} {value}", file=sys.stderr)


def main(argv: list[str]) -> int:
    """Run the program as `__main__`; returns 0 when it ends, 2 if it cannot be found.

    Exceptions of the program, SystemExit included, are raised here.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    required(given, parser)
    monkey.patch_all()
    enable_from(os.environ, default=True)
    Settings.take_main()
    program = found(given, parser.prog)
    if program is None:
        return 2
    if given.blocked is not None:
        os.environ["STACKLESS_BLOCKED"] = f"{given.blocked}"  # for processes that it starts
        blocked.watch(given.blocked)
    if given.stats:
        atexit.register(_Stats().show)
    hide_own_frames()
    program.run()
    return 0
