"""Functions of the standard library with other global names than their own."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any


def rebound(
    standard: ModuleType, replaced: dict[str, Any], names: Iterable[str], module: str
) -> dict[str, Any]:
    """Copies of functions of a standard module, which find `replaced` and each other among their
    global names; by name. What this version does not have is left out."""
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
