"""The packages that benchmarks compare with: each name is a module, None if it is not installed."""

import importlib
import importlib.metadata
import importlib.util
from types import ModuleType
from typing import Any


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


stackless: Any = _optional("stackless")
sync: Any = _optional("stackless.sync")
greenlet: Any = _optional("greenlet")
gevent: Any = _optional("gevent")
gevent_queue: Any = _optional("gevent.queue")
uvloop: Any = _optional("uvloop")
httptools: Any = _optional("httptools")

_INSTALLABLE: dict[str, ModuleType | None] = {
    "stackless": stackless,
    "greenlet": greenlet,
    "gevent": gevent,
    "uvloop": uvloop,
    "httptools": httptools,
}


def missing(name: str | None) -> bool:
    """True if a package is not installed. One that is not listed above is not imported."""
    if name is None:
        return False
    if name in _INSTALLABLE:
        return _INSTALLABLE[name] is None
    return importlib.util.find_spec(name) is None


def versions() -> dict[str, str | None]:
    """Return the installed version of each package, None for a missing one."""
    found: dict[str, str | None] = {}
    for name, module in _INSTALLABLE.items():
        distribution = "stackless-rs" if name == "stackless" else name
        try:
            found[name] = importlib.metadata.version(distribution) if module else None
        except importlib.metadata.PackageNotFoundError:
            found[name] = "of an unknown version"
    return found
