"""Where durable workflows are kept. `open_store` opens the store that a URL names.

`sql` has the operations, once for all databases, and `schema` their tables. `sqlite` is what is
particular to SQLite: connecting, types, the clock, locks. `writer` commits what many callers have
ready together. `database` says what `sql` needs of a database.
"""

from __future__ import annotations

from stackless.durable.store.sql import Store

_SQLITE = "sqlite:///"


def _path(url: str) -> str:
    path = url.removeprefix(_SQLITE)
    if path == url or not path:
        raise ValueError(f"a store is sqlite:///PATH, not {url!r}")
    if path == ":memory:":
        raise ValueError("a store is in a file: one in memory does not outlive its process")
    return path


def open_store(url: str) -> Store:
    """Open the store that a URL names: "sqlite:///" and a path.

    Raises ValueError for another URL, what the database raises if it cannot be opened, and
    DurableError if a later release has written it.
    """
    from stackless.durable.store.sqlite import SQLite

    return Store(SQLite(_path(url)))


def key_file(url: str) -> str:
    """Return where the key of a store is kept if nothing else is said. ValueError as above."""
    return f"{_path(url)}.key"
