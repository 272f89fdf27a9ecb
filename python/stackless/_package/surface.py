"""What the public modules show: their exported names, and where their objects say they belong."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any


def adopt(names: dict[str, Any], private: str) -> None:
    """Set `__module__` of what a public module exports to that module.

    names: the global names of the module, `__name__` and `__all__` among them.
    private: only classes and functions whose `__module__` begins so are changed, as the others
    belong to another public module.
    """
    for name in names["__all__"]:
        value = names.get(name)
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            if str(value.__module__).startswith(private):
                value.__module__ = names["__name__"]


def exported(standard: ModuleType) -> list[str]:
    """The names that a module of the standard library exports, sorted.

    Without an `__all__` those are its public names, but for what it has imported from elsewhere.
    """
    names = getattr(standard, "__all__", None)
    if names is None:
        own = {standard.__name__, f"_{standard.__name__}", "builtins"}
        names = [
            name
            for name, value in vars(standard).items()
            if not name.startswith("_")
            and not isinstance(value, ModuleType)
            and getattr(value, "__module__", "builtins") in own
        ]
    return sorted(names)
