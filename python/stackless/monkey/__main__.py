"""``python -m stackless.monkey``: run a program as it is, with its blocking calls patched."""

from __future__ import annotations

import argparse
import os
import runpy
import sys

from stackless import monkey
from stackless._package.own_code import hide_own_frames


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stackless.monkey",
        usage="%(prog)s [-h] (PROGRAM | -m MODULE) [ARGUMENT ...]",
        description="Patch the standard modules as stackless.monkey.patch_all() does, then run a "
        "Python program.",
    )
    parser.add_argument("-m", dest="is_module", action="store_true", help="run a module")
    parser.add_argument("program", help="a file, or a directory or zip file with a __main__.py")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="those of the program")
    return parser


def main(argv: list[str]) -> int:
    """Run the program as `__main__`; returns 0 when it ends.

    Exceptions of the program, SystemExit included, are raised here.
    """
    given = _parser().parse_args(argv)
    sys.argv = [given.program, *given.arguments]
    monkey.patch_all()
    hide_own_frames()
    if given.is_module:
        sys.path[0] = os.getcwd()
        runpy.run_module(given.program, run_name="__main__", alter_sys=True)
    else:
        if os.path.isfile(given.program):
            sys.path[0] = os.path.dirname(os.path.abspath(given.program))
        runpy.run_path(given.program, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
