"""``python -m stackless``: the package's tools for the command line."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import stackless

#: Subcommand -> the module in this package that has `main(argv: list[str]) -> int`, and a line
#: about it.
COMMANDS = {
    "cluster": ("cluster.cli", "show what the tasklets of a cluster do"),
    "compat": ("_compat.report", "list what an old Stackless program has to change"),
    "durable": ("durable.cli", "run workers for durable workflows, look at workflows"),
    "features": ("_package.features", "say what works on this Python and this system"),
    "ps": ("_explain.ps", "list the tasklets of a running process"),
    "pstree": ("_explain.pstree", "the same as a tree of threads, channels and tasklets"),
    "record": ("_record.cli", "run a script and save what its tasklets did"),
    "run": ("_run.cli", "run a program that was written for threads, on tasklets"),
    "serve": ("_serve.cli", "serve a WSGI application on tasklets"),
    "top": (
        "_explain.top",
        "show which tasklets of a running process are switched to most",
    ),
}


def overview() -> str:
    lines = [f"  {name:10}{about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m stackless COMMAND ...",
            "",
            "Tasklets and channels: Stackless Python on stock CPython.",
            "",
            "commands:",
            *lines,
            "",
            "python -m stackless COMMAND --help says more about one of them.",
            "python -m stackless --version prints the versions of the package and of Python.",
        ]
    )


def version() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return f"stackless-rs {stackless.__version__}, {sys.implementation.name} {python}"


def main(argv: list[str]) -> int:
    """Run one subcommand; returns its exit status, 2 for a command that does not exist."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] in ("-V", "--version"):
        print(version())
        return 0
    if argv[0] not in COMMANDS:
        print(f"python -m stackless: no such command: {argv[0]}", file=sys.stderr)
        print(overview(), file=sys.stderr)
        return 2
    module, _ = COMMANDS[argv[0]]
    status: int = import_module(f"stackless.{module}").main(argv[1:])
    return status


def command(argv: list[str]) -> int:
    """Run one subcommand as the whole process; without a traceback if its output cannot be written.

    What a program raises that `run` or `record` runs is raised here, as `python` shows it.
    """
    if argv and argv[0] in ("record", "run"):
        return main(argv)
    try:
        status = main(argv)
        if sys.stdout is not None:  # it is None if the process was started without
            sys.stdout.flush()
    except OSError as error:
        # If the program that reads the output has ended, that is no error of this one.
        if not isinstance(error, BrokenPipeError):
            print(f"python -m stackless: {error}", file=sys.stderr)
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
