"""Locks, queues and `threading.local` objects that were made before the patches.

Whatever refers to such an object gets a new one in its place: the globals of modules, attributes of
classes and of objects, items of dicts and lists, variables of closures. What is in use (a lock that
is held, a queue with waiters) or cannot be changed (a tuple) is listed.
"""

from __future__ import annotations

import _queue
import _thread
import gc
import sys
from collections import deque
from types import BuiltinMethodType, CellType, FrameType, ModuleType
from typing import Any, NamedTuple

from stackless.sync import Lock, RLock, SimpleQueue, local

#: The standard classes.
_LOCK: Any = type(_thread.allocate_lock())
_RLOCK: Any = _thread.RLock
_LOCAL: Any = _thread._local
_SIMPLE_QUEUE: Any = _queue.SimpleQueue


class Unrepaired(NamedTuple):
    """Something that blocks the thread although the program is patched: see `status()`."""

    #: The module and the name under which it was found; "" if that is not known.
    module: str
    name: str
    #: What it is, and why it was left.
    reason: str


#: What the last repair has left.
unrepaired: list[Unrepaired] = []


def _objects() -> list[Any]:
    """Return what the collector knows, without modules, whose dicts it knows as well.

    On CPython 3.12 the module _asyncio shows destroyed objects among its references:
    gc.get_referents() would bring them back to life, and its list of them would become a circle.
    """
    return [each for each in gc.get_objects() if not isinstance(each, ModuleType)]


def _made_before(kinds: tuple[type, ...]) -> list[Any]:
    """Return the objects of these types that the collector reaches, and their bound methods."""
    methods = {*kinds, BuiltinMethodType}
    reached = [each for each in gc.get_referents(*_objects()) if type(each) in methods]
    found = {
        id(each): each
        for each in reached
        if type(each) is not BuiltinMethodType or type(each.__self__) in kinds
    }
    return list(found.values())


def _replacement(old: Any) -> tuple[Any, str]:
    """Return what takes the place of an object, or None and the reason."""
    kind = type(old)
    if kind is _LOCK:
        return (None, "a lock that is held") if old.locked() else (Lock(), "")
    if kind is _RLOCK:
        if old._is_owned() or not old.acquire(False):
            return None, "a reentrant lock that is held"
        old.release()
        return RLock(), ""
    if kind is _SIMPLE_QUEUE:
        new = SimpleQueue[Any]()
        while not old.empty():
            new.put(old.get_nowait())
        return new, ""
    made = local()
    made.__dict__.update(old.__dict__)
    return made, ""


def _names() -> dict[int, tuple[str, str]]:
    """Return module and name of the globals and the attributes of classes, by id."""
    names: dict[int, tuple[str, str]] = {}
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for key, value in list(vars(module).items()):
                names.setdefault(id(value), (module.__name__, key))
    return names


def _class_dicts() -> dict[int, type]:
    """Return all classes, by the ids of their dicts."""
    return {
        id(each): kind
        for kind in gc.get_objects()
        if isinstance(kind, type)
        for each in gc.get_referents(kind)
        if type(each) is dict
    }


def _replace_in(holder: Any, old: Any, new: Any, classes: dict[int, type]) -> bool:
    """Replace an object in one that refers to it; True if it was found there."""
    done = False
    if id(holder) in classes:
        # The attributes of classes are cached.
        for key, value in list(holder.items()):
            if value is old:
                try:
                    setattr(classes[id(holder)], key, new)
                    done = True
                except TypeError:
                    pass
    elif isinstance(holder, dict):
        for key, value in list(holder.items()):
            if value is old:
                holder[key] = new
                done = True
    elif isinstance(holder, list):
        for number, value in enumerate(holder):
            if value is old:
                holder[number] = new
                done = True
    elif isinstance(holder, CellType):
        holder.cell_contents = new
        done = True
    else:
        attributes = getattr(holder, "__dict__", {})
        slots = [name for kind in type(holder).__mro__ for name in _slots_of(kind)]
        for name in [*attributes, *slots]:
            if _value(holder, name) is old:
                try:
                    setattr(holder, name, new)
                    done = True
                except (AttributeError, TypeError):
                    pass
    return done


def _slots_of(kind: type) -> list[str]:
    slots: Any = vars(kind).get("__slots__", ())
    return [slots] if isinstance(slots, str) else list(slots)


def _value(holder: Any, name: str) -> Any:
    try:
        return object.__getattribute__(holder, name)
    except AttributeError:
        return None


def repair() -> None:
    """Replace what was made before. Called once the standard names are those of `stackless`."""
    found = _made_before((_LOCK, _RLOCK, _LOCAL, _SIMPLE_QUEUE))
    names, classes = _names(), _class_dicts()
    new: dict[int, Any] = {}
    unrepaired.clear()
    for old in found:
        if type(old) is not BuiltinMethodType:
            made, reason = _replacement(old)
            if made is not None:
                new[id(old)] = made
            else:
                unrepaired.append(Unrepaired(*names.get(id(old), ("", "")), reason))
    for old in found:
        if type(old) is BuiltinMethodType and id(old.__self__) in new:
            new[id(old)] = getattr(new[id(old.__self__)], old.__name__, old)
    # gc.get_referrers() would compare each reference with each of the objects.
    wanted = set(map(id, found))
    holders = [
        each for each in _objects() if not wanted.isdisjoint(map(id, gc.get_referents(each)))
    ]
    for holder in holders:
        if holder is holders or _is_own(holder, found) or holder is names or holder is new:
            continue
        for old in [each for each in gc.get_referents(holder) if id(each) in new]:
            if not _replace_in(holder, old, new[id(old)], classes) and isinstance(holder, _FIXED):
                what = f"a {type(old).__name__} in a {type(holder).__name__}"
                unrepaired.append(Unrepaired(*names.get(id(holder), ("", "")), what))


#: What cannot be changed, or not without changing its order.
_FIXED = (tuple, set, frozenset, deque)


def _is_own(holder: Any, found: list[Any]) -> bool:
    """True for what this module has made, and for the globals of modules of this package."""
    if isinstance(holder, dict):
        name = holder.get("__name__")
        return isinstance(name, str) and name.partition(".")[0] == "stackless"
    return holder is found or isinstance(holder, FrameType)
