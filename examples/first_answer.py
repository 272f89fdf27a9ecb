"""Asks several mirrors at once and takes the first answer; gives up after a time, or when told to.

    python examples/first_answer.py

The mirrors are tasklets here that sleep before they answer. `alt()` waits for the first of their
answers, for the request to stop, and for the time, all at once.
"""

from __future__ import annotations

from typing import Any

import stackless


def mirror(name: str, seconds: float, answers: Any) -> None:
    """Answer after a while. The buffer takes answers that come too late."""
    stackless.sleep(seconds)
    answers.send(f"{name} answers after {seconds} s")


def first_answer(mirrors: dict[str, float], stop: Any, patience: float) -> str:
    """Return the first answer of the mirrors, or why there is none."""
    answers = stackless.channel(capacity=len(mirrors))
    for name, seconds in mirrors.items():
        stackless.tasklet(mirror)(name, seconds, answers).daemon = True
    try:
        case, value = stackless.alt(stop, answers, timeout=patience)
    except stackless.TimeoutError:
        return f"no answer in {patience} s"
    return "stopped: " + value if case is stop else value


def main() -> None:
    stop = stackless.channel(capacity=1)
    print(first_answer({"near": 0.01, "far": 0.5}, stop, patience=10))
    print(first_answer({"slow": 5.0, "slower": 9.0}, stop, patience=0.02))
    stop.send("the user has lost interest")
    print(first_answer({"near": 0.01, "far": 0.5}, stop, patience=10))


if __name__ == "__main__":
    main()
