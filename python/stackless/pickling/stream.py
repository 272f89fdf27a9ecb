"""A pickle as a graph of what it would make, read without calling or importing anything.

Numbers, strings and bytes are themselves, tuples are tuples; the rest are the classes here.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

#: How pickles name the module of built-in names; the last two in protocols below 3.
BUILTINS = frozenset(("builtins", "__builtin__", "exceptions"))


class Name:
    """Something that is found by a name in a module."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __str__(self) -> str:
        return self.name if self.module in BUILTINS else f"{self.module}.{self.name}"


class Made:
    """The result of calling `make` with `arguments`, and the state that it gets afterwards."""

    __slots__ = ("arguments", "make", "state")

    def __init__(self, make: Any, arguments: Any) -> None:
        self.make = make
        self.arguments = arguments
        self.state: Any = None


class Items:
    """A list, set or frozenset of `items`, or a dict of pairs."""

    __slots__ = ("items", "kind")

    def __init__(self, kind: str, items: list[Any]) -> None:
        self.kind = kind
        self.items = items


class Unknown:
    """An object that a pickle refers to and does not hold."""

    __slots__ = ()


def read(data: bytes, limit: int) -> tuple[Any, list[Made]]:
    """Return what a pickle holds, and all objects that it would make by calling something.

    The latter are in the order in which they would be made.

    Raises ValueError if the data are no pickle, OverflowError if it has more than `limit` opcodes.
    """
    reader = _Reader()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if number >= limit:
            raise OverflowError(f"the pickle has more than {limit} opcodes")
        if opcode.name in _IGNORED:
            continue
        reader.run(opcode.name, argument)
    return reader.pop(), reader.made


_IGNORED = frozenset(("PROTO", "FRAME", "STOP", "READONLY_BUFFER"))


class _Reader:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.made: list[Made] = []

    def run(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _MAKES:
            self.stack.append(_MAKES[name]())
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        else:
            raise ValueError(f"unknown opcode {name}")

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the pickle takes a value that is not there")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def marked(self) -> list[Any]:
        if not self.marks:
            raise ValueError("the pickle takes values that are not there")
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def pop_one(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    # -------------------------------------------------------------- memo

    def put(self, place: Any) -> None:
        self.memo[len(self.memo) if place is None else place] = self.top()

    def get(self, place: Any) -> None:
        if place not in self.memo:
            raise ValueError("the pickle refers to a value that is not there")
        self.stack.append(self.memo[place])

    # -------------------------------------------------------------- containers

    def tuple_of(self, count: int) -> None:
        found = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(found)))

    def add(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Items) and target.kind != "dict":
            target.items += items

    def add_pairs(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Items) and target.kind == "dict":
            target.items += zip(items[::2], items[1::2], strict=False)

    def dict_of(self, _: Any) -> None:
        items = self.marked()
        self.stack.append(Items("dict", []))
        self.add_pairs(items)

    def pair(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.add_pairs([key, value])

    # -------------------------------------------------------------- objects

    def name(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(Name(module, name))

    def stacked_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("the pickle names something without a name")
        self.stack.append(Name(module, name))

    def make(self, make: Any, arguments: Any) -> None:
        made = Made(make, arguments)
        self.made.append(made)
        self.stack.append(made)
        # A reducer's sixth item sets the state: it is called as `setter(object, state)`.
        if isinstance(make, Name) and isinstance(arguments, tuple) and len(arguments) == 2:
            filled, state = arguments
            if make.name in _SETTERS and isinstance(filled, Made):
                filled.state = state

    def reduce(self, _: Any) -> None:
        arguments, make = self.pop(), self.pop()
        self.make(make, arguments)

    def new_with_keywords(self, _: Any) -> None:
        self.pop()
        self.reduce(None)

    def make_marked(self, _: Any) -> None:
        kind, *arguments = self.marked() or [None]
        self.make(kind, tuple(arguments))

    def make_named(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self.make(Name(module, name), tuple(self.marked()))

    def build(self, _: Any) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, Made):
            target.state = state

    def forget(self, _: Any) -> None:
        self.pop()
        self.stack.append(Unknown())


#: Names of functions of this package that set the state of what was made.
_SETTERS = frozenset(("fill", "fill_exception", "set_state"))

#: Opcodes that push their argument.
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8".split()
)
_MAKES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": lambda: Items("list", []),
    "EMPTY_DICT": lambda: Items("dict", []),
    "EMPTY_SET": lambda: Items("set", []),
    "BYTEARRAY8": lambda: Made(Name("builtins", "bytearray"), None),
    **dict.fromkeys(("PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"), Unknown),
}
_ACTIONS: dict[str, Callable[[_Reader, Any], None]] = {
    "BINPERSID": _Reader.forget,
    "MARK": _Reader.mark,
    "POP": _Reader.pop_one,
    "POP_MARK": lambda reader, _: reader.marked().clear(),
    "DUP": lambda reader, _: reader.stack.append(reader.top()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Reader.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Reader.get),
    "TUPLE": lambda reader, _: reader.stack.append(tuple(reader.marked())),
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "LIST": lambda reader, _: reader.stack.append(Items("list", reader.marked())),
    "DICT": _Reader.dict_of,
    "FROZENSET": lambda reader, _: reader.stack.append(Items("frozenset", reader.marked())),
    "APPEND": lambda reader, _: reader.add([reader.pop()]),
    "APPENDS": lambda reader, _: reader.add(reader.marked()),
    "ADDITEMS": lambda reader, _: reader.add(reader.marked()),
    "SETITEM": _Reader.pair,
    "SETITEMS": lambda reader, _: reader.add_pairs(reader.marked()),
    "GLOBAL": _Reader.name,
    "STACK_GLOBAL": _Reader.stacked_name,
    "REDUCE": _Reader.reduce,
    "NEWOBJ": _Reader.reduce,
    "NEWOBJ_EX": _Reader.new_with_keywords,
    "OBJ": _Reader.make_marked,
    "INST": _Reader.make_named,
    "BUILD": _Reader.build,
}
