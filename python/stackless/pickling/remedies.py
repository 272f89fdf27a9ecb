"""Advice about objects that cannot be pickled, for `why_not_picklable`."""

from __future__ import annotations

import io
import re
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from stackless import _stackless

_REGISTER = "stackless.pickling.register"


def remedy(value: Any) -> str:
    """Return a short advice for an object that cannot be pickled."""
    for fits, advice in _ADVICE:
        if fits(value):
            return advice if isinstance(advice, str) else advice(value)
    name = type(value).__name__
    return (
        f"leave it out (by {name}.__getstate__, or a variable that is not alive while waiting), "
        f"or say how to make it again with {_REGISTER}({name}, dump, load)"
    )


def _one_of(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_socket(value: Any) -> bool:
    module = sys.modules.get("_socket")
    return module is not None and isinstance(value, module.socket)


_ADVICE: list[tuple[Callable[[Any], object], str | Callable[[Any], str]]] = [
    (
        _one_of(io.IOBase),
        f"close it before waiting, or have it opened again at its position with {_REGISTER}",
    ),
    (_is_socket, f"close it before waiting, or have it connected again with {_REGISTER}"),
    (
        _one_of(type(threading.Lock()), type(threading.RLock())),
        f"do not hold a lock while waiting; {_REGISTER} can make a new one on the other side",
    ),
    (
        _one_of(threading.Thread),
        "do not refer to threads from what is pickled: they are part of their process",
    ),
    (_one_of(re.Match), "keep match.groups() or match.groupdict() instead"),
    (
        lambda value: type(value).__module__ == "itertools",
        "Python does not show its state: write a generator function instead",
    ),
    (
        _one_of(types.FrameType),
        "frames are pickled only inside tasklets and generators: do not keep them in variables",
    ),
    (
        lambda value: isinstance(value, _stackless.tasklet) and _stackless._why_never_parked(),
        "see stackless.features(): no waiting tasklet can be pickled here",
    ),
    (
        lambda value: isinstance(value, _stackless.tasklet) and _stackless._how_to_park(value),
        lambda value: _stackless._how_to_park(value) or "",
    ),
    (_one_of(types.ModuleType), "put it into a file that can be imported"),
    (
        _one_of(type, types.BuiltinFunctionType),
        "give it the name by which its module knows it",
    ),
]
