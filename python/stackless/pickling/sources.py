"""Digests of modules, to check that the functions of a blob come from the same source here."""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import sys
from types import ModuleType

#: Bytes of a digest.
SIZE = 8

#: By module name: the modification time (nanoseconds) and size of the file, and the digest.
_known: dict[str, tuple[tuple[int, int] | None, bytes]] = {}


class SourceError(pickle.UnpicklingError):
    """A module of a blob's functions is missing here, or its source differs."""


def digest(name: str) -> bytes:
    """Return a digest of an imported module's source and of the version of its package."""
    module = sys.modules[name]
    spec = module.__spec__
    file = spec.origin if spec is not None and spec.has_location else None
    stamp = _stamp(file)
    known = _known.get(name)
    if known is None or stamp is None or known[0] != stamp:
        known = _known[name] = stamp, _digest(module, file)
    return known[1]


def _stamp(file: str | None) -> tuple[int, int] | None:
    try:
        status = os.stat(file or "")
    except OSError:  # in an archive, or gone
        return None
    return status.st_mtime_ns, status.st_size


def _digest(module: ModuleType, file: str | None) -> bytes:
    top = sys.modules.get(module.__name__.partition(".")[0])
    version = getattr(top, "__version__", None)
    found = hashlib.blake2b(digest_size=SIZE)
    if isinstance(version, str):
        found.update(version.encode())
    read = getattr(getattr(module.__spec__, "loader", None), "get_data", None)
    if file is not None and read is not None:
        try:
            found.update(b"\n" + read(file))
        except OSError:
            found.update(b"\nunreadable")
    return found.digest()


def check(name: str, expected: bytes) -> None:
    """Raise SourceError unless the module `name` can be imported and has the expected digest."""
    try:
        importlib.import_module(name)
        found = digest(name)
    except Exception as error:
        raise SourceError(
            f"the blob needs the module {name!r}, which cannot be imported here: {error}"
        ) from error
    if found != expected:
        raise SourceError(
            f"the module {name!r} is not the same here: its source, or the version of its "
            "package, differs (allow_changed_source=True loads the blob anyway)"
        )
