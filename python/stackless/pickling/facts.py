"""What is found out once about a code object, and kept as long as the code object lives.

Code objects do not change. They are identified by `id`: their hash is computed from all of their
contents, at each use.
"""

from __future__ import annotations

import dis
import weakref
from _weakref import _remove_dead_weakref  # type: ignore[attr-defined]
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType
from typing import Any


class Facts(weakref.ref[CodeType]):
    """The facts of one code object, each found out when it is asked for. It refers to no code."""

    __slots__ = ("_attributes", "_doc", "_names", "data", "digest", "key")
    key: int
    #: The code as it is pickled, or None.
    data: bytes | None
    #: The digest of these data, or None.
    digest: bytes | None
    _names: tuple[str, ...] | None
    _attributes: tuple[str, ...] | None
    _doc: tuple[str | None] | None

    def names(self, code: CodeType) -> tuple[str, ...]:
        """The global names that the code, and code inside it, reads or writes; sorted."""
        if self._names is None:
            self._names = tuple(sorted(_global_names(code)))
        return self._names

    def attributes(self, code: CodeType) -> tuple[str, ...]:
        """The names of attributes and globals in the code, and in code inside it; sorted."""
        if self._attributes is None:
            self._attributes = tuple(sorted(_attribute_names(code)))
        return self._attributes

    def doc(self, code: CodeType) -> str | None:
        """The documentation of a function that is made of the code."""
        if self._doc is None:
            closure = tuple(CellType() for _ in code.co_freevars)
            self._doc = (FunctionType(code, {}, closure=closure).__doc__,)
        return self._doc[0]


#: By the id of the code object.
known: dict[int, Facts] = {}
#: By the digest of the code's data. Code objects with equal data are interchangeable.
_living: dict[bytes, Facts] = {}


def _forget(
    facts: Any,
    known: dict[int, Facts] = known,
    living: dict[bytes, Facts] = _living,
    remove: Any = _remove_dead_weakref,
) -> None:
    remove(known, facts.key)
    if facts.digest is not None:
        remove(living, facts.digest)


def facts(code: CodeType) -> Facts:
    """Return the facts of a code object. Two threads may get two at the first time."""
    found = known.get(id(code))
    if found is None or found() is not code:
        found = Facts(code, _forget)
        found.key = id(code)
        found.data = found.digest = found._names = found._attributes = found._doc = None
        known[found.key] = found
    return found


def make_living(facts: Facts, digest: bytes) -> CodeType | None:
    """Note the digest of a code object; return the code object that `living` finds from now on.

    It is found as long as it lives, also if equal ones come and go.
    """
    facts.digest = digest
    # Each step is one operation of a dict, and another thread may run between them.
    _remove_dead_weakref(_living, digest)
    return _living.setdefault(digest, facts)()


def living(digest: bytes) -> CodeType | None:
    """Return a code object of this process whose data have this digest, or None."""
    found = _living.get(digest)
    return None if found is None else found()


def _global_names(code: CodeType) -> set[str]:
    # Class bodies look up globals with LOAD_NAME.
    here = {
        each.argval
        for each in dis.get_instructions(code)
        if "GLOBAL" in each.opname or each.opname == "LOAD_NAME"
    }
    return here.union(*map(_global_names, _inside(code)))


def _attribute_names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*map(_attribute_names, _inside(code)))


def _inside(code: CodeType) -> Iterator[CodeType]:
    return (each for each in code.co_consts if isinstance(each, CodeType))
