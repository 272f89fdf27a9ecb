"""``python -m stackless.monkey``: run a program as it is, with its blocking calls patched."""

from __future__ import annotations

import argparse
import sys

from stackless import monkey
from stackless._package.own_code import hide_own_frames
from stackless._package.program import USAGE, add_arguments, found, required


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stackless.monkey",
        usage=f"%(prog)s [-h] {USAGE}",
        description="Patch the standard modules as stackless.monkey.patch_all() does, then run a "
        "Python program.",
    )
    add_arguments(parser)
    return parser


def main(argv: list[str]) -> int:
    """Run the program as `__main__`; returns 0 when it ends, 2 if it cannot be found.

    Exceptions of the program, SystemExit included, are raised here.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    required(given, parser)
    monkey.patch_all()
    program = found(given, parser.prog)
    if program is None:
        return 2
    hide_own_frames()
    program.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
