"""Where durable workflows are kept. `open_store` opens the store that a URL names.

`sql` has the operations, once for all databases, and `schema` their tables. `sqlite` and `postgres`
have what is particular to one: connecting, types, the clock, locks. `writer` commits what many
callers have ready together. `database` says what `sql` needs of a database.
"""

from __future__ import annotations

from stackless.durable.store.sql import Store

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def _path(url: str) -> str:
    path = url.removeprefix(_SQLITE)
    if path == url or not path:
        raise ValueError(f"a store is sqlite:///PATH or postgresql://..., not {url!r}")
    if path == ":memory:":
        raise ValueError("a store is in a file: one in memory does not outlive its process")
    return path


def open_store(url: str) -> Store:
    """Open the store that a URL names: "sqlite:///" and a path, or "postgresql://...".

    Raises ValueError for another URL, ImportError without psycopg 3 for the latter, what the
    database raises if it cannot be opened, and DurableError if a later release has written it.
    """
    if url.startswith(_POSTGRES):
        try:
            from stackless.durable.store.postgres import Postgres
        except ImportError as error:
            needed = "pip install 'stackless-rs[durable-postgres]'"
            raise ImportError(f"a store in PostgreSQL needs psycopg 3: {needed}") from error
        return Store(Postgres(url))
    from stackless.durable.store.sqlite import SQLite

    return Store(SQLite(_path(url)))


def key_file(url: str) -> str | None:
    """Return where the key of a store is kept if nothing else is said; None: nowhere.

    ValueError for what is no URL of a store.
    """
    return None if url.startswith(_POSTGRES) else f"{_path(url)}.key"
