"""What the commands that run a program have in common."""

from __future__ import annotations

import os
import runpy
import sys
from types import TracebackType

#: The directory of the package, with a separator at its end.
DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def hide_own_frames() -> None:
    """Let tracebacks of uncaught exceptions begin in the program, as `python program.py` does.

    Sets sys.excepthook. What the program itself sets there is used as it is.
    """
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    inside = traceback
    while inside is not None and _is_own(inside.tb_frame.f_code.co_filename):
        inside = inside.tb_next
    if inside is not None:  # else it is an error of ours
        traceback = inside
    sys.__excepthook__(kind, error.with_traceback(traceback), traceback)


def _is_own(file: str) -> bool:
    return file.startswith((DIRECTORY, "<frozen runpy>")) or file == runpy.__file__
