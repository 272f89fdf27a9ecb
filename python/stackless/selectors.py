"""The module `selectors`, whose selectors block only the calling tasklet.

All names of the standard module are here. The classes are subclasses of the standard ones, so that
`isinstance` of those holds; they wait with `stackless.select`, whose docstring says what applies
where the standard modules define nothing.
"""

from __future__ import annotations

import selectors as _stock
from selectors import *  # noqa: F403
from typing import Any

from stackless import select as _select
from stackless._package.surface import exported as _exported

__all__ = _exported(_stock)


class SelectSelector(_stock.SelectSelector):  # type: ignore[no-redef]
    """A selector that waits with select()."""

    _select = staticmethod(_select.select)


class PollSelector(_stock.PollSelector):  # type: ignore[no-redef]
    """A selector that waits with a poll object."""

    _selector_cls = _select.poll


class EpollSelector(_stock.EpollSelector):  # type: ignore[no-redef]
    """A selector that waits with an epoll object."""

    _selector_cls = _select.epoll

    def wake(self) -> None:
        """End a select() that waits now: it returns what is ready, or an empty list.

        May be called in any thread, and never switches. The standard class has no such method.
        """
        self._selector.wake()  # type: ignore[attr-defined]


DefaultSelector = EpollSelector  # type: ignore[assignment, misc]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Return a name that the standard module has, but does not export."""
    return getattr(_stock, name)
