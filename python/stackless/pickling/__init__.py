"""Pickling what the standard library does not: code, cells and more; `import stackless` does it."""

from __future__ import annotations

import copyreg
import types

from stackless._module import Module
from stackless.pickling import code, functions, objects

copyreg.pickle(types.CodeType, code.reduce)
copyreg.pickle(types.CellType, functions.reduce_cell)
copyreg.pickle(types.ModuleType, objects.reduce_module)
copyreg.pickle(Module, objects.reduce_module)
