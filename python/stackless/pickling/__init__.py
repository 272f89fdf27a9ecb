"""Pickling what the standard library does not: code, cells and more; `import stackless` does it."""

from __future__ import annotations

import copyreg
import types

from stackless.pickling import code, errors, functions, objects

copyreg.pickle(types.CodeType, code.reduce)
copyreg.pickle(types.CellType, functions.reduce_cell)
copyreg.pickle(types.TracebackType, errors.reduce_traceback)
objects.register()
