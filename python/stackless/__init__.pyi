import builtins
from builtins import type as _type
from collections.abc import Callable, Iterable
from contextvars import Context
from types import FrameType, ModuleType, TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, final, overload

from typing_extensions import disjoint_base

from stackless import explain as explain
from stackless import pickling as pickling
from stackless._package.dump import dump as dump
from stackless._package.executor import TaskletExecutor as TaskletExecutor
from stackless._package.features import Features as Features
from stackless._package.features import features as features
from stackless._package.groups import Backoff as Backoff
from stackless._package.groups import TaskGroup as TaskGroup
from stackless._package.groups import fail_after as fail_after
from stackless._package.groups import map as map
from stackless._package.groups import move_on_after as move_on_after
from stackless._package.groups import shield as shield
from stackless._package.limits import StackLimits as StackLimits
from stackless._package.limits import atomic as atomic
from stackless._package.limits import get_stack_limits as get_stack_limits
from stackless._package.limits import getthreads as getthreads
from stackless._package.limits import set_stack_limits as set_stack_limits
from stackless._package.time import run_all as run_all
from stackless._package.time import run_tasklet as run_tasklet
from stackless._package.time import timeout as timeout
from stackless._record.recording import record as record
from stackless.explain import snapshot as snapshot
from stackless.pickling import dumps as dumps
from stackless.pickling import load as load
from stackless.pickling import loads as loads
from stackless.pickling import why_not_picklable as why_not_picklable

__version__: str
PICKLEFLAGS_PRESERVE_TRACING_STATE: Final = 1
PICKLEFLAGS_PRESERVE_AG_FINALIZER: Final = 2
PICKLEFLAGS_RESET_AG_FINALIZER: Final = 4
PICKLEFLAGS_PICKLE_CONTEXT: Final = 8
__all__ = [
    "PICKLEFLAGS_PICKLE_CONTEXT",
    "PICKLEFLAGS_PRESERVE_AG_FINALIZER",
    "PICKLEFLAGS_PRESERVE_TRACING_STATE",
    "PICKLEFLAGS_RESET_AG_FINALIZER",
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
    "atomic",
    "bomb",
    "channel",
    "clock",
    "current_deadline",
    "dump",
    "dumps",
    "enable_exit_warnings",
    "enable_leak_reports",
    "enable_softswitch",
    "fail_after",
    "features",
    "get_channel_callback",
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
]

_P = ParamSpec("_P")
_R = TypeVar("_R")

class TaskletExit(SystemExit): ...
class TimeoutError(builtins.TimeoutError, RuntimeError): ...
class TimeoutExit(BaseException): ...
class StacklessWarning(UserWarning): ...

class Cancelled(BaseException):
    scope: CancelScope | None

