"""What takes the place of the calls of `os` that wait: for child processes, and for pipes.

`subprocess` is made of these calls. The replacements are static methods: the standard functions are
not methods either where a class has them as attributes.
"""

from __future__ import annotations

import fcntl
import functools
import os
import select
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from stackless import select as tasklet_select
from stackless._stackless import _cooperates
from stackless.monkey.waiting import Patch, ask, waiting

#: The standard class, which is replaced as well.
_StandardPoll: Any = select.poll

#: What a pipe takes at once if it can be written to.
_PIPE_BUF = select.PIPE_BUF

_pidfd_open: Any = getattr(os, "pidfd_open", None)


# ------------------------------------------------------------------ child processes


def _until_done(look: Callable[[], Any], is_done: Callable[[Any], bool], pid: int = 0) -> Any:
    """Look at children until one has changed; `pid` is the child whose end is waited for, or 0."""
    result = look()
    if is_done(result):
        return result
    if pid > 0 and _pidfd_open is not None:
        try:
            descriptor = _pidfd_open(pid)
        except OSError:  # an old system, or the process has just ended
            pass
        else:
            try:
                _wait_in_tasklet(descriptor, select.POLLIN)
            finally:
                os.close(descriptor)
    return ask(look, is_done)  # no descriptor stands for other children


def _ends_only(options: int) -> bool:
    """True if a wait is for the end of a child, not for its being stopped or continued."""
    return not options & (os.WUNTRACED | os.WCONTINUED)


def _has_pid(result: Any) -> bool:
    return bool(result[0])


def _waitpid(standard: Any, pid: int, options: int, /) -> Any:
    if options & os.WNOHANG:
        return standard(pid, options)
    waited_for = pid if _ends_only(options) else 0
    return _until_done(lambda: standard(pid, options | os.WNOHANG), _has_pid, waited_for)


def _wait(standard: Any, /) -> Any:
    return _waitpid(_standard(os.waitpid), -1, 0)


def _wait3(standard: Any, options: int) -> Any:
    if options & os.WNOHANG:
        return standard(options)
    return _until_done(lambda: standard(options | os.WNOHANG), _has_pid)


def _wait4(standard: Any, pid: int, options: int) -> Any:
    if options & os.WNOHANG:
        return standard(pid, options)
    waited_for = pid if _ends_only(options) else 0
    return _until_done(lambda: standard(pid, options | os.WNOHANG), _has_pid, waited_for)


def _waitid(standard: Any, idtype: int, ident: int, options: int, /) -> Any:
    if options & os.WNOHANG:
        return standard(idtype, ident, options)
    ends_only = not options & (os.WSTOPPED | os.WCONTINUED)
    waited_for = ident if idtype == os.P_PID and ends_only else 0
    look = functools.partial(standard, idtype, ident, options | os.WNOHANG)
    return _until_done(look, lambda result: result is not None, waited_for)


def _standard(call: Any) -> Any:
    return getattr(call, "_stackless_standard", call)


# ------------------------------------------------------------------ pipes, terminals, sockets


def wait_until(descriptor: int, event: int) -> None:
    """Wait in the tasklet if a call on this descriptor would block the thread."""
    poll = _StandardPoll()
    poll.register(descriptor, event)
    if poll.poll(0):
        return  # it is ready, an error, or a file
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    other_end = os.O_WRONLY if event == select.POLLIN else os.O_RDONLY
    if flags & os.O_NONBLOCK or flags & os.O_ACCMODE == other_end:
        return  # not to be waited for
    _wait_in_tasklet(descriptor, event)


def _wait_in_tasklet(descriptor: int, event: int) -> None:
    poll = tasklet_select.poll()
    poll.register(descriptor, event)
    poll.poll()


def _read(standard: Any, fd: int, *arguments: Any, **named: Any) -> Any:
    if isinstance(fd, int) and fd >= 0:
        wait_until(fd, select.POLLIN)
    return standard(fd, *arguments, **named)


def _write(standard: Any, fd: int, data: Any, /) -> int:
    if not isinstance(fd, int) or fd < 0:
        written: int = standard(fd, data)
        return written
    return write_all(standard, fd, data)


def _writev(standard: Any, fd: int, buffers: Any, /) -> int:
    if not isinstance(fd, int) or fd < 0 or not _fills_up(fd):
        written: int = standard(fd, buffers)
        return written
    pieces = buffers if isinstance(buffers, (list, tuple)) else list(buffers)
    return write_all(os.write, fd, b"".join(bytes(memoryview(each).cast("B")) for each in pieces))


def write_all(write: Callable[[int, Any], int], fd: int, data: Any) -> int:
    """Write to a descriptor, as the system does: a blocking pipe takes everything."""
    with memoryview(data) as view, view.cast("B") as left:
        done = 0
        while True:
            wait_until(fd, select.POLLOUT)
            piece = write(fd, left[done : done + _PIPE_BUF] if _fills_up(fd) else left[done:])
            done += piece
            if done >= len(left) or not piece or not os.get_blocking(fd):
                return done


def _fills_up(descriptor: int) -> bool:
    """True for a pipe: a blocking write of more than there is room for waits in the system."""
    return os.fstat(descriptor).st_mode & 0o170000 == 0o010000


# ------------------------------------------------------------------ commands


def _system(standard: Any, command: Any) -> int:
    sys.audit("os.system", os.fsencode(command))
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ)
    return _waitpid(_standard(os.waitpid), pid, 0)[1]  # type: ignore[no-any-return]


#: Seconds: with a timeout, communicate() waits in a selector, also if there is one pipe only.
_LONG = 1e6


def _communicate() -> Patch:
    kind = subprocess.Popen
    standard = vars(kind)["communicate"]
    standard = getattr(standard, "_stackless_standard", standard)

    @functools.wraps(standard)
    def communicate(self: Any, input: Any = None, timeout: float | None = None) -> Any:
        while timeout is None and _cooperates():
            try:
                return standard(self, input, _LONG)
            except subprocess.TimeoutExpired:
                input = None
        return standard(self, input, timeout)

    communicate._stackless_standard = standard  # type: ignore[attr-defined]
    return kind, "communicate", communicate


def of_os() -> list[Patch]:
    """The patches of `os`, and one of `subprocess`."""
    calls: dict[str, Callable[..., Any]] = {
        "waitpid": _waitpid,
        "wait": _wait,
        "wait3": _wait3,
        "wait4": _wait4,
        "waitid": _waitid,
        "read": _read,
        "readv": _read,
        "write": _write,
        "writev": _writev,
        "system": _system,
    }
    found = [waiting(os, name, call) for name, call in calls.items() if hasattr(os, name)]
    methods = [(module, name, staticmethod(call)) for module, name, call in found]
    return [*methods, _communicate()]
