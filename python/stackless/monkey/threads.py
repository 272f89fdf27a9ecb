"""What takes the place of the primitives of `_thread`: threads that are tasklets, and their locks.

`threading` is Python code over `_thread`, so it is right by construction: Thread, Timer, Condition,
excepthook, enumerate(), the rules for daemons and for the end of the program. What is replaced
decides at each call: a thread that is started in a tasklet is a tasklet of the same OS thread; one
that is started elsewhere is an OS thread.
"""

from __future__ import annotations

import _thread
import contextvars
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from stackless import getcurrent
from stackless._stackless import (
    TaskletExit,
    _gives_way,
    _ident,
    _make_thread,
    _owner,
    _thread_of,
    tasklet,
)
from stackless.monkey.waiting import Patch
from stackless.sync import Event, Lock, RLock, local

#: The standard ones.
_get_ident = _thread.get_ident
_start_new_thread: Any = _thread.start_new_thread
_start_joinable_thread: Any = getattr(_thread, "start_joinable_thread", None)
_StandardHandle: Any = getattr(_thread, "_ThreadHandle", None)
_standard_shutdown: Any = getattr(_thread, "_shutdown", None)
_standard_main_ident: Any = getattr(_thread, "_get_main_thread_ident", _get_ident)
_standard_sentinel: Any = getattr(_thread, "_set_sentinel", None)
_pthread_kill: Any = getattr(signal, "pthread_kill", None)
_getcpuclockid: Any = getattr(time, "pthread_getcpuclockid", None)


class Settings:
    """What the runner sets."""

    #: The identity of the OS thread whose main tasklet starts tasklets as threads, too. 0: none.
    main = 0
    #: The process. In the child of a fork, that of the parent until `_after_fork` is called.
    process = os.getpid()
    #: The main tasklet, if it is not that of the OS thread: one that has forked, in the child.
    main_tasklet: tasklet | None = None
    #: What the main thread's identity is, 0: that of the OS thread. Another one if it was forked.
    main_ident = 0

    @classmethod
    def take_main(cls) -> None:
        """Make the main tasklet of the calling thread behave as one of the threads."""
        cls.main = _get_ident()
        _gives_way()


class NativeThread(threading.Thread):
    """A `threading.Thread` that is always an OS thread."""

    _stackless_native = True


def _starts_tasklet(function: Callable[..., Any]) -> bool:
    """True if a thread that is started now is a tasklet."""
    if getattr(getattr(function, "__self__", None), "_stackless_native", False):
        return False
    thread = _get_ident()
    return Settings.main == thread or _owner() != thread


def _start_tasklet(call: Callable[[], None]) -> int:
    """Start a tasklet with a copy of the caller's context; return its identity as a thread."""
    started = tasklet(call)
    started.set_context(contextvars.copy_context())
    number = _make_thread(started)
    started()
    return number


def _report(function: Any) -> None:
    """Report the exception that a thread without a Thread object ends with, as `_thread` does."""
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    text, culprit = "Exception ignored in thread started by", None
    if sys.version_info < (3, 13):
        culprit = function
    else:
        text = f"{text} {function!r}"
    if sys.unraisablehook is sys.__unraisablehook__:
        print(f"{text}: {culprit!r}" if culprit is not None else text, file=sys.stderr)
        traceback.print_exception(kind, error, trace)
        return
    sys.unraisablehook(
        SimpleNamespace(
            exc_type=kind, exc_value=error, exc_traceback=trace, err_msg=text, object=culprit
        )
    )


def start_new_thread(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, /
) -> int:
    """Start a thread; return its identity. In a tasklet the thread is another tasklet."""
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    given = kwargs or {}
    sentinels = _Sentinels()

    def run() -> None:
        _sentinels.made = sentinels
        try:
            function(*args, **given)
        finally:
            sentinels.release()

    if not _starts_tasklet(function):
        started: int = _start_new_thread(run, ())
        return started
    _silence(function)

    process = Settings.process

    def run_in_tasklet() -> None:
        try:
            run()
        except SystemExit:
            pass  # TaskletExit, too
        except BaseException:
            _report(function)
        finally:
            _end_of_child(process)

    return _start_tasklet(run_in_tasklet)


def _end_of_child(process: int) -> None:
    """End the process if the thread that ends here has forked it: it has no other thread.

    The exit status is 0, and buffers of files are not written, as with a native thread.
    """
    if process != Settings.process:
        os._exit(0)


