"""Two tasklets run one after the other, in the order in which they were made.

Neither switches to the other, so each runs from its beginning to its end.

    python examples/talk/greet.py [NAME ...]
"""

import sys

import stackless


def greet(name: str) -> None:
    print(f"Hello, {name}")


if __name__ == "__main__":
    for name in sys.argv[1:] or "AB":
        stackless.tasklet(greet)(name)
    stackless.run()
