"""Two tasklets take turns: `schedule()` lets all other tasklets run before it returns.

The scheduler runs the tasklets of the run queue in turn, so both say hello before either ends.

    python examples/talk/round_robin.py [NAME ...]
"""

import sys

import stackless


def visit(name: str) -> None:
    print(f"Hello, {name}")
    stackless.schedule()
    print(f"Goodbye {name}")


if __name__ == "__main__":
    for name in sys.argv[1:] or "AB":
        stackless.tasklet(visit)(name)
    stackless.run()
