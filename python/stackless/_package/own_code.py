"""Where the package's own code is, and tracebacks without it, for commands that run a program."""

from __future__ import annotations

import os
import runpy
import sys
from types import TracebackType

#: The directory of the package, with a separator at its end.
DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def hide_own_frames() -> None:
    """Let tracebacks of uncaught exceptions begin in the program, as with `python program.py`.

    Sets sys.excepthook. A hook that the program sets itself is not changed.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    inside = traceback
    while inside is not None and _is_own(inside.tb_frame.f_code.co_filename):
        inside = inside.tb_next
    if inside is not None:  # else the error is in the package itself
        traceback = inside
    sys.__excepthook__(kind, error.with_traceback(traceback), traceback)


def _is_own(file: str) -> bool:
    return file.startswith((DIRECTORY, "<frozen runpy>")) or file == runpy.__file__