def _forked() -> int:
    """In the child of a fork, before `_after_fork`: the identity of the thread that has forked."""
    return _owner() if os.getpid() != Settings.process else 0


def _after_fork() -> None:
    """In the child: threads that are tasklets do not exist, except one that has forked.

    Hooks of `threading` run before this one.
    """
    Settings.main_ident = get_main_thread_ident()
    if Settings.main_ident == _owner() != _get_ident():
        Settings.main_tasklet = getcurrent()
    for handle in list(_alive):
        if handle._number != _owner():
            handle._over.set()
    _alive.clear()
    Settings.process = os.getpid()


os.register_at_fork(after_in_child=_after_fork)


def get_main_thread_ident() -> int:
    """Return the identity of the main thread: the one that has forked, in the child of a fork."""
    forked = _forked()
    if forked and forked != _get_ident():
        return forked
    standard: int = _standard_main_ident()
    return Settings.main_ident or standard


def start_new(*arguments: Any) -> int:
    """Start a thread: an obsolete name of `start_new_thread`."""
    return start_new_thread(*arguments)


def _silence(function: Any) -> None:
    """A thread that is killed, as daemons are at the end of the program, prints nothing."""
    thread = getattr(function, "__self__", None)
    if not isinstance(thread, threading.Thread):
        return
    invoke = thread._invoke_excepthook  # type: ignore[attr-defined]

    def unless_killed(each: Any) -> None:
        if not isinstance(sys.exc_info()[1], TaskletExit):
            invoke(each)

    thread._invoke_excepthook = unless_killed  # type: ignore[attr-defined]


def _give_context(thread: Any) -> None:
    """From Python 3.14 on, a Thread object has a context: an empty one by default, here a copy."""
    context = getattr(thread, "_context", None)
    if isinstance(context, contextvars.Context) and not context:
        thread._context = contextvars.copy_context()


# ------------------------------------------------------------------ the end of a thread, to 3.12


class _Sentinels:
    """The locks that are released when a thread ends."""

    def __init__(self) -> None:
        self._locks: list[Lock] = []

    def add(self) -> Lock:
        lock = Lock()
        self._locks.append(lock)
        return lock

    def release(self) -> None:
        for lock in self._locks:
            if lock.locked():
                lock.release()


_sentinels = local()


def _set_sentinel() -> Any:
    """Return a lock that is released when the calling thread ends."""
    made: _Sentinels | None = getattr(_sentinels, "made", None)
    return _standard_sentinel() if made is None else made.add()


# ------------------------------------------------------------------ the end of a thread, from 3.13


class ThreadHandle:
    """What `threading.Thread` keeps of its thread: an OS thread, or a tasklet."""

    def __init__(self) -> None:
        self._native = _StandardHandle()
        self._over = Event()
        self._number = 0

    @property
    def ident(self) -> int:
        """The identity of the thread, 0 before its start."""
        native: int = self._native.ident
        return self._number or native

    def is_done(self) -> bool:
        """Return True if the thread has ended."""
        if not self._number:
            done: bool = self._native.is_done()
            return done
        return self._over.is_set() or _forked() not in (0, self._number)

    def _set_done(self) -> None:
        if not self._number:
            self._native._set_done()
        self._over.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended, at most `timeout` seconds; negative: no limit."""
        limit = None if timeout is None or timeout < 0 else timeout
        if self._number:
            if self._number == _owner():
                raise RuntimeError("Cannot join current thread")
        elif self._native.is_done() or self._native.ident in (0, _owner()):
            return self._native.join(-1 if limit is None else limit)  # type: ignore[no-any-return]
        if self._over.wait(limit) and not self._number:
            self._native.join()
        return None

    def __repr__(self) -> str:
        return f"<ThreadHandle: ident={self.ident}>"


#: The threads that are tasklets and have not ended; true for those that are daemons.
_alive: dict[ThreadHandle, bool] = {}


def start_joinable_thread(
    function: Callable[[], Any], handle: Any = None, daemon: bool = True
) -> Any:
    """Start a thread; return its handle. In a tasklet the thread is another tasklet."""
    if not isinstance(handle, ThreadHandle):
        new = ThreadHandle()
        thread = getattr(function, "__self__", None)
        for name in "_handle", "_os_thread_handle":
            if handle is not None and getattr(thread, name, None) is handle:
                setattr(thread, name, new)  # the Thread object was made before the patch
        handle = new
    if handle.ident:
        raise RuntimeError("thread already started")
    over = handle._over
    if not _starts_tasklet(function):

        def run() -> None:
            try:
                function()
            finally:
                over.set()

        _start_joinable_thread(run, handle=handle._native, daemon=daemon)
        return handle
    _silence(function)
    _give_context(getattr(function, "__self__", None))
    _alive[handle] = daemon

    process = Settings.process

    def run_in_tasklet() -> None:
        handle._number = _owner()
        try:
            function()
        except SystemExit:
            pass
        except BaseException:
            _report(function)
        finally:
            _end_of_child(process)
            _alive.pop(handle, None)
            over.set()

    try:
        handle._number = _start_tasklet(run_in_tasklet)
    except BaseException:
        _alive.pop(handle, None)
        raise
    return handle


def _shutdown() -> None:
    """Wait for all threads that are no daemons."""
    while running := [handle for handle, is_daemon in _alive.items() if not is_daemon]:
        for handle in running:
            handle.join()
    _standard_shutdown()


class _MainLock:
    """The lock that is held until the main thread ends: what waits for it need not hold it."""

    def __init__(self) -> None:
        self._over, self._is_free = Event(), False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait for the end of the main thread. Returns False if it has not ended."""
        if self._is_free:
            self._is_free = False
            return True
        if not blocking:
            return self._over.is_set()
        return self._over.wait(None if timeout < 0 else timeout)

    def release(self) -> None:
        self._over.set()

    def locked(self) -> bool:
        return not self._over.is_set()

    def _at_fork_reinit(self) -> None:
        """Called by the main thread of the child, which acquires it next."""
        self._over, self._is_free = Event(), True


