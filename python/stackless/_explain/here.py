"""What this process tells about itself in explanations: its name, its threads, its ages."""

from __future__ import annotations

import os
import sys
import threading

from stackless import _stackless
from stackless._explain.data import Process, TaskletInfo


def process_here(tasklets: list[TaskletInfo], seconds: float) -> Process:
    """Return a snapshot of this process that was taken in one slice of this many seconds."""
    return Process(
        os.getpid(), program(), thread_names(), tasklets, seconds, 1, seconds, keeps_ages()
    )


def program() -> str:
    """Return the name of the script that this process runs, "python" if there is none."""
    return os.path.basename(sys.argv[0] if getattr(sys, "argv", None) else "") or "python"


def thread_names() -> dict[int, str]:
    """Return the names of the threads of this process by identity."""
    # Without threading's lock: the signal handler's thread may hold it.
    alive = threading._active.copy()  # type: ignore[attr-defined]
    return {ident: thread.name for ident, thread in alive.items()}


#: The key of `explain.keep_ages()` in `_age_keepers`; the others are connections.
PROGRAM = "keep_ages"

_age_keepers: set[object] = set()
_age_lock = threading.Lock()


def keeps_ages() -> bool:
    """Return True if switches are counted and their times kept."""
    return bool(_age_keepers)


def keep_ages_for(keeper: object, on: bool) -> None:
    """Count switches and keep their times as long as at least one keeper asks for it."""
    with _age_lock:
        if on:
            _age_keepers.add(keeper)
        else:
            _age_keepers.discard(keeper)
        _stackless._keep_ages(bool(_age_keepers))


def after_fork() -> None:
    """In a forked child: forget the connections, which are the parent's."""
    global _age_lock
    _age_lock = threading.Lock()
    _age_keepers.intersection_update({PROGRAM})
    _stackless._keep_ages(bool(_age_keepers))
