"""The warning about tasklets that have not ended when the interpreter exits, and when it is on."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping

from stackless import _stackless, explain
from stackless._package.own_code import DIRECTORY

#: The maximum number of lines of the warning.
_LINES = 10


def enable_from(environ: Mapping[str, str], default: bool = False) -> None:
    """Switch the warning, and the tracking of origins, on or off.

    The environment decides; without a word of it, they are on in development mode, or by default.
    """
    threading = os.path.join(os.path.dirname(os.__file__), "threading.py")
    _stackless._leave_out_origins((DIRECTORY, threading))
    preset = "1" if default or sys.flags.dev_mode else "0"
    on = environ.get("STACKLESS_WARN", preset) not in ("", "0")
    _stackless.enable_exit_warnings(on)
    _stackless.enable_origin_tracking(on)


def at_exit() -> None:
    """Warn, if that is on, and end the tasklets."""
    try:
        if _stackless.enable_exit_warnings(None):
            _warn()
    finally:
        _stackless._at_exit()


def _warn() -> None:
    left = {tasklet.number: tasklet for tasklet in _stackless._unended(False)}
    if not left:
        return
    infos = [info for info in explain.snapshot() if info.serial in left]
    lines = []
    for info in infos[:_LINES]:
        line = f"  tasklet {info.serial}" + (f" {info.name!r}" if info.name else "")
        line += ": never ran" if not info.started else f": {info.reason}"
        if info.stack:
            call = info.stack[-1]
            line += f", {call.file}:{call.line} in {call.function}"
        if origin := left[info.serial].origin:
            file, number, function = origin
            line += f", made at {file}:{number} in {function}"
        lines.append(line)
    if len(infos) > _LINES:
        lines.append(f"  and {len(infos) - _LINES} more")
    some = "a tasklet has" if len(left) == 1 else f"{len(left)} tasklets have"
    text = f"{some} not ended at exit (was run() called, are all channels served?):\n"
    warnings.warn_explicit(
        text + "\n".join(lines), _stackless.StacklessWarning, sys.argv[0] or "<stdin>", 1
    )
