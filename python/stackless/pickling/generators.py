"""Pickling of generators, coroutines and asynchronous generators.

Each is pickled as a shell, which is made first as its variables may refer to it, and a picture that
fills the shell: its function, code, place, variables and evaluation stack. The engine checks a
picture against its code before it uses it.
"""

from __future__ import annotations

import copy
import copyreg
import sys
import types
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

from stackless import _stackless
from stackless.pickling.functions import by_value
from stackless.pickling.objects import referents
from stackless.pickling.standins import StandIn, actual

_KINDS: tuple[type, ...] = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)

#: States of a generator: the first item of its picture.
WAITING, SUSPENDED, FINISHED = range(3)
#: Bits of an asynchronous generator's flags.
_HOOKED, _CLOSED, _RUNNING = 1, 2, 4
#: Bits of pickle_flags().
_HOOK_BY_VALUE, _HOOK_RESET = 2, 4

#: Written for the hook of an asynchronous generator if the hook itself is not pickled.
_HAD_HOOKS = "hooks"

Picture = tuple[Any, ...]

#: The pictures and exceptions of restored generators that get their frame with their tasklet.
_waiting: weakref.WeakKeyDictionary[Any, tuple[Picture, Any]] = weakref.WeakKeyDictionary()


class Shell(StandIn):
    """A generator without its contents.

    `waiting` is the picture of its frame, if that is in the chain of a tasklet.
    """

    __slots__ = ("waiting",)
    waiting: Picture | None

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self.waiting = None

    def picture(self) -> Picture:
        return _stackless._generator_picture(self.original, self.waiting)

    def __reduce__(self) -> tuple[Any, ...]:
        *picture, slots = self.picture()
        state, frame, name, qualname, exception, origin, flags = picture
        code = frame if state == FINISHED else code_of(frame)
        frame = None if state == FINISHED else valued(frame)
        if (qualname, name) == (code.co_qualname, code.co_name):
            name = qualname = None
        content = (
            state,
            frame,
            code,
            name,
            qualname,
            by_value(exception),
            *_hook_out(self.original, origin, flags),
        )
        return new, (_KINDS.index(type(self.original)), slots), _trimmed(content), None, None, fill

    def __copy__(self) -> Any:
        return copied(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        picture = self.picture()
        made = memo[id(self)] = _stackless._new_generator(type(self.original), picture[-1])
        _restore(made, copy.deepcopy(picture, memo))
        return made


def code_of(picture: Picture) -> types.CodeType:
    """Return the code of a frame."""
    code: types.CodeType = picture[1] or picture[0].__code__
    return code


def line_of(picture: Picture) -> int:
    """Return the current line of a frame; 0 if it has none."""
    lines = [line for start, _, line in code_of(picture).co_lines() if start <= 2 * picture[2]]
    return lines[-1] or 0


def valued(picture: Picture) -> Picture:
    """Return the picture of a frame as it is pickled: with its code, and functions by value."""
    function, _, at, offset, values, shape, names = picture
    picture = (
        by_value(function),
        code_of(picture),
        at,
        offset,
        tuple(map(by_value, values)),
        shape,
        names,
    )
    return _trimmed(picture)


def whole(picture: Picture) -> Picture:
    """Return the picture of a frame from the result of `valued`."""
    function, code, *rest = picture
    if isinstance(function, types.FunctionType) and function.__code__ == code:
        code = None
    return (function, code, *rest, *(None,) * (5 - len(rest)))


def _trimmed(content: tuple[Any, ...]) -> tuple[Any, ...]:
    while content and content[-1] is None:
        content = content[:-1]
    return content


def reduce_generator(generator: Any) -> tuple[Any, ...]:
    """Reduce a generator, coroutine or asynchronous generator.

    Raises ValueError if it is running, unless its tasklet is being pickled.
    """
    return opened, (Shell.of(generator),)


def new(kind: int, slots: int) -> Any:
    """Return a generator without contents; `fill` adds them."""
    return _stackless._new_generator(_KINDS[kind], slots)


def opened(shell: Any) -> Any:
    """Return the restored generator; for a shell that was not pickled, a copy of its generator."""
    return copied(shell) if isinstance(shell, Shell) else shell


def copied(shell: Shell) -> Any:
    """Return a generator in the same place with the same values of its variables."""
    picture = shell.picture()
    made = _stackless._new_generator(type(shell.original), picture[-1])
    _restore(made, picture)
    return made


def fill(generator: Any, content: tuple[Any, ...]) -> None:
    """Set the contents of a generator that `new` has returned.

    Raises ValueError or TypeError if they do not fit.
    """
    padded: tuple[Any, ...] = content + (None,) * (8 - len(content))
    state, frame, code, name, qualname, exception, origin, flags = padded
    if not isinstance(code, types.CodeType):
        raise ValueError("not the picture of a generator: no code")
    frame = code if state == FINISHED else whole(frame)
    origin, flags, called = _hook_in(generator, origin, flags or 0)
    name, qualname = name or code.co_name, qualname or code.co_qualname
    _restore(generator, (state, frame, name, qualname, exception, origin, flags, 0))
    if called is not None:
        called(generator)


def _restore(generator: Any, picture: Picture) -> None:
    _stackless._restore_generator(generator, picture)
    if picture[0] == WAITING:
        _waiting[generator] = picture[1], picture[4]


def waiting(generator: Any) -> tuple[Picture, Any]:
    """Return the picture of a restored generator's frame, and the exception that it handles.

    The generator is part of a tasklet's frames. Raises ValueError if it is not, or not filled yet.
    """
    found = _waiting.pop(generator, None)
    if found is None:
        raise ValueError("not the frames of a tasklet: a generator is in use, or incomplete")
    return found


# ------------------------------------------------------------------ asynchronous generators


def _hook_out(generator: Any, origin: Any, flags: int) -> tuple[Any, ...]:
    if not isinstance(generator, types.AsyncGeneratorType):
        return (origin,)
    policy = _stackless.pickle_flags()
    rest = flags & ~_HOOKED
    if not flags & _HOOKED or policy & _HOOK_RESET:
        return None, rest or None
    if policy & _HOOK_BY_VALUE:
        return (by_value(origin),), flags
    return _HAD_HOOKS, flags


def _hook_in(
    generator: Any, origin: Any, flags: int
) -> tuple[Any, int, Callable[[Any], Any] | None]:
    """Return the finalizer, the flags, and the function to call with the generator, or None."""
    if not isinstance(generator, types.AsyncGeneratorType):
        return origin, flags, None
    policy = _stackless.pickle_flags()
    if origin is None or policy & _HOOK_RESET:
        return None, flags & ~_HOOKED, None
    if isinstance(origin, tuple) and policy & _HOOK_BY_VALUE:
        return origin[0], flags, None
    hooks = sys.get_asyncgen_hooks()
    return hooks.finalizer, flags | _HOOKED, hooks.firstiter


# ------------------------------------------------------------------ wrappers


async def _nothing() -> None:
    pass


_coroutine = _nothing()
_WRAPPER: type = type(_coroutine.__await__())
_coroutine.close()


def reduce_wrapper(wrapper: Any) -> tuple[Any, ...]:
    """Reduce the object that `coroutine.__await__()` returns."""
    (coroutine,) = referents(wrapper)
    return awaited, (coroutine,)


def awaited(coroutine: Any) -> Any:
    """Return the iterator that awaiting a coroutine uses."""
    return coroutine.__await__()


async def _no_values() -> AsyncGenerator[None, None]:
    yield


def _types_of_steps() -> tuple[type, type]:
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        generator = _no_values()
        steps = generator.asend(None), generator.aclose()
    finally:
        sys.set_asyncgen_hooks(*hooks)
    for each in steps:
        each.close()
    return type(steps[0]), type(steps[1])


_STEPS = _types_of_steps()


def reduce_step(awaitable: Any) -> tuple[Any, ...]:
    """Reduce an object that `asend`, `athrow`, `aclose` or `__anext__` has returned."""
    generator, state, values = _stackless._step_picture(awaitable)
    values = tuple(value and (by_value(*value),) for value in values)
    return step, (_STEPS.index(type(awaitable)), generator, state, values)


def step(kind: int, generator: Any, state: int, values: tuple[Any, ...]) -> Any:
    """Return a restored awaitable of an asynchronous generator."""
    return _stackless._new_step(
        _STEPS[kind], generator, state, tuple(value and (actual(*value),) for value in values)
    )


def register() -> None:
    """Register the reducers of these types with copyreg."""
    for kind in _KINDS:
        copyreg.pickle(kind, reduce_generator)
    copyreg.pickle(_WRAPPER, reduce_wrapper)
    for kind in _STEPS:
        copyreg.pickle(kind, reduce_step)
