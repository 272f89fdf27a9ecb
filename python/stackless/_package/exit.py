"""What happens when the interpreter exits: the warning about tasklets that have not ended."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping

from stackless import _stackless, explain

#: The maximum number of lines of the warning.
_LINES = 10


def enable_from(environ: Mapping[str, str]) -> None:
    """Switch the warning on or off as the environment and the interpreter's options say."""
    default = "1" if sys.flags.dev_mode else "0"
    _stackless.enable_exit_warnings(environ.get("STACKLESS_WARN", default) not in ("", "0"))


def at_exit() -> None:
    """Warn, if that is on, and end the tasklets."""
    try:
        if _stackless.enable_exit_warnings(None):
            _warn()
    finally:
        _stackless._at_exit()


def _warn() -> None:
    left = {tasklet.number for tasklet in _stackless._unended()}
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
        lines.append(line)
    if len(infos) > _LINES:
        lines.append(f"  and {len(infos) - _LINES} more")
    some = "a tasklet has" if len(left) == 1 else f"{len(left)} tasklets have"
    text = f"{some} not ended at exit (was run() called, are all channels served?):\n"
    warnings.warn_explicit(
        text + "\n".join(lines), _stackless.StacklessWarning, sys.argv[0] or "<stdin>", 1
    )
