"""Stand-ins for the frames in the state of a tasklet: frames themselves are not pickled."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NoReturn

from stackless.pickling import errors, generators
from stackless.pickling.functions import by_value
from stackless.pickling.generators import Picture, Shell, code_of, line_of, valued, whole


class Frame:
    """A frame of a function or of a generator that can be restored.

    `after` says what the pending call of the innermost frame returns.
    """

    __slots__ = ("after", "generator", "picture", "shell")

    def __init__(self, picture: Picture | None, generator: Any = None, after: int = 0) -> None:
        self.picture = picture
        self.generator = generator
        self.after = after
        #: Only while pickling: the stand-in that keeps the picture of the generator's frame.
        self.shell: Shell | None = None

    @classmethod
    def of(cls, generator: Any, picture: Picture, after: int) -> Frame:
        """The stand-in for a frame of a living tasklet."""
        made = cls(picture, generator, after)
        if generator is not None:
            made.shell = Shell.of(generator)
            made.shell.waiting = picture
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        after = (self.after,) if self.after else ()
        if self.generator is not None:
            return of_generator, (Shell.of(self.generator), *after)
        assert self.picture is not None
        if len(self.picture) == 1:
            return of_class_call, self.picture
        return of_function, (valued(self.picture), *after)

    def __repr__(self) -> str:
        if self.generator is not None:
            return f"<{self.generator.__qualname__}()>"
        assert self.picture is not None
        if len(self.picture) == 1:
            return "<the call of a class>"
        code = code_of(self.picture)
        return repr(Place(code.co_qualname, code.co_filename, line_of(self.picture)))


def of_function(picture: Picture, after: int = 0) -> Frame:
    """A restored frame."""
    return Frame(whole(picture), None, after)


def of_generator(generator: Any, after: int = 0) -> Frame:
    """The frame of a restored generator."""
    return Frame(None, generator, after)


def of_class_call(made: object) -> Frame:
    """Return the frame that the interpreter has between the call of a class and its __init__."""
    return Frame(class_call(made))


def _class_call(made: object, init: Callable[[], object]) -> object:
    # Replaces the interpreter's own frame, whose code is not pickled.
    result: object = init()
    if result is not None:
        raise TypeError(f"__init__() should return None, not {type(result).__name__!r}")
    return made


def class_call(made: object) -> Picture:
    """Return the picture of `_class_call` while it waits for `init()`."""
    at, end = _first_call(_class_call.__code__)
    return _class_call, None, at, end - at, (made, None, None), "oo-", None


def _first_call(code: CodeType) -> tuple[int, int]:
    """Return the positions of the first call and of the instruction after it, in code units."""
    instructions = iter(dis.get_instructions(code))
    at = next(each.offset for each in instructions if each.opname in ("PRECALL", "CALL"))
    behind = next(each for each in instructions if each.opname != "CALL")
    return at // 2, behind.offset // 2


def chain(frames: list[Frame]) -> list[tuple[Any, Picture, Any]]:
    """Return what the engine needs to restore these frames.

    Frames that were not pickled belong to a living tasklet: their generators are copied.
    """
    copies: dict[int, Any] = {}
    for frame in frames:
        if frame.shell is not None:
            copies[id(frame.generator)] = generators.copied(frame.shell)
    return [_link(frame, copies) for frame in frames]


def _link(frame: Frame, copies: dict[int, Any]) -> tuple[Any, Picture, Any]:
    if frame.generator is None:
        assert frame.picture is not None
        picture, exception = frame.picture, None
        if len(picture) == 1:
            picture = class_call(*picture)
        generator = None
    else:
        generator = copies.get(id(frame.generator), frame.generator)
        picture, exception = generators.waiting(generator)
    if copies:
        function, code, at, offset, values, *rest = picture
        picture = function, code, at, offset, tuple(copies.get(id(v), v) for v in values), *rest
    return generator, picture, exception


def link(frame: Any) -> tuple[Any, Picture, Any]:
    """Return what the engine needs to restore a frame of a blob that is not a packed one.

    Raises ValueError if it is no frame.
    """
    if type(frame) is tuple and len(frame) == 1:
        frame = Frame(frame)
    if not isinstance(frame, Frame):
        raise ValueError("not the state of a tasklet: unknown frames")
    return _link(frame, {})


def waiting_in_vain(places: list[Place]) -> list[Frame]:
    """Return frames that show these places, and raise RuntimeError when they continue."""
    frames = [_at(place, _calling.__code__) for place in places[:-1]]
    frames.append(_at(places[-1], _waiting.__code__, refuse, places))
    return frames


def _at(place: Place, template: CodeType, *values: Any) -> Frame:
    name = place.name.rpartition(".")[2]
    code = errors.stub(template, place.filename, name, place.name, place.line)
    at, end = _first_call(code)
    if not values:  # it waits for another frame, and continues after the call
        values = (None,)
        at, offset = (at, end - at) if sys.version_info >= (3, 13) else (end, 0)
    else:
        offset = 0
    return Frame((FunctionType(code, {}), None, at, offset, values, None, None))


def _calling(callee: Callable[[], object]) -> None:
    callee()


def _waiting(refuse: Callable[..., object], places: list[Place]) -> None:
    refuse()  # this is the call in which it waits
    refuse(places)


def refuse(places: list[Place]) -> NoReturn:
    """Raise the RuntimeError of a tasklet that cannot be restored."""
    raise RuntimeError(f"the tasklet had C state that can't be restored; it was in {places[-1]}")


class Call:
    """The function call of a tasklet that has not begun."""

    __slots__ = ("arguments", "function", "keywords")

    def __init__(
        self, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.keywords = keywords

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = tuple(map(by_value, self.arguments))
        if not self.keywords:
            return Call, (by_value(self.function), arguments)
        keywords = {name: by_value(value) for name, value in self.keywords.items()}
        return Call, (by_value(self.function), arguments, keywords)


class Place:
    """The place of a call of a tasklet that cannot be restored: for inspection only."""

    __slots__ = ("filename", "line", "name")

    def __init__(self, name: str, filename: str, line: int) -> None:
        self.name = name
        self.filename = filename
        self.line = line

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self.name, self.filename, self.line)

    def __repr__(self) -> str:
        return f"<{self.name}() at {self.filename}:{self.line}>"
