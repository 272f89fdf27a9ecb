"""The module `selectors`, whose selectors wait in the calling tasklet alone.

All names of the standard module are here. Its classes are subclassed, so that `isinstance` holds
for those of the standard module, too; they wait with `stackless.select`, which says what is defined
where the standard modules are silent.
"""

from __future__ import annotations

import selectors as _stock
from selectors import *  # noqa: F403
from typing import Any

from stackless import select as _select
from stackless._package.surface import exported as _exported

__all__ = _exported(_stock)


class SelectSelector(_stock.SelectSelector):  # type: ignore[no-redef]
    """With select()."""

    _select = staticmethod(_select.select)


class PollSelector(_stock.PollSelector):  # type: ignore[no-redef]
    """With poll()."""

    _selector_cls = _select.poll


class EpollSelector(_stock.EpollSelector):  # type: ignore[no-redef]
    """With epoll()."""

    _selector_cls = _select.epoll


DefaultSelector = EpollSelector  # type: ignore[assignment, misc]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Names that the standard module has, but does not export."""
    return getattr(_stock, name)
