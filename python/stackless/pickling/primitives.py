"""Pickling of the objects of `stackless.sync`, for `stackless.dumps`: plain pickle refuses them.

An object is pickled with the tasklets that wait for it, and with the tasklet that holds it. It is
refused if a thread waits for it, or if a thread or a main tasklet holds it: neither can travel.
"""

from __future__ import annotations

import copyreg
from typing import Any

from stackless import _stackless
from stackless.pickling.tasklets import _Queue

PRIMITIVES: tuple[type, ...] = (
    _stackless.Lock,
    _stackless.RLock,
    _stackless.SimpleQueue,
    _stackless._Event,
    _stackless._Queue,
    _stackless._Semaphore,
    _stackless._Waiters,
)


def reduce_primitive(primitive: Any) -> tuple[Any, ...]:
    """Reduce an object. TypeError if a thread waits for it or holds it."""
    state = _stackless._primitive_state(primitive)
    more: Any = None
    if issubclass(type(primitive), _stackless._Queue):
        more = (
            list(primitive.queue) if not primitive._hooked else primitive.queue,
            primitive.maxsize,
            primitive.unfinished_tasks,
            primitive.is_shutdown,
            primitive._parts(),
        )
    elif isinstance(primitive, _stackless.SimpleQueue):
        more = primitive._items()
    attributes = dict(getattr(primitive, "__dict__", ()))
    make = copyreg.__newobj__, (type(primitive),)  # type: ignore[attr-defined]
    return *make, (state, more, attributes), None, None, set_state


def set_state(primitive: Any, state: Any) -> None:
    """Fill a new object. TypeError or ValueError for an invalid state."""
    if not isinstance(state, tuple) or len(state) != 3:
        raise TypeError("the state of a primitive is a tuple of 3 items")
    (count, bound, owner, waiting), more, attributes = state
    kind: Any = type(primitive)
    if issubclass(kind, _stackless._Queue):
        items, maxsize, unfinished, is_shutdown, parts = more
        primitive._begin(maxsize, kind._last_first, kind._hooked)
        if kind._hooked:
            primitive.queue = items
        else:
            for item in items:
                primitive.queue.append(item)
        primitive.unfinished_tasks, primitive.is_shutdown = unfinished, is_shutdown
        primitive._set_parts(parts)
    elif isinstance(primitive, _stackless.SimpleQueue):
        for item in more:
            primitive.put(item)
    _stackless._set_primitive_state(primitive, count, bound, owner)
    for name, value in attributes.items():
        setattr(primitive, name, value)
    if waiting:
        _Queue(primitive, False, waiting).settle()
