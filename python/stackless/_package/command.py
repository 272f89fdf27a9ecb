"""What the command lines of this package have in common."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def interval(given: str) -> float:
    """Return the seconds that an argument gives, for `type=`."""
    seconds = float(given)
    if not 0.05 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("between 0.05 and 3600 seconds")
    return seconds