def after_patching() -> None:
    """Let tasklets wait for the end of the main thread, which began before the patches."""
    main: Any = threading.main_thread()
    for name in "_handle", "_os_thread_handle":
        handle = getattr(main, name, None)
        if handle is not None and not isinstance(handle, ThreadHandle):
            own = ThreadHandle()
            own._native = handle
            setattr(main, name, own)
    lock = getattr(main, "_tstate_lock", None)  # until Python 3.12
    if lock is not None and not isinstance(lock, _MainLock):
        main._tstate_lock = new = _MainLock()
        locks: set[Any] = threading._shutdown_locks  # type: ignore[attr-defined]
        if lock in locks:
            locks.remove(lock)
            locks.add(new)


# ------------------------------------------------------------------ identities


def is_other_thread() -> bool:
    """True in a tasklet that is a thread, but not the main one."""
    ident: int = _ident()
    return ident != _get_ident() and ident != Settings.main_ident


def pthread_kill(thread_id: int, signalnum: int, /) -> None:
    """Send a signal to an OS thread: for a tasklet, to the one that it belongs to."""
    return _pthread_kill(_thread_of(thread_id), signalnum)  # type: ignore[no-any-return]


def pthread_getcpuclockid(thread_id: int, /) -> int:
    """Return the clock of an OS thread: for a tasklet, of the one that it belongs to."""
    clock: int = _getcpuclockid(_thread_of(thread_id))
    return clock


for _function, _module in (pthread_kill, "signal"), (pthread_getcpuclockid, "time"):
    _function.__module__ = _module


# ------------------------------------------------------------------ the patches


def of_threading() -> list[Patch]:
    """The patches of `_thread`; copies in `threading` and elsewhere are replaced with them."""
    patches: list[Patch] = [
        (_thread, "start_new_thread", start_new_thread),
        (_thread, "start_new", start_new),
        (_thread, "get_ident", _ident),
        (_thread, "allocate_lock", Lock),
        (_thread, "allocate", Lock),
        (_thread, "LockType", Lock),
        (_thread, "RLock", RLock),
        (_thread, "_local", local),
    ]
    if sys.version_info >= (3, 13):
        patches += [
            (_thread, "lock", Lock),
            (_thread, "start_joinable_thread", start_joinable_thread),
            (_thread, "_ThreadHandle", ThreadHandle),
            (_thread, "_shutdown", _shutdown),
            (_thread, "_get_main_thread_ident", get_main_thread_ident),
        ]
    else:
        patches.append((_thread, "_set_sentinel", _set_sentinel))
    if _pthread_kill is not None:
        patches.append((signal, "pthread_kill", pthread_kill))
    if _getcpuclockid is not None:
        patches.append((time, "pthread_getcpuclockid", pthread_getcpuclockid))
    return patches
