"""Pickling tasklets and all objects that they refer to.

`import stackless` registers reducers with the standard `pickle` for code, cells, modules,
tracebacks, views of dicts, and iterators that it does not support. `dumps` and `loads` also send
functions and classes by value, and check what they receive. `register` adds types that cannot be
pickled as they are, such as open files.
"""

from __future__ import annotations

import copyreg
import types

from stackless._package.surface import adopt
from stackless.pickling import code, errors, functions, generators, objects
from stackless.pickling.blob import (
    MAX_SIZE,
    BlobError,
    BuffersError,
    DamagedError,
    NotABlobError,
    SignatureError,
    TooLargeError,
    dump,
    dumps,
    load,
    loads,
)
from stackless.pickling.code import CodeVersionError, MissingCodeError
from stackless.pickling.contents import (
    BlobContents,
    SavedFrame,
    SavedObject,
    SavedTasklet,
    inspect,
    preview,
)
from stackless.pickling.obstacles import Obstacle, Place, why_not_picklable
from stackless.pickling.registry import register, unregister
from stackless.pickling.snapshots import Snapshotter
from stackless.pickling.sources import SourceError

__all__ = [
    "MAX_SIZE",
    "BlobContents",
    "BlobError",
    "BuffersError",
    "CodeVersionError",
    "DamagedError",
    "MissingCodeError",
    "NotABlobError",
    "Obstacle",
    "Place",
    "SavedFrame",
    "SavedObject",
    "SavedTasklet",
    "SignatureError",
    "Snapshotter",
    "SourceError",
    "TooLargeError",
    "dump",
    "dumps",
    "inspect",
    "load",
    "loads",
    "preview",
    "register",
    "unregister",
    "why_not_picklable",
]

adopt(globals(), "stackless.pickling.")

copyreg.pickle(types.CodeType, code.reduce)
copyreg.pickle(types.CellType, functions.reduce_cell)
copyreg.pickle(types.TracebackType, errors.reduce_traceback)
objects.register()
generators.register()


def __dir__() -> list[str]:
    return sorted(__all__)
