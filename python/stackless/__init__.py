"""Tasklets and channels: Stackless Python on stock CPython.

A tasklet is a function call with its own stack. It can wait at any point without blocking the other
tasklets of its thread. Two tasklets exchange a value through a channel.

    >>> import stackless
    >>> def greet(name):
    ...     print("Hello,", name)
    >>> for name in "AB":
    ...     _ = stackless.tasklet(greet)(name)
    >>> stackless.run()
    Hello, A
    Hello, B

All functions may be called from any thread; the interpreter's lock protects them. Each thread has
its own run queue; channels connect tasklets of any threads.
"""

from __future__ import annotations

import os as _os
import sys as _sys

from stackless._package import check as _check

try:
    import stackless._stackless as _stackless
except ImportError as _error:
    raise ImportError(_check.why_not(_error)) from _error

import atexit as _atexit
import builtins as _builtins

from stackless import explain
from stackless._package import exit as _exit
from stackless._package import import_lock as _import_lock
from stackless._package.dump import dump
from stackless._package.features import Features, features
from stackless._package.groups import (
    Backoff,
    TaskGroup,
    fail_after,
    map,
    move_on_after,
    shield,
)
from stackless._package.limits import (
    StackLimits,
    atomic,
    get_stack_limits,
    getthreads,
    set_stack_limits,
)
from stackless._package.module import Module as _Module
from stackless._package.surface import adopt as _adopt
from stackless._package.time import run_all, run_tasklet, timeout
from stackless._record.recording import record
from stackless._stackless import (
    AltCase,
    AltResult,
    Cancelled,
    CancelScope,
    StacklessWarning,
    TaskletExit,
    TimeoutExit,
    alt,
    bomb,
    channel,
    clock,
    current_deadline,
    enable_exit_warnings,
    enable_leak_reports,
    enable_origin_tracking,
    enable_softswitch,
    get_channel_callback,
    get_redactor,
    get_schedule_callback,
    get_thread_info,
    getcurrent,
    getcurrentid,
    getdebug,
    getmain,
    getruncount,
    getuncollectables,
    pickle_flags,
    pickle_flags_default,
    readable,
    run,
    run_n_tasklets,
    schedule,
    schedule_remove,
    set_channel_callback,
    set_error_handler,
    set_redactor,
    set_schedule_callback,
    set_virtual_clock,
    sleep,
    steer,
    steered,
    switch_trap,
    tasklet,
    to_thread,
    writable,
)
from stackless._stackless import (
    TimeoutError as TimeoutError,
)
from stackless.explain import snapshot
from stackless.pickling import dumps, load, loads, why_not_picklable

__version__ = "0.1.0"

#: The bits of `pickle_flags`.
PICKLEFLAGS_PRESERVE_TRACING_STATE = 1
PICKLEFLAGS_PRESERVE_AG_FINALIZER = 2
PICKLEFLAGS_RESET_AG_FINALIZER = 4
PICKLEFLAGS_PICKLE_CONTEXT = 8

__all__ = [
    "PICKLEFLAGS_PICKLE_CONTEXT",
    "PICKLEFLAGS_PRESERVE_AG_FINALIZER",
    "PICKLEFLAGS_PRESERVE_TRACING_STATE",
    "PICKLEFLAGS_RESET_AG_FINALIZER",
    "AltCase",
    "AltResult",
    "Backoff",
    "CancelScope",
    "Cancelled",
    "Features",
    "StackLimits",
    "StacklessWarning",
    "TaskGroup",
    "TaskletExecutor",
    "TaskletExit",
    "TimeoutExit",
    "alt",
    "atomic",
    "bomb",
    "channel",
    "clock",
    "current_deadline",
    "dump",
    "dumps",
    "enable_exit_warnings",
    "enable_leak_reports",
    "enable_origin_tracking",
    "enable_softswitch",
    "fail_after",
    "features",
    "get_channel_callback",
    "get_redactor",
    "get_schedule_callback",
    "get_stack_limits",
    "get_thread_info",
    "getcurrent",
    "getcurrentid",
    "getdebug",
    "getmain",
    "getruncount",
    "getthreads",
    "getuncollectables",
    "load",
    "loads",
    "move_on_after",
    "pickle_flags",
    "pickle_flags_default",
    "readable",
    "record",
    "run",
    "run_all",
    "run_n_tasklets",
    "run_tasklet",
    "schedule",
    "schedule_remove",
    "set_channel_callback",
    "set_error_handler",
    "set_redactor",
    "set_schedule_callback",
    "set_stack_limits",
    "set_virtual_clock",
    "shield",
    "sleep",
    "snapshot",
    "stackless",
    "steer",
    "steered",
    "switch_trap",
    "tasklet",
    "timeout",
    "to_thread",
    "why_not_picklable",
    "writable",
]

_adopt(globals(), "stackless._")
map.__module__ = __name__


def __getattr__(name: str) -> object:
    """`TaskletExecutor`, made at its first use: `concurrent.futures` takes time to import."""
    if name != "TaskletExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stackless._package.executor import TaskletExecutor

    TaskletExecutor.__module__ = __name__
    globals()[name] = TaskletExecutor
    return TaskletExecutor


#: The module itself, for programs that use ``from stackless import stackless``.
stackless = _sys.modules[__name__]
stackless.__class__ = _Module

# Old Stackless programs use the bare name.
_builtins.TaskletExit = TaskletExit  # type: ignore[attr-defined]

_import_lock.install()

_atexit.register(_exit.at_exit)

_exit.enable_from(_os.environ)

if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_stackless._after_fork)

set_stack_limits(**_check.limits_from(_os.environ))

if "STACKLESS_EXPLAIN" in _os.environ:
    explain.from_environment(_os.environ["STACKLESS_EXPLAIN"])

if "STACKLESS_BLOCKED" in _os.environ:
    from stackless._run import blocked as _blocked

    _blocked.from_environment(_os.environ["STACKLESS_BLOCKED"])
