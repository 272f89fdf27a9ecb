"""Lists of workflows for the command line and the page: without their snapshots, and filtered."""

from __future__ import annotations

import dataclasses

from stackless.durable.records import DONE, FAILED, STUCK
from stackless.durable.store.sql import Store


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A workflow in a list. Times are in seconds since the epoch."""

    id: str
    function: str
    status: str
    steps: int
    due: float | None
    topic: str | None
    worker: str | None
    python: str
    created: float
    updated: float
    #: Of a stuck or failed one.
    error: str | None


_ROW = ", ".join(field.name for field in dataclasses.fields(Row))
#: Those that no Python has to load any more.
_OVER = (DONE, FAILED, "cancelled")


def rows(
    store: Store,
    app: str,
    *,
    status: str | None = None,
    search: str = "",
    stuck_for: str | None = None,
    limit: int,
) -> list[Row]:
    """Return workflows, the one started last first.

    `search`: a part of the id or of the function's name. `stuck_for`: a Python, as the store has
    it; only those that are stuck, or that this Python cannot load.
    """
    where, values = "app = ?", [app]  # type: str, list[Any]
    if status is not None:
        where += " AND status = ?"
        values.append(status)
    if search:
        part = "".join(f"\\{c}" if c in "\\%_" else c for c in search)
        where += " AND (id LIKE ? ESCAPE '\\' OR function LIKE ? ESCAPE '\\')"
        values += [f"%{part}%"] * 2
    if stuck_for is not None:
        over = ", ".join("?" * len(_OVER))
        where += f" AND (status = ? OR python <> ? AND status NOT IN ({over}))"
        values += [STUCK, stuck_for, *_OVER]
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
    """Return the names of the apps that have workflows in a store."""
    found = store._read("SELECT DISTINCT app FROM durable_workflows ORDER BY app")
    return [name for (name,) in found]


def why_stuck(row: Row, python: str) -> str:
    """Return why a workflow of `rows(stuck_for=python)` does not continue, and what would do."""
    if row.python != python and row.status != STUCK:
        return f"needs a worker with {row.python}; this is {python}"
    return row.error or "stuck"
