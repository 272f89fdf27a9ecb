"""Lists of workflows for the command line and the page: without their snapshots, and filtered."""

from __future__ import annotations

import dataclasses
from typing import Any

from stackless.durable.records import needed
from stackless.durable.store.sql import STUCK_HERE, Store


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A workflow in a list. Times are in seconds since the epoch."""

    id: str
    function: str
    status: str
    steps: int
    due: float | None
    topic: str | None
    #: The child for whose end it waits, and the workflow whose child it is.
    awaits: str | None
    parent: str | None
    worker: str | None
    python: str
    created: float
    updated: float
    #: Of a stuck or failed one.
    error: str | None

    @property
    def needs(self) -> str | None:
        """Which interpreter can load it, such as "CPython 3.12 on x86_64"; None for all."""
        return needed(self.python)


_ROW = ", ".join(field.name for field in dataclasses.fields(Row))


def rows(
    store: Store,
    app: str,
    *,
    status: str | None = None,
    search: str = "",
    stuck_for: str = "",
    limit: int,
) -> list[Row]:
    """Return workflows, the one started last first.

    `search`: a part of the id or of the function's name. `stuck_for`: a Python; those that neither
    this nor a worker that is there can continue.
    """
    where = "app = ?"
    values: list[Any] = [app]
    if status is not None:
        where += " AND status = ?"
        values.append(status)
    if stuck_for:
        where += f" AND {STUCK_HERE}"
        values.append(stuck_for)
    if search:
        part = "".join(f"\\{c}" if c in "\\%_" else c for c in search)
        where += " AND (id LIKE ? ESCAPE '\\' OR function LIKE ? ESCAPE '\\')"
        values += [f"%{part}%"] * 2
    found = store._read(
        f"SELECT {_ROW} FROM durable_workflows WHERE {where} ORDER BY created DESC, id LIMIT ?",
        *values,
        limit,
    )
    return [Row(*each) for each in found]


def counts(store: Store, app: str) -> dict[str, int]:
    """Return how many workflows have which status."""
    found = store._read(
        "SELECT status, count(*) FROM durable_workflows WHERE app = ? GROUP BY status", app
    )
    return {status: count for status, count in found}


def apps(store: Store) -> list[str]:
    """Return the names of the apps that have workflows or schedules in a store."""
    found = store._read(
        "SELECT DISTINCT app FROM durable_workflows UNION SELECT app FROM durable_schedules"
        " ORDER BY app"
    )
    return [name for (name,) in found]


def arguments(store: Store, id: str) -> bytes | None:
    """Return the blob of what a workflow was called with."""
    found = store._read("SELECT arguments FROM durable_workflows WHERE id = ?", id)
    data: bytes | None = found[0][0] if found else None
    return data


def messages(store: Store, id: str) -> list[tuple[str, float, bytes]]:
    """Return the topics, times and blobs of messages that a workflow has not received yet."""
    found = store._read(
        "SELECT topic, sent, value FROM durable_messages WHERE workflow = ? ORDER BY number"
        " LIMIT 100",
        id,
    )
    return [(topic, sent, value) for topic, sent, value in found]
