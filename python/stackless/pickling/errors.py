"""Pickling of tracebacks, and of exceptions with their cause, context and traceback.

Of a traceback the visible parts are kept: files, lines, columns and names; its frames are restored
without variables. Plain pickle writes an exception's arguments, attributes and notes. Its cause,
context and traceback are included in the state of tasklets and generators, and by
`stackless.dumps`.
"""

from __future__ import annotations

import copyreg
import itertools
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

from stackless import _stackless
from stackless.pickling.standins import StandIn, actual

# ------------------------------------------------------------------ tracebacks

#: File, function, qualified name, module; line, last line, column, last column; True if the entry
#: before is the caller of this one's frame.
Entry = tuple[str, str, str, str | None, int, int | None, int | None, int | None, bool]


class _Entries(StandIn):
    """A traceback as a list, so that long ones do not recurse."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(_entries(self.original)),)


def reduce_traceback(traceback: TracebackType) -> tuple[Any, ...]:
    """Reduce a traceback."""
    return load_traceback, (_Entries.of(traceback),)


def _entries(traceback: TracebackType | None) -> Iterator[Entry]:
    before = None
    while traceback is not None:
        frame = traceback.tb_frame
        code = frame.f_code
        at = max(traceback.tb_lasti, 0) // 2
        positions = next(itertools.islice(code.co_positions(), at, None), (None,) * 4)
        yield (
            code.co_filename,
            code.co_name,
            code.co_qualname,
            frame.f_globals.get("__name__"),
            traceback.tb_lineno,
            *positions[1:],
            before is not None and frame.f_back is before,
        )
        before, traceback = frame, traceback.tb_next


def load_traceback(entries: Any) -> TracebackType:
    """Return the traceback that `reduce_traceback` has written; for `copy.copy`, a shallow copy."""
    original = actual(entries)
    if isinstance(original, TracebackType):
        return TracebackType(
            original.tb_next, original.tb_frame, original.tb_lasti, original.tb_lineno
        )
    frames = [_frame(*entry[:8]) for entry in entries]
    for back, frame, entry in zip(frames, frames[1:], entries[1:], strict=False):
        if entry[8:] == (True,):
            _stackless._set_caller(frame, back)
    made = None
    for frame in reversed(frames):
        made = TracebackType(made, frame, 0, frame.f_code.co_firstlineno)
    assert made is not None
    return made


def _never_run() -> Iterator[None]:
    yield


_TEMPLATE: CodeType = _never_run.__code__


def stub(
    template: CodeType, file: str, name: str, qualname: str, line: int, *place: int | None
) -> CodeType:
    """Return a copy of the code `template` that shows another file, name and line."""
    return template.replace(
        co_filename=file,
        co_name=name,
        co_qualname=qualname,
        co_firstlineno=line,
        co_linetable=_line_table(len(template.co_code) // 2, line, *(place or (None,) * 3)),
    )


def _frame(
    file: str, name: str, qualname: str, module: str | None, line: int, *place: int | None
) -> FrameType:
    code = stub(_TEMPLATE, file, name, qualname, line, *place)
    # The frame of a generator that never began: it has no caller, so it keeps no variables alive.
    frame: FrameType = FunctionType(code, {"__name__": module})().gi_frame
    return frame


def _line_table(
    length: int, line: int, end: int | None, column: int | None, end_column: int | None
) -> bytes:
    """Return the location table of code whose instructions all have the same position.

    (CPython's Objects/locations.md: entries of the long form, for up to eight instructions each.)
    """
    place = b"\0"  # no step from the line before
    for number in (
        max(end or line, line) - line,
        0 if column is None else column + 1,
        0 if end_column is None else end_column + 1,
    ):
        while number >= 64:
            place += bytes([64 | number & 63])
            number >>= 6
        place += bytes([number])
    lengths = [8] * (length // 8) + ([length % 8] if length % 8 else [])
    return b"".join(bytes([0x80 | 14 << 3 | each - 1]) + place for each in lengths)


# ------------------------------------------------------------------ exceptions


class WithOrigin(StandIn):
    """An exception with its cause, context and traceback."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        return reduce_exception(self.original, in_state)


def in_state(value: Any) -> Any:
    """Return `value`; for an exception a stand-in that keeps its cause, context and traceback."""
    return WithOrigin.of(value) if issubclass(type(value), BaseException) else value


def reduce_exception(error: BaseException, value: Callable[[Any], Any]) -> Any:
    """Reduce an exception with its cause, context and traceback.

    `value` is applied to the exceptions that it refers to.
    """
    reduced = _reduce_plainly(error)
    origin = (
        value(error.__cause__),
        value(error.__context__),
        error.__traceback__,
        error.__suppress_context__,
    )
    if not isinstance(reduced, tuple) or any(each is not None for each in reduced[3:]):
        return reduced  # the class has its own reducer, with parts that cannot be combined
    make, arguments, *rest = reduced
    if isinstance(error, BaseExceptionGroup):
        arguments = tuple(
            type(each)(map(value, each)) if type(each) in (list, tuple) else each
            for each in arguments
        )
    state = rest[0] if rest else None
    if state is None and origin == (None, None, None, False):
        return make, arguments
    return make, arguments, (state, *origin), None, None, fill_exception


def _reduce_plainly(error: BaseException) -> Any:
    kind = type(error)
    if kind in copyreg.dispatch_table:
        return copyreg.dispatch_table[kind](error)
    if (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is BaseException.__reduce__
        and kind.__new__ is _builtin(kind).__new__
        and not isinstance(error, BaseExceptionGroup)
    ):
        # Pickle would call the class with `args`, which need not be what its `__init__` takes.
        return new_exception, (kind, *error.args), error.__dict__ or None
    return error.__reduce_ex__(4)


def new_exception(kind: type[BaseException], *arguments: Any) -> BaseException:
    """Return a new exception without calling an `__init__` that is written in Python."""
    error = kind.__new__(kind, *arguments)
    _builtin(kind).__init__(error, *arguments)  # type: ignore[misc]
    return error


#: Py_TPFLAGS_HEAPTYPE
HEAP_TYPE = 1 << 9


def _builtin(kind: type) -> type:
    """Return the first class in the MRO of `kind` that is written in C."""
    return next(each for each in kind.__mro__ if not each.__flags__ & HEAP_TYPE)


def fill_exception(error: Any, state: tuple[Any, ...]) -> None:
    """Set the state, cause, context and traceback of an exception.

    Raises ValueError if the cause or context was not restored as an exception. If the reducer of
    the exception has made another object of it, only its own state is set.
    """
    own, cause, context, traceback, suppress = state
    if own is not None:
        error.__setstate__(own)
    if not isinstance(error, BaseException):
        return
    for name, each in (("cause", cause), ("context", context)):
        if each is not None and not isinstance(each, BaseException):
            raise ValueError(
                f"the {name} of {type(error).__qualname__} is an exception that came back as "
                f"{type(each).__qualname__}"
            )
    error.__cause__ = cause
    error.__context__ = context
    error.__traceback__ = traceback
    error.__suppress_context__ = suppress
