"""Reports of tasklets that let no other one run: `STACKLESS_BLOCKED`, and `run --blocked`."""

from __future__ import annotations

import _thread
import os
import sys
import time
import traceback
from types import FrameType

from stackless._package.own_code import DIRECTORY
from stackless._stackless import _count_switches, _explain_servant, _thread_activity

#: The standard ones: the thread that watches must not be a tasklet.
_start_new_thread = _thread.start_new_thread
_get_ident = _thread.get_ident
_sleep = time.sleep

_REMEDY = """\
  A call that waits in C code blocks all of them: make it with stackless.to_thread(), or use a
  module that is patched. In a long computation call stackless.schedule() now and then."""


class _Watch:
    """Looks several times in each period whether a thread still runs the same tasklet."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.watched = _get_ident()
        self._process = os.getpid()

    def run(self) -> None:
        _explain_servant(True)  # this thread wakes no tasklet
        seen: tuple[int, int] | None = None
        since, reported = time.monotonic(), False
        while self._process == os.getpid():
            _sleep(self.seconds / 4)
            activity = _thread_activity(self.watched)
            now = time.monotonic()
            if activity is None or not activity[2] or activity[:2] != seen:
                if reported and activity is not None and activity[:2] != seen:
                    self._write(f"stackless: it went on after {now - since:.2f} s\n")
                seen = activity[:2] if activity is not None and activity[2] else None
                since, reported = now, False
            elif not reported and now - since >= self.seconds:
                reported = True
                self._report(activity[0], now - since)

    def _report(self, serial: int, seconds: float) -> None:
        frame = sys._current_frames().get(self.watched)
        lines = [f"stackless: tasklet {serial} has let no other one run for {seconds:.2f} s\n"]
        if frame is not None:
            lines += traceback.format_list(_own(frame))
        self._write("".join(lines) + _REMEDY + "\n")

    def _write(self, text: str) -> None:
        try:
            os.write(2, text.encode(errors="backslashreplace"))  # sys.stderr may be locked
        except OSError:
            pass


def _own(frame: FrameType) -> traceback.StackSummary:
    """Return the calls of the program, without those of the command that runs it."""
    calls = traceback.extract_stack(frame)
    first = next(
        (n for n, call in enumerate(calls) if not _is_runner(call.filename)), len(calls) - 1
    )
    return traceback.StackSummary.from_list(calls[first:])


def _is_runner(file: str) -> bool:
    return file.startswith((DIRECTORY, "<frozen runpy>"))


def watch(seconds: float) -> None:
    """Watch the calling thread from now on. One thread of the process can be watched."""
    _count_switches()
    _start_new_thread(_Watch(seconds).run, ())


def from_environment(value: str) -> None:
    """Do what STACKLESS_BLOCKED asks for. ValueError for what is no positive number of seconds."""
    try:
        seconds = float(value or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"STACKLESS_BLOCKED must be a number of seconds, not {value!r}")
    if seconds:
        watch(seconds)
