"""`inspect`: what a blob holds, without unpickling it.

Nothing of the blob is called, imported or run, and no code object is made of its data: the pickle
is read as a graph (`stream`), pickled code as names and lines (`code_text`), and values become
text. So a blob of any origin can be inspected, in bounded time and memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from stackless import _stackless
from stackless._package.redactor import redacted
from stackless.pickling import blob, code, stream
from stackless.pickling.blob import MAX_SIZE, DamagedError, Key, TooLargeError
from stackless.pickling.code_text import CodeText, read_code
from stackless.pickling.stream import Items, Made, Name

#: Default of the maximum number of opcodes to read.
LIMIT = 1_000_000
#: The most characters of one value, and of all names and values together.
_SHOWN, _ALL_SHOWN = 200, 1 << 20
_DEEPEST = 4
#: The most values of one container that a redactor gets.
_REDACTED = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class SavedObject:
    """An object in a blob that is neither a number or string nor a container of them."""

    #: The name of the class or function that makes it, with the module.
    type: str


@dataclasses.dataclass(frozen=True, slots=True)
class SavedFrame:
    """A call in progress of a tasklet in a blob."""

    #: The qualified name of the function; "?" if its code is not there.
    function: str
    #: "" if its code is not there.
    file: str
    #: The current line from 1; 0 if it is not known.
    line: int
    #: Local variables that have a value, as text: numbers, strings and containers of them as their
    #: `repr`, shortened; of other objects the name of the class or function that makes them.
    variables: dict[str, str]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, in {self.function}"


@dataclasses.dataclass(frozen=True, slots=True)
class SavedTasklet:
    """A tasklet in a blob."""

    #: Its class, with the module.
    type: str
    #: False if it has not begun: the only frame is that of the call that it will make.
    begun: bool
    #: Its calls, outermost first; empty if it has ended.
    frames: tuple[SavedFrame, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class BlobContents:
    """What `inspect` has found in a blob."""

    #: The version of the format.
    format: int
    #: The Python that wrote it, such as "3.13".
    python: str
    signed: bool
    #: True if the signature was checked with a key; False for a blob that is not signed.
    verified: bool
    #: The modules of functions that it needs.
    modules: tuple[str, ...]
    #: Digests of its code objects, if those are in a code store.
    code: tuple[bytes, ...]
    #: All tasklets in it, in the order in which unpickling makes them.
    tasklets: tuple[SavedTasklet, ...]
    #: The object that it holds, as text, like a variable of a frame.
    text: str


def inspect(
    data: bytes | bytearray | memoryview,
    *,
    key: Key | Iterable[Key] | None = None,
    max_size: int | None = MAX_SIZE,
    limit: int = LIMIT,
    code_store: Mapping[bytes, bytes] | None = None,
) -> BlobContents:
    """Return what a blob of `stackless.dumps` holds, without unpickling it.

    Nothing in the blob is called, imported or run; blobs of other Pythons can be read as well. The
    checksum is checked, or with `key` the signature; without a key a signed blob is read unchecked.
    `max_size` is in bytes, None for any. `code_store` is that of `dumps`; without it, frames whose
    code is there have no file, line and names of variables. Values are shown as the redactor of
    this program says (`stackless.set_redactor`), which gets objects that are not made as a
    `SavedObject`.

    Raises NotABlobError, DamagedError, SignatureError; TooLargeError for a blob above `max_size` or
    a pickle of more than `limit` opcodes; TypeError for arguments of other types. May be called
    from any thread.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"inspect() needs bytes, not {type(data).__name__}")
    if not isinstance(limit, int):
        raise TypeError(f"limit must be an int, not {type(limit).__name__}")
    opened = blob.opened(memoryview(data).cast("B"), key, max_size)
    whole, made = _read(opened.pickle, limit)
    table = opened.table
    look = _Look(table.python[0], code_store)
    return BlobContents(
        opened.version,
        f"3.{table.python[0]}",
        bool(opened.flags & blob.SIGNED),
        opened.verified,
        tuple(name for name, _ in table.modules),
        tuple(table.codes),
        tuple(tasklet for each in made for tasklet in look.tasklets(each)),
        _Text(_SHOWN).of(whole),
    )


def preview(data: bytes | bytearray | memoryview, *, limit: int = LIMIT) -> str:
    """Return what a pickle of the standard `pickle` holds, as text, without unpickling it.

    As `inspect` shows a variable. Raises DamagedError for what is no pickle, TooLargeError for one
    of more than `limit` opcodes. May be called from any thread.
    """
    return _Text(_SHOWN).of(_read(bytes(data), limit)[0])


def _read(pickle: Any, limit: int) -> tuple[Any, list[Made]]:
    try:
        return stream.read(pickle, limit)
    except OverflowError as error:
        raise TooLargeError(str(error)) from None
    except Exception as error:  # pickletools raises errors of many types
        raise DamagedError(f"the pickle is damaged: {error}") from error


