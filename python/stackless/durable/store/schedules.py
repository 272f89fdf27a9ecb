"""Schedules in the store: each time is taken by one worker, in the transaction that starts."""

from __future__ import annotations

from stackless.durable.records import Start
from stackless.durable.store.database import Transaction
from stackless.durable.store.saving import start


def put(
    to: Transaction,
    app: str,
    name: str,
    cron: str,
    timezone: str,
    function: str,
    arguments: bytes,
    due: float,
) -> None:
    """Add a schedule, or replace one. While its times are the same, the next one is kept."""
    to.run(
        "INSERT INTO durable_schedules (app, name, cron, zone, function, arguments, due, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (app, name) DO UPDATE SET"
        " due = CASE WHEN durable_schedules.cron = excluded.cron"
        " AND durable_schedules.zone = excluded.zone THEN durable_schedules.due"
        " ELSE excluded.due END, cron = excluded.cron, zone = excluded.zone,"
        " function = excluded.function, arguments = excluded.arguments",
        *(app, name, cron, timezone, function, arguments, due, to.now),
    )
    to.wake()


def fire(to: Transaction, name: str, due: float, following: float, started: Start) -> bool:
    """Start a workflow, if no other worker has taken this time. Returns whether it was."""
    taken = to.run(
        "UPDATE durable_schedules SET due = ? WHERE app = ? AND name = ? AND due = ?",
        *(following, started.app, name, due),
    )
    return taken == 1 and start(to, [started]) == 1
