"""Drivers that wait in C code, and that can be told how to wait: psycopg 3 and psycopg2.

They are told when they are imported, or at the patch if they are imported already. Neither has to
be installed.
"""

from __future__ import annotations

import functools
import select
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from stackless import select as tasklet_select
from stackless._stackless import _cooperates

# The standard function.
_select: Any = select.select


def _tell_psycopg(waiting: ModuleType) -> None:
    """Have connections of psycopg 3 wait by `selectors` in tasklets.

    `psycopg.waiting.wait` is looked up at each call; its choice is described under
    `PSYCOPG_WAIT_FUNC` in the documentation of psycopg.
    """
    standard: Any = getattr(waiting, "wait", None)
    in_python: Any = getattr(waiting, "wait_selector", None)
    if not callable(standard) or hasattr(standard, "_stackless_standard") or in_python is None:
        return

    @functools.wraps(standard)
    def wait(*arguments: Any, **named: Any) -> Any:
        return (in_python if _cooperates() else standard)(*arguments, **named)

    wait._stackless_standard = standard  # type: ignore[attr-defined]
    waiting.wait = wait  # type: ignore[attr-defined]


def _leave_psycopg(waiting: ModuleType) -> None:
    wait = getattr(waiting, "wait", None)
    waiting.wait = getattr(wait, "_stackless_standard", wait)  # type: ignore[attr-defined]


def _wait_for_psycopg2(connection: Any) -> None:
    """Wait for a connection of psycopg2; see `set_wait_callback` in its documentation."""
    extensions: Any = sys.modules["psycopg2.extensions"]
    while (state := connection.poll()) != extensions.POLL_OK:
        files = [connection.fileno()]
        wait = tasklet_select.select if _cooperates() else _select
        if state == extensions.POLL_READ:
            wait(files, [], [])
        elif state == extensions.POLL_WRITE:
            wait([], files, [])
        else:
            raise sys.modules["psycopg2"].OperationalError(f"bad state from poll: {state}")


def _tell_psycopg2(extensions: Any) -> None:
    if extensions.get_wait_callback() is None:
        extensions.set_wait_callback(_wait_for_psycopg2)


def _leave_psycopg2(extensions: Any) -> None:
    if extensions.get_wait_callback() is _wait_for_psycopg2:
        extensions.set_wait_callback(None)


#: Module -> what is done with it at the patch, or at its import; and afterwards.
_DRIVERS: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
    "psycopg.waiting": (_tell_psycopg, _leave_psycopg),
    "psycopg2.extensions": (_tell_psycopg2, _leave_psycopg2),
}


#: Modules whose calls wait in C code -> what to do about it.
_WAIT_IN_C = {
    "grpc._cython.cygrpc": "use grpc.aio with stackless.aio, or stackless.to_thread",
    "pycurl": "call it with stackless.to_thread",
    "MySQLdb._mysql": "call it with stackless.to_thread, or use PyMySQL",
    "cx_Oracle": "call it with stackless.to_thread, or use oracledb",
}


def waiting_in_c() -> list[tuple[str, str]]:
    """Return the imported modules that wait in C code, and what to do about each."""
    return [(name, remedy) for name, remedy in _WAIT_IN_C.items() if name in sys.modules]


class _Finder(MetaPathFinder):
    """Tells the drivers when they are imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _DRIVERS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if _finder in sys.meta_path:
                    _DRIVERS[fullname][0](module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_finder = _Finder()


def tell() -> None:
    """Tell the drivers that are imported, and those that will be."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _for_each(0)


def leave() -> None:
    """Have the drivers wait as they do by themselves."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    _for_each(1)


def _for_each(which: int) -> None:
    for name, functions in _DRIVERS.items():
        module = sys.modules.get(name)
        if module is not None:
            functions[which](module)
