"""What all tasklets are doing, and why: as data, as text, on a signal, and from another process.

    stackless.dump()                            write a text to stderr
    stackless.snapshot()                        return the same as data
    explain.dump_on_signal(signal.SIGUSR1)      write the text whenever the signal arrives
    explain.serve()                             let `python -m stackless ps PID` ask this process

Values of variables are never shown: only names, places and states. There is no cost before a
function of this module is called.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from types import FrameType
from typing import IO, Any

from stackless import _stackless
from stackless._explain import here
from stackless._explain.data import Call, ChannelInfo, TaskletInfo, infos
from stackless._package.surface import adopt

__all__ = [
    "Call",
    "ChannelInfo",
    "TaskletInfo",
    "dump",
    "dump_on_crash",
    "dump_on_signal",
    "keep_ages",
    "serve",
    "snapshot",
    "stop_serving",
]

adopt(globals(), "stackless._explain.")


def __dir__() -> list[str]:
    return sorted(__all__)


#: Files whose calls are left out at the end of stacks: they are not the caller's.
_OWN = frozenset({__file__})


def snapshot() -> list[TaskletInfo]:
    """Return what every tasklet of every thread is doing, ordered by serial number.

    The snapshot is consistent: all records are of the same moment. Tasklets that have ended, and
    those without a function to run, are not listed. The records hold no references to tasklets.
    May be called from any thread, and in signal handlers; it does not switch. Takes about 5
    microseconds per tasklet. Raises MemoryError.
    """
    import json

    part = json.loads(_stackless._explain_slice(0, float("inf")))
    return [_outside(info) for info in infos([part])]


def _outside(info: TaskletInfo) -> TaskletInfo:
    stack = info.stack
    while stack and stack[-1].file in _OWN:
        stack = stack[:-1]
    return info if stack is info.stack else info._replace(stack=stack)


def dump(file: IO[str] | None = None) -> None:
    """Write what every tasklet of every thread is doing, with its stack, to a text file.

    file: sys.stderr by default. Tasklets of a thread that do the same at the same place share one
    entry. May be called from any thread. In a signal handler use dump_on_signal(), as a text file
    that is in use cannot be written to there. Raises TypeError for an object that is not a file,
    and what the file's write() raises.
    """
    target = sys.stderr if file is None else file
    if not hasattr(target, "write"):
        given = type(target).__name__
        raise TypeError(
            f"dump() writes what all tasklets do to a text file, not to {given}; "
            "dump(obj, file) pickles an object, and needs both"
        )
    target.write(_dump_text())
    target.flush()


def _dump_text() -> str:
    from stackless._explain.text import dump

    begun = time.perf_counter()
    tasklets = snapshot()
    lines = dump(here.process_here(tasklets, time.perf_counter() - begun))
    return "\n".join(lines) + "\n\n"


def dump_on_signal(signum: int = signal.SIGUSR1, file: IO[Any] | None = None) -> Any:
    """Dump all tasklets whenever a signal arrives; return the previous handler of the signal.

    file: an object with a fileno(), sys.stderr by default; it must stay open. The handler runs in
    the process's main thread, as every Python signal handler does, as soon as that thread runs
    Python code. While that thread blocks in C code there is no dump; serve() does not need it.
    Raises ValueError outside the main thread or for an unknown signal, OSError for a signal that
    cannot be caught, io.UnsupportedOperation for a file without a descriptor.
    """
    descriptor = (sys.stderr if file is None else file).fileno()

    def handler(_signum: int, _frame: FrameType | None) -> None:
        data = _dump_text().encode(errors="backslashreplace")
        while data:
            data = data[os.write(descriptor, data) :]

    return signal.signal(signum, handler)


#: The file of dump_on_crash(): it must not be closed.
_crash_file: Any = None


def dump_on_crash(file: IO[Any] | None = None) -> None:
    """Write all tasklets when a fatal signal ends the process, after faulthandler's text.

    file: an object with a fileno(), sys.stderr by default; it is kept open. Enables faulthandler
    for the same file, which writes the current calls first. The signals are SIGSEGV, SIGBUS,
    SIGILL, SIGFPE and SIGABRT. The tasklets are written if the crashing thread holds the
    interpreter's lock: at most 500 tasklets with 50 calls each. Damaged memory may end the list
    early. Cannot be undone, but may be called again with another file. Raises OSError, and
    io.UnsupportedOperation for a file without a descriptor.
    """
    import faulthandler

    global _crash_file
    target = sys.stderr if file is None else file
    descriptor = target.fileno()
    # Of two handlers of a signal, the one that was set last is called first.
    faulthandler.disable()
    _stackless._dump_on_crash(descriptor)
    faulthandler.enable(target)
    _crash_file = target


# ---------------------------------------------------------------------- ages


def keep_ages(on: bool = True) -> None:
    """From now on count switches and note when each tasklet last ran, or stop that.

    Dumps then show ages: for how long a tasklet has been blocked or paused, or has waited since it
    last ran. Costs about 50 ns per switch. Applies to all threads.
    """
    here.keep_ages_for(here.PROGRAM, on)


# ---------------------------------------------------------------------- from outside

_server: Any = None
_serve_lock = threading.Lock()


def serve() -> str:
    """Answer `python -m stackless ps`, `pstree` and `top` from now on; return the socket's path.

    A daemon thread answers on a Unix socket in a private directory of the user; other users get no
    answer. It holds the interpreter for a few milliseconds at a time. It does not count as a thread
    that could wake a tasklet: deadlocks are found as without it. After os.fork() the child answers
    on its own socket. A second call changes nothing. The environment variable STACKLESS_EXPLAIN=1
    does this at import; STACKLESS_EXPLAIN=ages calls keep_ages() too.

    Raises OSError if the socket cannot be made; PermissionError, a subclass, if the directory
    belongs to another user or other users have access to it.
    """
    from stackless._explain.server import Server

    global _server
    with _serve_lock:
        if _server is None:
            _server = Server()
        path: str = _server.path
        return path


def stop_serving() -> None:
    """Undo serve(). Does nothing if serve() was not called."""
    global _server
    with _serve_lock:
        server, _server = _server, None
        if server is not None:
            server.stop()


def _after_fork() -> None:
    global _server, _serve_lock
    _serve_lock = threading.Lock()
    here.after_fork()
    server, _server = _server, None
    if server is not None:
        server.abandon()
        _serve_or_warn()


def _serve_or_warn() -> None:
    try:
        serve()
    except OSError as error:
        warnings.warn(f"no explanations of this process: {error}", RuntimeWarning, stacklevel=3)


def from_environment(value: str) -> None:
    """Do what the value of STACKLESS_EXPLAIN asks for. ValueError for an unknown value."""
    if value not in ("", "0", "1", "ages"):
        raise ValueError(f"STACKLESS_EXPLAIN must be 0, 1 or ages, not {value!r}")
    if value == "ages":
        keep_ages()
    if value not in ("", "0"):
        _serve_or_warn()


os.register_at_fork(after_in_child=_after_fork)
