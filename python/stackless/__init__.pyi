import builtins
from builtins import type as _type
from collections.abc import Callable, Iterable
from contextvars import Context
from types import FrameType, GenericAlias, ModuleType, TracebackType
from typing import Any, Final, Generic, Protocol, Self, SupportsIndex, final, overload

from _typeshed import FileDescriptorLike, HasFileno
from typing_extensions import ParamSpec, TypeVar, disjoint_base

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

_P = ParamSpec("_P")
_R = TypeVar("_R")
_E = TypeVar("_E")
# What a channel carries, and the value of a case of alt().
_T = TypeVar("_T", default=Any)
_T_co = TypeVar("_T_co", covariant=True, default=Any)
# The arguments and the result of a tasklet's function.
_A = ParamSpec("_A", default=...)
_R_co = TypeVar("_R_co", covariant=True, default=Any)

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
class tasklet(Generic[_A, _R_co]):
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @overload
    def __init__(self, func: None = None, args: None = None, kwargs: None = None) -> None: ...
    @overload
    def __init__(
        self,
        func: Callable[_A, _R_co],
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None: ...
    def __call__(self, /, *args: _A.args, **kwargs: _A.kwargs) -> Self: ...
    def __del__(self) -> None: ...
    def bind(
        self,
        func: Callable[..., object] | None = None,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Self: ...
    def setup(self, /, *args: _A.args, **kwargs: _A.kwargs) -> Self: ...
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
    def join(self, timeout: float | None = None) -> _R_co: ...
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
    def origin(self) -> tuple[str, int, str] | None: ...
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

# Invariant, so that cases of different types have no common one: alt() gives Any then.
@final
class AltCase(Generic[_T]):
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    @property
    def target(self) -> Any: ...
    @property
    def value(self) -> Any: ...
    @property
    def operation(self) -> str: ...

@final
class AltResult(tuple[Any, _T_co]):
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    __match_args__: Final = ("case", "value")
    def __new__(cls, case: Any, value: _T_co, index: int, /) -> Self: ...
    @property
    def case(self) -> Any: ...
    @property
    def value(self) -> _T_co: ...
    @property
    def index(self) -> int: ...  # type: ignore[override]

class _StandsForCase(Protocol):
    def __alt_case__(self) -> channel | AltCase | tasklet: ...

@overload
def alt(
    *cases: channel[_T] | AltCase[_T], timeout: float | None = None, fair: bool = False
) -> AltResult[_T]: ...
@overload
def alt(
    *cases: channel[_T] | AltCase[_T], timeout: float | None = None, else_: _E, fair: bool = False
) -> AltResult[_T | _E]: ...
@overload
def alt(
    *cases: channel | AltCase | tasklet | HasFileno | _StandsForCase,
    timeout: float | None = None,
    else_: object = ...,
    fair: bool = False,
) -> AltResult: ...
def readable(file: FileDescriptorLike, /) -> AltCase[None]: ...
def writable(file: FileDescriptorLike, /) -> AltCase[None]: ...

@disjoint_base
class channel(Generic[_T]):
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def __init__(self, *, capacity: SupportsIndex = 0) -> None: ...
    def receiving(self) -> AltCase[_T]: ...
    def sending(self, value: _T, /) -> AltCase[None]: ...
    @property
    def capacity(self) -> int: ...
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
    def send(self, value: _T, /, *, timeout: float | None = None) -> None: ...
    def receive(self, *, timeout: float | None = None) -> _T: ...
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
    def send_sequence(self, iterable: Iterable[_T], /) -> int: ...
    def close(self) -> None: ...
    def open(self) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _T: ...

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
def enable_origin_tracking(flag: bool | int | None, /) -> bool: ...
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
