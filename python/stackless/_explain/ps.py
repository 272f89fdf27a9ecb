"""``python -m stackless ps``: the tasklets of a running process."""

from __future__ import annotations

import argparse

from stackless._explain import text
from stackless._explain.client import Connection, command_of, run, serving, show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stackless ps",
        description="List the tasklets of a running process that serves explanations: one that was "
        "started with STACKLESS_EXPLAIN=1, or has called stackless.explain.serve().",
    )
    parser.add_argument(
        "pid",
        type=int,
        nargs="?",
        metavar="PID",
        help="without it, the processes that serve explanations are listed",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "-g", "--group", action="store_true", help="one line for tasklets that do the same"
    )
    form.add_argument("-s", "--stacks", action="store_true", help="a dump, with the stacks")
    return parser


def main(argv: list[str]) -> int:
    """Returns 0, or 1 if the process does not answer."""
    parser = _parser()
    given = parser.parse_args(argv)

    def command() -> None:
        if given.pid is None:
            show(_choice(serving()))
            return
        with Connection(given.pid) as connection:
            process = connection.snapshot()
        form = text.dump if given.stacks else text.ps_grouped if given.group else text.ps
        show(form(process))

    return run(parser.prog, command)


def _choice(pids: list[int]) -> list[str]:
    if not pids:
        return [
            "No process of this user serves explanations. One does if it was started with "
            "STACKLESS_EXPLAIN=1 or calls stackless.explain.serve()."
        ]
    width = len(str(max(pids)))
    return [
        f"{'PID':>{width}}  COMMAND",
        *(f"{pid:{width}}  {command_of(pid)}" for pid in pids),
        f"python -m stackless ps {pids[0]} lists the tasklets of the first one.",
    ]