class _Look:
    """Finds tasklets in the graph of a pickle."""

    def __init__(self, minor: int, code_store: Mapping[bytes, bytes] | None) -> None:
        self.minor = minor
        self.code_store = code_store
        #: How many more characters are shown.
        self.left = _ALL_SHOWN
        #: What is known of code, by the id of its data, which are kept alive.
        self.known: dict[int, tuple[Any, CodeText | None]] = {}

    # -------------------------------------------------------------- tasklets

    def tasklets(self, made: Made) -> list[SavedTasklet]:
        """Return the tasklet that an object is, or nothing."""
        state = made.state
        if made.arguments != () or not isinstance(state, tuple):
            return []
        if 4 <= len(state) <= 7 and isinstance(state[2], tuple) and isinstance(state[3], int):
            frames = state[2]  # packed
        elif 8 <= len(state) <= 10 and isinstance(state[3], Items):
            frames = tuple(state[3].items)
        else:
            return []
        if not isinstance(state[0], int):
            return []
        calls = [each for each in frames if _named(each, "Call")]
        if calls:
            return [SavedTasklet(_type(made), False, tuple(map(self.call, calls[:1])))]
        last = len(frames) - 1
        found = [self.frame(each, number == last) for number, each in enumerate(frames)]
        return [SavedTasklet(_type(made), True, tuple(each for each in found if each is not None))]

    def call(self, call: Made) -> SavedFrame:
        function = _contents(_first(call))
        text = self.code_of(function)
        if text is None:
            return _unknown(function)
        return SavedFrame(_cut(text.name), _cut(text.file), text.first_line, {})

    def frame(self, frame: Any, innermost: bool) -> SavedFrame | None:
        """Return a frame; None for one that is the interpreter's own, or damaged."""
        if _named(frame, "of_function"):
            frame = _first(frame)
        elif _named(frame, "of_generator"):
            state = getattr(_first(frame), "state", None)
            frame = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if not isinstance(frame, tuple) or len(frame) < 5:
            return None
        function, its_code, at, _, values, shape, names = (*frame, None, None)[:7]
        if not isinstance(at, int) or not isinstance(values, tuple):
            return None
        text = self.code_of(its_code) or self.code_of(function)
        if text is None:
            return _unknown(function)
        # Before 3.13 a frame that waits for a call stands behind the call.
        line = text.line(at if innermost or self.minor >= 13 else at - 1)
        variables = self.variables(text.variables, values, shape)
        if isinstance(names, Items) and names.kind == "dict":
            items = [(name, each) for name, each in names.items if isinstance(name, str)]
            names, values = [name for name, _ in items], [each for _, each in items]
            variables |= self.variables(names, values, None)
        return SavedFrame(_cut(text.name), _cut(text.file), line, variables)

    def variables(self, names: Iterable[str], values: Any, shape: Any) -> dict[str, str]:
        found = {}
        shape = shape if isinstance(shape, str) else "o" * len(values)
        for name, value, letter in zip(names, values, shape, strict=False):
            if self.left <= 0:
                break
            if letter == "o" and not name.startswith("."):
                text = _Text(min(_SHOWN, self.left)).of(_contents(value))
                name = _cut(name)
                found[name] = text
                self.left -= len(name) + len(text)
        return found

    # -------------------------------------------------------------- code

    def code_of(self, made: Any) -> CodeText | None:
        """Return what is known of the code of a code object or of a function by value."""
        made = _contents(made)
        if _named(made, "make"):
            made = _first(made)
        is_digest = _named(made, "stored")
        if not is_digest and not _named(made, "load"):
            return None
        data = _first(made)
        if isinstance(data, Made):
            data = _first(data)  # protocols below 3: `_codecs.encode(text, "latin1")`
        if id(data) not in self.known:
            self.known[id(data)] = data, self.read(data, is_digest)
        return self.known[id(data)][1]

    def read(self, data: Any, is_digest: bool) -> CodeText | None:
        if isinstance(data, str):
            data = data.encode("latin-1", "replace")
        if not isinstance(data, bytes):
            return None
        if is_digest:
            stored = None if self.code_store is None else self.code_store.get(data)
            if stored is None:
                return None
            stored = bytes(stored)
            if hashlib.blake2b(stored, digest_size=code.DIGEST).digest() != data:
                raise DamagedError(f"code in the code store is damaged: {data.hex()}")
            data = stored
        try:
            return read_code(data)
        except ValueError:
            return None


def _unknown(function: Any) -> SavedFrame:
    """Return the frame of a function whose code is not there."""
    return SavedFrame(_cut(str(function)) if isinstance(function, Name) else "?", "", 0, {})


# ------------------------------------------------------------------ values


def _named(value: Any, name: str) -> bool:
    """Return True if a value is made by the function of this package with that name."""
    if not isinstance(value, Made) or not isinstance(value.make, Name):
        return False
    return value.make.name == name and value.make.module.startswith("stackless.pickling.")


def _first(made: Made) -> Any:
    """Return the first of the arguments that something is made with."""
    return made.arguments[0] if isinstance(made.arguments, tuple) and made.arguments else None


