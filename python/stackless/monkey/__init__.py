"""Patches of the standard modules, so that library code written for threads waits in tasklets.

    from stackless import monkey
    monkey.patch_all()

From then on, calls of the standard modules that block the thread (`time.sleep`, those of sockets,
TLS connections, `select` and `selectors`, locks, queues) choose each time: if another tasklet of
the thread can run meanwhile, only the calling tasklet waits; in a thread without tasklets, in a
main tasklet without others, and where nothing can switch, they block the thread as the standard
calls do. A thread that is started in a tasklet is a tasklet.

The standard classes are changed in place: existing sockets, TLS sockets and selectors, and modules
that have imported the classes before, are included. Functions are replaced in the standard modules,
and in all other modules that have imported them by name; copies elsewhere (a default argument, an
attribute of a class) are not found. Locks that exist already are replaced where they are found:
see `status()`.

Call these functions at the start of a program; from any thread, but one at a time.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from stackless.monkey import drivers as _drivers
from stackless.monkey import patches as _patches
from stackless.monkey import repair as _repair
from stackless.monkey import threads as _threads
from stackless.monkey.repair import Unrepaired

__all__ = [
    "is_patched",
    "original",
    "patch_all",
    "patch_files",
    "patch_logging",
    "patch_multiprocessing",
    "patch_os",
    "patch_queue",
    "patch_select",
    "patch_signal",
    "patch_socket",
    "patch_ssl",
    "patch_threading",
    "patch_time",
    "patched",
    "status",
    "unpatch_all",
    "unpatch_files",
    "unpatch_logging",
    "unpatch_multiprocessing",
    "unpatch_os",
    "unpatch_queue",
    "unpatch_select",
    "unpatch_signal",
    "unpatch_socket",
    "unpatch_ssl",
    "unpatch_threading",
    "unpatch_time",
]


def __dir__() -> list[str]:
    return sorted(__all__)


_MISSING: Any = object()


class _Change(NamedTuple):
    """An attribute that was replaced."""

    owner: Any
    name: str
    old: Any
    new: Any
    #: The modules that had imported it, and under which name.
    copies: list[tuple[ModuleType, str]]

    def is_in_force(self) -> bool:
        return vars(self.owner).get(self.name) is self.new

    def undo(self) -> None:
        for module, key in self.copies:
            if vars(module).get(key) is self.new:
                setattr(module, key, self.old)
        if not str(getattr(self.new, "__module__", "")).startswith("stackless.sync"):
            # Modules that were imported since. (A class of stackless.sync may be from there.)
            _replace_copies(self.owner, self.new, self.old)
        if not self.is_in_force():
            return
        if self.old is _MISSING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.old)


#: The parts that are patched if none is named.
_DEFAULT = [part for part in _patches.PARTS if part != "files"]

#: The changes of each part that is patched now.
_patched: dict[str, list[_Change]] = {}


def _replace_copies(owner: Any, old: Any, new: Any) -> list[tuple[ModuleType, str]]:
    """Replace a function of a module also in the modules that have imported it by name.

    Returns these modules, with the name.
    """
    replaced: list[tuple[ModuleType, str]] = []
    if not isinstance(owner, ModuleType) or old is _MISSING:
        return replaced
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or name.partition(".")[0] == "stackless":
            continue
        for key, value in list(vars(module).items()):
            if value is old:
                setattr(module, key, new)
                replaced.append((module, key))
    return replaced


def _patch(part: str) -> None:
    before = _patched.setdefault(part, [])
    now = []
    for owner, name, new in _patches.PARTS[part]():
        earlier = next((c for c in before if c.owner is owner and c.name == name), None)
        if earlier is not None and earlier.is_in_force():
            now.append(earlier)
            continue
        old = vars(owner).get(name, _MISSING)
        setattr(owner, name, new)
        now.append(_Change(owner, name, old, new, _replace_copies(owner, old, new)))
    _patched[part] = now
    if part in _patches.AFTER_PATCHING:
        _patches.AFTER_PATCHING[part]()


def _unpatch(part: str) -> None:
    changes: list[_Change] = _patched.pop(part, [])
    for change in reversed(changes):
        change.undo()
    if changes and part in _patches.AFTERWARDS:
        _patches.AFTERWARDS[part]()


def _checked(part: str) -> str:
    if part not in _patches.PARTS:
        known = ", ".join(_patches.PARTS)
        raise ValueError(f"nothing can be patched in {part!r}, only in {known}")
    return part


def patch_all(*, files: bool = False) -> None:
    """Patch all parts: time, socket, ssl, select (with selectors), logging, threading, queue, os,
    signal and multiprocessing; and `files`, if that is true.

    A second call changes nothing, except in a module that was reloaded since. The same holds for
    the functions that patch one module.
    """
    for part in _patches.PARTS if files else _DEFAULT:
        _patch(part)


def patch_time() -> None:
    """Patch `time.sleep`."""
    _patch("time")


def patch_socket() -> None:
    """Patch the class `socket.socket` and the functions that look up names."""
    _patch("socket")


def patch_ssl() -> None:
    """Patch the class `ssl.SSLSocket`. Connecting and accepting are those of the patched socket."""
    _patch("ssl")


def patch_select() -> None:
    """Patch `select.select`, `poll` and `epoll`, and the classes of `selectors`.

    Existing poll and epoll objects still block the thread; existing selectors do not.
    """
    _patch("select")


def patch_logging() -> None:
    """Give the handlers of `logging` locks that belong to a tasklet.

    The standard locks belong to the thread: while one tasklet waits inside a handler, another could
    enter it. Existing handlers get such a lock unless theirs is held.
    """
    _patch("logging")


def patch_threading() -> None:
    """Patch the primitives of `_thread`, and with them `threading` and what is built on it.

    Locks wait in the calling tasklet, and their owner is the tasklet. `threading.local` has values
    for each tasklet. A thread that is started in a tasklet is a tasklet of the same OS thread; one
    that is started elsewhere is an OS thread, as without patches. Locks that were made before are
    replaced where they are found, unless they are held: `status()` lists the others.
    """
    _patch("threading")


def patch_queue() -> None:
    """Patch `queue.SimpleQueue`. The other queues are made of the locks of `threading`."""
    _patch("queue")


def patch_os() -> None:
    """Patch the calls of `os` that wait for child processes (`waitpid` and its kin, `system`), and
    for pipes, terminals and sockets (`read`, `readv`, `write`, `writev`).

    `subprocess` is made of these. The files that it makes for pipes, those of `os.popen` and
    `os.fdopen` for pipes, terminals and sockets, and `sys.stdin` wait in the tasklet, too.
    """
    _patch("os")


def patch_signal() -> None:
    """Patch `sigwait`, `sigwaitinfo`, `sigtimedwait` and `pause` of `signal`, and its handlers.

    An exception that a handler raises in a tasklet that is a thread is raised in the main tasklet:
    a handler belongs to the main thread. In other tasklets it is raised where the handler was
    called. Handlers that are set already are included if the main thread makes this call.
    """
    _patch("signal")


def patch_multiprocessing() -> None:
    """Patch the connections and locks of `multiprocessing`, and with them its queues."""
    _patch("multiprocessing")


def patch_files() -> None:
    """Patch `open`: files are opened, read and written on worker threads where tasklets can switch.

    Each call costs a hand-over to a thread: for files on slow disks and networks. Files that are
    open already are not changed.
    """
    _patch("files")


def unpatch_all() -> None:
    """Undo all patches. Calls that wait at this time continue to wait as they began."""
    for part in reversed(list(_patched)):
        _unpatch(part)


def unpatch_time() -> None:
    """Undo `patch_time`; does nothing if it is not patched."""
    _unpatch("time")


def unpatch_socket() -> None:
    """Undo `patch_socket`; does nothing if it is not patched."""
    _unpatch("socket")


def unpatch_ssl() -> None:
    """Undo `patch_ssl`; does nothing if it is not patched."""
    _unpatch("ssl")


def unpatch_select() -> None:
    """Undo `patch_select`; does nothing if it is not patched."""
    _unpatch("select")


def unpatch_logging() -> None:
    """Undo `patch_logging`. Handlers keep the locks that they have: these work anywhere."""
    _unpatch("logging")


def unpatch_threading() -> None:
    """Undo `patch_threading`. Locks and threads that were made since stay as they are."""
    _unpatch("threading")


def unpatch_queue() -> None:
    """Undo `patch_queue`. Queues that were made since stay as they are: these work anywhere."""
    _unpatch("queue")


def status() -> list[Unrepaired]:
    """Return what blocks the thread, with all of its tasklets, if it has to wait.

    For each: the module and the name under which it was found, and the reason. It is what was made
    before `patch_threading` and could not be replaced, and known modules that were imported and
    wait in C code, without a name.
    """
    in_c = [
        Unrepaired(module, "", f"waits in C code: {remedy}")
        for module, remedy in _drivers.waiting_in_c()
    ]
    return [*_repair.unrepaired, *in_c]


def unpatch_multiprocessing() -> None:
    """Undo `patch_multiprocessing`. Locks that were made since stay as they are."""
    _unpatch("multiprocessing")


def unpatch_files() -> None:
    """Undo `patch_files`. Files that were opened since block the thread from now on."""
    _unpatch("files")


def unpatch_os() -> None:
    """Undo `patch_os`; does nothing if it is not patched."""
    _unpatch("os")


def unpatch_signal() -> None:
    """Undo `patch_signal`; does nothing if it is not patched."""
    _unpatch("signal")


@contextmanager
def patched(*parts: str) -> Iterator[None]:
    """A context manager that patches some parts, or all but "files" if none is named.

    The parts are "time", "socket", "ssl", "select", "logging", "threading", "queue", "os",
    "signal", "multiprocessing", and "files", which has to be named. At its end the
    block undoes what it has patched; what was patched before stays. Applies to all threads.
    ValueError for an unknown part.
    """
    wanted = [_checked(part) for part in parts] or _DEFAULT
    mine = [part for part in wanted if part not in _patched]
    try:
        for part in mine:
            _patch(part)
        yield
    finally:
        for part in reversed(mine):
            _unpatch(part)


def is_patched(part: str) -> bool:
    """Return True if this part is patched now. ValueError for an unknown part."""
    changes = _patched.get(_checked(part))
    return changes is not None and all(change.is_in_force() for change in changes)


def original(module: str, name: str) -> Any:
    """Return what `module.name` is without patches; `name` may be dotted.

    For functions and methods that is the standard one; for a class that is changed in place, a
    subclass whose methods are the standard ones: `original("socket", "socket")` makes sockets that
    block the thread, `original("threading", "Thread")` threads that are OS threads. ImportError for
    a module that does not exist, AttributeError for such a name.
    """
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for step in path:
        owner = getattr(owner, step)
    if (module, name) == ("threading", "Thread") and is_patched("threading"):
        return _threads.NativeThread
    for change in _changes():
        copied = any(copy == (owner, last) for copy in change.copies)
        if copied or (change.owner is owner and change.name == last):
            return getattr(_blocking(owner), last) if change.old is _MISSING else change.old
    found = getattr(owner, last)
    return _blocking(found) if isinstance(found, type) else found


def _changes() -> Iterator[_Change]:
    for changes in _patched.values():
        yield from changes


def _blocking(kind: type) -> type:
    """Return a subclass without patches of a class, or the class itself if it has no patches."""
    standard: dict[str, Any] = {}
    for change in _changes():
        if change.owner is next((c for c in kind.__mro__ if change.name in vars(c)), None):
            inherited = change.old is _MISSING
            standard[change.name] = _inherited(change) if inherited else change.old
    if not standard:
        return kind
    names = {"__slots__": (), "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind)(kind.__name__, (kind,), names | standard)


def _inherited(change: _Change) -> Any:
    return next(vars(c)[change.name] for c in change.owner.__mro__[1:] if change.name in vars(c))
