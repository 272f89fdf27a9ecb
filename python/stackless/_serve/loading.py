"""Finds the application that the command line names, and notices that its files change."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

Application = str | Callable[..., Iterable[bytes]]

#: Seconds between two looks at the files.
_PERIOD = 1.0


def load(app: Application) -> Any:
    """Return the application: itself, or what "module:name" or "module:factory()" names.

    "module" is "module:application". ImportError, AttributeError or TypeError if there is none.
    """
    if not isinstance(app, str):
        return app
    module, _, name = app.partition(":")
    name = name or "application"
    calls = name.endswith("()")
    found: Any = importlib.import_module(module)
    for part in name.removesuffix("()").split("."):
        found = getattr(found, part)
    if calls:
        found = found()
    if not callable(found):
        raise TypeError(f"{app} is not callable")
    return found


class Watch:
    """Sends SIGHUP to the main process when a file of an imported module changes."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._times: dict[str, float] = {}
        self._next = 0.0

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        changed = False
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str):
                continue
            try:
                modified = os.stat(file).st_mtime
            except OSError:
                continue  # it is just being replaced
            changed |= self._times.setdefault(file, modified) != modified
            self._times[file] = modified
        if changed:
            os.kill(self._master, signal.SIGHUP)
        self._next = time.monotonic() + _PERIOD
