"""Coroutines that wait with every kind of value on their stack, and changes of these values."""

import contextlib
import io
import itertools
import re
import sys
import types
import warnings

from stackless import _stackless


@types.coroutine
def pause(value=None):
    yield
    return value


class Manager:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return True

    async def __aenter__(self):
        await pause()

    async def __aexit__(self, *error):
        await pause()


class AsyncIterator:
    def __init__(self):
        self.left = 2

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        await pause()
        return self.left


def takes(*arguments, **keywords):
    return arguments, keywords


async def loops():
    for number in range(2):
        for letter in "ab":
            await pause((number, letter))
    else:
        await pause()
    return [await pause(each) for each in (1, 2) if each]


async def comprehensions():
    first = [await pause(each) for each in range(2)]
    second = {each: await pause(each) for each in range(2)}
    third = {await pause(each) for each in range(2)}
    return first, second, third, each_of(first)


def each_of(values):
    return [lambda: each for each in values]  # noqa: B023


async def shared(argument=5):
    cell = 1

    def inner():
        nonlocal cell
        cell += argument
        return cell

    values = [(await pause(argument), lambda: argument) for argument in range(2)]  # noqa: B023
    await pause()
    return inner(), [function() for _, function in values], argument


async def displays(*rest):
    first = [1, *rest, await pause(), *rest]
    second = {1, *rest, await pause(1), *rest}
    third = {"a": 1, **{}, "b": await pause(), **{}}
    fourth = (1, *rest, await pause())
    return (
        first,
        second,
        third,
        fourth,
        f"{first}{await pause()!r:>10}{second}",
        first[await pause(0) : 2],
    )


async def calls(value=print):
    first = takes(1, await pause(), *[2], *[await pause()], a=await pause(), **{"d": await pause()})
    second = "text".join([await pause("a")]).split(await pause(None), -1)
    third = takes(**{"a": 1}, **await pause({"c": 3}), d=await pause())
    return takes(takes(value, await pause()), second, third, first)


async def handlers():
    try:
        raise KeyError(1)
    except (KeyError, ValueError) as error:
        await pause()
        try:
            raise ValueError from error
        except ValueError:
            await pause()
        finally:
            await pause()
    try:
        try:
            raise IndexError
        finally:
            await pause()
    except IndexError:
        return [await pause(each) for each in (1, 2)]


async def groups():
    try:
        raise ExceptionGroup("three", [KeyError(1), ValueError(2), OSError(3)])
    except* KeyError:
        await pause()
        await pause()
    except* ValueError as several:
        await pause()
        with contextlib.suppress(TypeError):
            raise TypeError from several
    except* OSError:
        await pause()


async def managers():
    with Manager() as first, Manager():
        await pause()
        async with Manager():
            await pause()
            raise KeyError(first)
    return await pause()


async def asynchronous():
    found = []
    async for each in AsyncIterator():
        found += [each, await pause(each)]
    return found, [await pause(each) async for each in AsyncIterator()]


async def definitions():
    def first(a, b=1, c=(2, 3), *, d=await pause(4), e: int = 5):  # noqa: B008
        return a, b, c, d, e

    def second(a: int = 1, *, b=2):
        return first(a, b)

    @(await pause(lambda function: function))
    def third(b=await pause(1), *, c=await pause(2), **d):  # noqa: B008
        return first, second, b, c, d

    return third(), lambda a=1, *, b=await pause(): (a, b, first)  # noqa: B008


async def unset(flag=False):
    if flag:
        maybe = 1
    await pause()
    for late in ():  # noqa: B007
        pass
    try:
        print(maybe, late, file=None)
    except NameError:
        del flag
        await pause()
    maybe = 2
    await pause()
    return maybe


async def matches(subject=None):
    match subject or {"a": [1, 2], "b": 3}:
        case {"a": [first, *rest], **others} if await pause(False):
            return first, rest, others
        case {"a": [1, second]}:
            await pause()
            return second
    return None


PROGRAMS = {
    each.__name__: each
    for each in (
        loops,
        comprehensions,
        shared,
        displays,
        calls,
        handlers,
        groups,
        managers,
        asynchronous,
        definitions,
        unset,
        matches,
    )
}

if sys.version_info >= (3, 12):
    exec(
        """
async def generics():
    def first[T](a: T = 1, *, b: list[T] = 2) -> T:
        return a
    class Box[T]:
        kept: T
    await pause()
    return first, Box
PROGRAMS["generics"] = generics
"""
    )
