"""Copies of functions of the standard library that use other global names."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any


def rebound(
    standard: ModuleType, replaced: dict[str, Any], names: Iterable[str], module: str
) -> dict[str, Any]:
    """Return copies of functions of a standard module, by name.

    Their global names are those of the module, `replaced` by the given ones and by the copies
    themselves. Functions that this version of Python does not have are left out. `module` is their
    `__module__`.
    """
    namespace = {**vars(standard), **replaced}
    made = {}
    for name in names:
        function = vars(standard).get(name)
        if function is None:
            continue
        copy = FunctionType(
            function.__code__, namespace, name, function.__defaults__, function.__closure__
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        copy.__doc__ = function.__doc__
        copy.__module__ = module
        namespace[name] = made[name] = copy
    return made