@disjoint_base
class CancelScope:
    def __init__(
        self, timeout: float | None = None, *, shield: bool = False, fail: bool = False
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: _type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool: ...
    def cancel(self, reason: object = None) -> None: ...
    @property
    def cancelled(self) -> bool: ...
    @property
    def expired(self) -> bool: ...
    @property
    def reason(self) -> Any: ...
    @property
    def _members(self) -> list[tasklet]: ...
    deadline: float

@disjoint_base
class tasklet:
    def __init__(
        self,
        func: Callable[..., object] | None = None,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Self: ...
    def __del__(self) -> None: ...
    def bind(
        self,
        func: Callable[..., object] | None = None,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Self: ...
    def setup(self, /, *args: Any, **kwargs: Any) -> Self: ...
    def insert(self) -> Self: ...
    def remove(self) -> Self: ...
    def run(self) -> Any: ...
    def bind_thread(self, thread_id: int = -1, /) -> None: ...
    def switch(self) -> Any: ...
    def throw(
        self,
        exc: type[BaseException] | BaseException,
        val: Any = None,
        tb: TracebackType | None = None,
        pending: bool = False,
    ) -> None: ...
    def raise_exception(self, exc_class: type[BaseException], /, *args: Any) -> None: ...
    def kill(self, pending: bool = False) -> None: ...
    def join(self, timeout: float | None = None) -> Any: ...
    def _keep_result(self) -> None: ...
    def set_atomic(self, flag: bool | int, /) -> bool: ...
    def set_ignore_nesting(self, flag: bool | int, /) -> bool: ...
    def set_context(self, context: Context, /) -> Self: ...
    def context_run(self, func: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    @property
    def alive(self) -> bool: ...
    @property
    def paused(self) -> bool: ...
    @property
    def scheduled(self) -> bool: ...
    @property
    def blocked(self) -> bool: ...
    @property
    def is_main(self) -> bool: ...
    @property
    def is_current(self) -> bool: ...
    @property
    def atomic(self) -> bool: ...
    @property
    def ignore_nesting(self) -> bool: ...
    @property
    def restorable(self) -> bool: ...
    @property
    def thread_id(self) -> int: ...
    @property
    def next(self) -> tasklet | None: ...
    @property
    def prev(self) -> tasklet | None: ...
    @property
    def frame(self) -> FrameType | None: ...
    @property
    def nesting_level(self) -> int: ...
    @property
    def recursion_depth(self) -> int: ...
    @property
    def context_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def _channel(self) -> channel | None: ...
    tempval: Any
    block_trap: bool
    daemon: bool
    @property
    def name(self) -> str: ...
    @name.setter
    def name(self, name: str | None) -> None: ...
    trace_function: Callable[[FrameType, str, Any], Any] | None
    profile_function: Callable[[FrameType, str, Any], Any] | None

@disjoint_base
class channel:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @property
    def balance(self) -> int: ...
    @property
    def queue(self) -> tasklet | None: ...
    @property
    def closing(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    preference: int
    schedule_all: int
    def send(self, value: Any, /, *, timeout: float | None = None) -> None: ...
    def receive(self, *, timeout: float | None = None) -> Any: ...
    @overload
    def send_exception(
        self, exc_class: type[BaseException], /, *args: Any, timeout: float | None = None
    ) -> None: ...
    @overload
    def send_exception(self, exc: BaseException, /, *, timeout: float | None = None) -> None: ...
    def send_throw(
        self,
        exc: type[BaseException] | BaseException,
        val: Any = None,
        tb: TracebackType | None = None,
        /,
        *,
        timeout: float | None = None,
    ) -> None: ...
    def send_sequence(self, iterable: Iterable[Any], /) -> int: ...
    def close(self) -> None: ...
    def open(self) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

@final
class bomb:
    # One tuple, as from sys.exc_info(), is taken apart.
    def __new__(
        cls,
        type: _type[BaseException] | tuple[Any, Any, Any] | None = None,
        value: Any = None,
        traceback: TracebackType | None = None,
    ) -> Self: ...
    @property
    def type(self) -> _type[BaseException] | None: ...
    @property
    def value(self) -> Any: ...
    @property
    def traceback(self) -> TracebackType | None: ...

def run(
    timeout: int = 0,
    threadblock: bool = False,
    soft: bool = False,
    ignore_nesting: bool = False,
    totaltimeout: bool = False,
    *,
    seconds: float | None = None,
    block: bool = True,
) -> tasklet | None: ...
def sleep(seconds: float, /) -> None: ...
def current_deadline() -> float: ...
def clock() -> float: ...
def set_virtual_clock(now: float | None, /) -> None: ...
def steer(choices: bytes = b"", seed: int | None = None) -> None: ...
def steered() -> bytes: ...
def to_thread(func: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
def run_n_tasklets(n: int, /) -> None: ...
def schedule(retval: Any = ...) -> Any: ...
def schedule_remove(retval: Any = ...) -> Any: ...
def getcurrent() -> tasklet: ...
def getmain() -> tasklet: ...
def getruncount() -> int: ...
def getcurrentid() -> int: ...
@overload
def get_thread_info(thread_id: int = -1, /) -> tuple[tasklet, tasklet, int]: ...
@overload
def get_thread_info(thread_id: int, flags: int, /) -> tuple[Any, ...]: ...
def enable_softswitch(flag: bool | int | None, /) -> bool: ...
def enable_exit_warnings(flag: bool | int | None, /) -> bool: ...
def enable_leak_reports(flag: bool | int | None, /) -> bool: ...
def getdebug() -> bool: ...
def getuncollectables() -> list[tasklet]: ...
def set_schedule_callback(
    callback: Callable[[tasklet | None, tasklet], object] | None, /
) -> Any: ...
def get_schedule_callback() -> Any: ...
def set_channel_callback(
    callback: Callable[[channel, tasklet, int, int], object] | None, /
) -> Any: ...
def get_channel_callback() -> Any: ...
def switch_trap(change: int = 0) -> int: ...
def pickle_flags(new: int = -1, mask: int = -1) -> int: ...
def pickle_flags_default(new: int = -1, mask: int = -1) -> int: ...
def set_redactor(
    function: Callable[[Any], str | None] | None, /
) -> Callable[[Any], str | None] | None: ...
def set_error_handler(
    handler: Callable[[type[BaseException], BaseException, TracebackType | None], object]
    | None = None,
) -> Any: ...

# Looked up on every access, for the calling thread.
current: tasklet
main: tasklet
runcount: int
threads: list[int]
debug: bool
pickle_with_tracing_state: bool
uncollectables: list[tasklet]
stackless: ModuleType
