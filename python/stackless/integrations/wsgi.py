"""A WSGI server (PEP 3333) on tasklets: `python -m stackless serve`, for use from Python.

    from stackless.integrations import wsgi

    wsgi.serve("module:app", bind="127.0.0.1:8000", workers=2)

Needs httptools: `pip install stackless-rs[serve]`.
"""

from __future__ import annotations

try:
    import httptools as _httptools  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "stackless.integrations.wsgi needs httptools: pip install 'stackless-rs[serve]'",
        name=_error.name,
    ) from _error

from stackless._package.surface import adopt as _adopt
from stackless._serve.exchange import ClientGone
from stackless._serve.master import serve
from stackless._serve.settings import Settings
from stackless._serve.worker import Server

__all__ = ["ClientGone", "Server", "Settings", "serve"]

_adopt(globals(), "stackless._serve.")


def __dir__() -> list[str]:
    return sorted(__all__)
