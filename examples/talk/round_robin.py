"""Two tasklets take turns: `schedule()` lets everybody else run before it returns.

The scheduler goes round the ring of runnable tasklets, so both say hello before either leaves.

    python examples/talk/round_robin.py
"""

import stackless


def visit(name: str) -> None:
    print(f"Hello, {name}")
    stackless.schedule()
    print(f"Goodbye {name}")


if __name__ == "__main__":
    for name in "AB":
        stackless.tasklet(visit)(name)
    stackless.run()