if sys.version_info < (3, 14):
    exec(
        """
async def annotations():
    def first(a=1, *, b=2) -> await pause(3):
        return a, b
    return first
PROGRAMS["annotations"] = annotations
"""
    )
else:
    exec(
        """
async def templates():
    return t"{1}a{await pause()!r}b{await pause():>{await pause(3)}}"
PROGRAMS["templates"] = templates
"""
    )

#: The minimum of values that must be found to be needed on the stack or in a variable.
NEEDED = {
    "loops": {"an iterator"},
    "comprehensions": {"an iterator", "a list", "a dict", "a set", "an iterator or a coroutine"},
    "shared": {"a cell", "a list"},
    "displays": {"a list", "a set", "a dict"},
    "calls": {"a dict", "a list", "an object"},
    "handlers": {"an exception", "an exception or None"},
    "groups": {"an exception", "an exception or None", "a list", "a list of exceptions"},
    "managers": {"an exception", "a place in the code"},
    "definitions": {"a tuple"},
    "unset": {"an object"},
    "asynchronous": {"an iterator or a coroutine", "a list"},
    "matches": {"an object"},
    "annotations": {"a tuple", "a dict"},
    "generics": {"an object"},
    "templates": {"a tuple", "an interpolation"},
}


if sys.version_info < (3, 12):
    # A comprehension is a function of its own.
    NEEDED |= {"comprehensions": {"an iterator or a coroutine"}, "shared": {"a cell"}}
    NEEDED |= {"asynchronous": {"an iterator or a coroutine"}}


def junk(name):
    found = [
        *(None, [], [1], (1,), {}, {1: 2}, set(), frozenset({1}), 5, -1, 1 << 40, "text"),
        *(object(), iter(()), pause(), KeyError, types.CellType(), types.CellType(1)),
        *(print, takes, type),
    ]
    # A debug build asserts that the group which `except*` splits has been raised.
    return found if name == "groups" and DEBUG else [*found, KeyError(1)]


DEBUG = hasattr(sys, "gettotalrefcount")
UNTAGGED = [0, 5] if sys.version_info >= (3, 14) else []


def picture_at(function, place):
    """The picture of a new coroutine that has waited `place` times; None if it waits less often."""
    coroutine = function()
    with contextlib.suppress(StopIteration):
        for _ in range(place):
            coroutine.send(None)
        return _stackless._generator_picture(coroutine, None)
    return None


def made(picture):
    new = _stackless._new_generator(types.CoroutineType, picture[-1])
    _stackless._restore_generator(new, picture)
    return new


def changed(picture):
    """Yields pictures, each with another value in one of the slots."""
    function, code, at, offset, values, shape, names = picture[1]
    shape = shape or "o" * len(values)
    others = [
        ("-", None),
        *(("i", each) for each in UNTAGGED),
        *(("o", each) for each in junk(function.__name__)),
    ]
    for slot in range(len(values)):
        for letter, other in others:
            new = (*values[:slot], other, *values[slot + 1 :])
            letters = shape[:slot] + letter + shape[slot + 1 :]
            yield picture[0], (function, code, at, offset, new, letters, names), *picture[2:]


def replace_each(name):
    """Restores and runs each; prints what was needed. To be run in its own process."""
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
    sys.setrecursionlimit(200)
    function = PROGRAMS[name]
    where = f"{name}() ({function.__code__.co_filename}:"
    needed = set()
    place = 0
    while (picture := picture_at(function, place)) is not None:
        run(made(picture))
        for number in range(sum(1 for _ in changed(picture))):
            # Copies share the objects that they refer to, so each starts with a new coroutine.
            other = next(itertools.islice(changed(picture_at(function, place)), number, None))
            try:
                coroutine = made(other)
            except ValueError as error:
                text = str(error)
                assert where in text or "untagged int" in text, text
                needed.add(re.sub(".*must (be|hold) (.*), not .*", r"\2", text))
            else:
                run(coroutine)
        place += 1
    assert place > 1, "it does not wait"
    print(*sorted(needed), sep="\n")


def run(coroutine):
    """Runs it to its end, with any result or error, but not for ever."""
    with contextlib.redirect_stdout(io.StringIO()):
        with contextlib.suppress(BaseException):
            for _ in range(100):
                coroutine.send(None)
        with contextlib.suppress(BaseException):
            coroutine.close()
