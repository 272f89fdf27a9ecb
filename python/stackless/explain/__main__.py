"""``python -m stackless.explain``: the same as ``python -m stackless ps``."""

import sys

from stackless.__main__ import command

if __name__ == "__main__":
    sys.exit(command(["ps", *sys.argv[1:]]))
