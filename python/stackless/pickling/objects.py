"""Modules by name, and other objects that the standard library does not pickle."""

from __future__ import annotations

import importlib
import pickle
import sys
from types import ModuleType
from typing import Any


def reduce_module(module: ModuleType) -> tuple[Any, ...]:
    """The reducer of modules: they are imported by name.

    Raises pickle.PicklingError for a module that `sys.modules` does not have under its name.
    """
    if sys.modules.get(module.__name__) is not module:
        raise pickle.PicklingError(
            f"can't pickle the module {module.__name__!r}: sys.modules has no such module, "
            "or another one, under its name"
        )
    return importlib.import_module, (module.__name__,)