def _contents(value: Any) -> Any:
    """Return what is in a cell or behind a stand-in; other values as they are."""
    for _ in range(3):  # a cell, the shell in it, a stand-in
        if _named(value, "itself"):
            value = _first(value)
        elif _named(value, "filled") and isinstance(value.arguments, tuple) and value.arguments:
            value = value.arguments[-1]
        elif _named(value, "cell"):
            value = value.state if value.state is not None else stream.Unknown()
    return value


def _type(value: Any) -> str:
    """Return the name of the class or function that makes a value, or that it is."""
    for _ in range(4):
        if isinstance(value, Name):
            return str(value)
        if not isinstance(value, Made):
            return ""
        how = value.make.name if isinstance(value.make, Name) else ""
        if how in _BY_VALUE and isinstance(value.arguments, tuple) and len(value.arguments) > 1:
            name = value.arguments[1]
            return name if isinstance(name, str) else ""
        if how == "getattr":
            match value.arguments:
                case of, str(name):
                    return f"{_type(of)}.{name}"
        if how in _INDIRECT:
            value = _first(value)
        else:
            value = value.make
    return ""


#: Functions of cloudpickle that make a class; its name is their second argument.
_BY_VALUE = frozenset(("_make_skeleton_class", "_make_skeleton_enum"))
#: Functions that make an instance of their first argument.
_INDIRECT = frozenset(("_reconstructor", "__newobj__", "__newobj_ex__", "new_exception"))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class _Text:
    """Writes a value as text of limited length."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.parts: list[str] = []
        self.redacts = _stackless.get_redactor() is not None

    def of(self, value: Any) -> str:
        self.write(value, 0)
        text = "".join(self.parts)
        return text + "…" if self.left < 0 else text

    def add(self, text: str) -> None:
        if self.left >= 0:
            self.parts.append(text[: self.left])
            self.left -= len(text)

    def write(self, value: Any, depth: int) -> None:
        if self.left < 0:
            return
        value = _modern(value)
        if self.redacts:
            text = redacted(_Plain().of(value))
            if text is not None:
                self.add(text)
                return
        if isinstance(value, int) and value.bit_length() > 4000:
            self.add(f"<int of {value.bit_length()} bits>")
        elif isinstance(value, (str, bytes)):
            self.add(repr(value[: self.left + 1]))
        elif value is None or isinstance(value, (int, float)):
            self.add(repr(value))
        elif isinstance(value, tuple):
            self.several("(", value, ",)" if len(value) == 1 else ")", depth)
        elif isinstance(value, Items) and value.kind == "dict":
            self.several("{", value.items, "}", depth, pairs=True)
        elif isinstance(value, Items) and value.items or _kind(value) == "list":
            begin, end = _BRACKETS[value.kind]
            self.several(begin, value.items, end, depth)
        else:
            self.add(f"<{_name(value)}>")

    def several(self, begin: str, items: Any, end: str, depth: int, *, pairs: bool = False) -> None:
        self.add(begin)
        if depth >= _DEEPEST and items:
            self.add("…")
            items = ()
        for number, each in enumerate(items):
            if self.left < 0:
                break
            if number:
                self.add(", ")
            if pairs:
                self.write(each[0], depth + 1)
                self.add(": ")
                each = each[1]
            self.write(each, depth + 1)
        self.add(end)


def _modern(value: Any) -> Any:
    """Return bytes and sets as such: protocols below 3 have no opcodes for them."""
    if isinstance(value, Made) and isinstance(value.make, Name):
        match value.make.name, value.arguments:
            case "encode", (str(text), "latin1"):
                return text[: _SHOWN + 1].encode("latin-1", "replace")
            case ("set" | "frozenset") as kind, (Items() as items,):
                return Items(kind, items.items)
    return value


class _Plain:
    """Makes values as a redactor expects them: a list as a list, for example, cut if it is long."""

    def __init__(self) -> None:
        self.left = _REDACTED

    def of(self, value: Any, deep: int = _DEEPEST) -> Any:
        self.left -= 1
        value = _modern(value)
        if isinstance(value, tuple):
            return tuple(self.several(value, deep))
        if isinstance(value, Items):
            if value.kind == "dict":
                pairs = self.several(value.items, deep + 1)
                return {_hashable(pair[0]): pair[1] for pair in pairs if pair}
            found = self.several(value.items, deep)
            if value.kind == "list":
                return found
            return _SETS[value.kind](map(_hashable, found))
        if value is None or isinstance(value, (int, float, str, bytes)):
            return value
        return SavedObject(_name(value))

    def several(self, items: Any, deep: int) -> list[Any]:
        found: list[Any] = []
        for each in items if deep > 0 else ():
            if self.left <= 0:
                break
            found.append(self.of(each, deep - 1))
        return found


_SETS: dict[str, Any] = {"set": set, "frozenset": frozenset}


def _hashable(value: Any) -> Any:
    """Return a key; as text if the data have one that is not hashable."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _name(value: Any) -> str:
    if _named(value, "make"):
        return "function"
    return _cut(_kind(value) or _type(value) or "object")


def _kind(value: Any) -> str:
    return value.kind if isinstance(value, Items) else ""


_BRACKETS = {"list": "[]", "set": "{}", "frozenset": ("frozenset({", "})")}
