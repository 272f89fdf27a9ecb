"""What a worker writes, in one transaction: records, the snapshot, children, messages, the end."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from stackless.durable.records import (
    OVER,
    PAUSED,
    READY,
    RUNNING,
    WAITING,
    DurableError,
    LeaseLost,
    Record,
    Save,
    Start,
    Wanted,
)
from stackless.durable.store.database import Transaction

_MINE = " WHERE id = ? AND token = ? AND worker IS NOT NULL"
_LAST = "steps = CASE WHEN steps < ? THEN ? ELSE steps END, updated = ?"
_SNAPSHOT = "snapshot = ?, position = ?, codes = ?, python = ?, "

#: The workflow stays in the worker. What the claim has set stays, and so do the indexes of it.
_GOES_ON = f"UPDATE durable_workflows SET due = NULL, {_LAST}{_MINE}"
_GOES_ON_SAVED = f"UPDATE durable_workflows SET due = NULL, {_SNAPSHOT}{_LAST}{_MINE}"
#: It leaves the worker. One that is to be paused is not due; one that is to be cancelled is.
_END = (
    f"{_LAST}, worker = NULL, topic = ?, awaits = ?, result = ?, failed = ?, error = ?,"
    f" status = CASE WHEN ? = 1 AND pause = 1 THEN '{PAUSED}' ELSE ? END,"
    " due = CASE WHEN ? = 1 AND pause = 1 THEN NULL WHEN ? = 1 AND cancel = 1 THEN ? ELSE ? END"
    f"{_MINE}"
)
_LEAVES = f"UPDATE durable_workflows SET {_END}"
_LEAVES_SAVED = f"UPDATE durable_workflows SET {_SNAPSHOT}{_END}"


def start(to: Transaction, started: Start, python: str = "") -> bool:
    """Add a workflow, which is due at once. False if there is one of this id."""
    now = to.now
    made = to.run(
        "INSERT INTO durable_workflows (id, app, function, status, arguments, entry, position,"
        " steps, due, parent, token, python, created, updated)"
        " VALUES (?, ?, ?, ?, ?, 1, 1, 0, ?, ?, 0, ?, ?, ?) ON CONFLICT DO NOTHING",
        *(started.id, started.app, started.function, READY, started.arguments, now),
        *(started.parent, python, now, now),
    )
    to.wake()
    return made == 1


def check(to: Transaction, id: str, token: int) -> None:
    """Raise LeaseLost if a claim is over. The row is locked."""
    if not to.rows(
        "SELECT 1 FROM durable_workflows WHERE id = ? AND token = ? AND worker IS NOT NULL"
        " FOR UPDATE",
        *(id, token),
    ):
        raise LeaseLost(f"the workflow {id!r} was claimed by another worker")


def save(to: Transaction, saved: Save) -> Wanted:
    """Write what a workflow has done; return what was asked of it.

    LeaseLost if its claim is over.
    """
    return _save(to, [saved])[0]


def save_each(to: Transaction, saves: list[Save]) -> list[Wanted | Exception]:
    """Do saves of different workflows: all at once, or each for itself if one of them fails."""
    if len(saves) == 1:
        return [*_save(to, saves)]
    refused: tuple[type[Exception], ...] = (DurableError, *to.errors)
    with contextlib.suppress(*refused):
        return to.apart(lambda to: [*_save(to, saves)])
    found: list[Wanted | Exception] = []
    for each in saves:
        try:
            found.append(to.apart(functools.partial(save, saved=each)))
        except refused as error:
            if not to.in_transaction:
                raise
            found.append(error)
    return found


def _save(to: Transaction, saves: list[Save]) -> list[Wanted]:
    now = to.now
    statements: dict[str, list[tuple[Any, ...]]] = {}
    for saved in saves:
        statement, row = _state(saved, now)
        statements.setdefault(statement, []).append(row)
    if sum([to.many(*each) for each in statements.items()]) != len(saves):
        raise LeaseLost(f"the workflow {saves[0].id!r} was claimed by another worker")
    # In one order, so that no two transactions wait for one another.
    to.many(
        "INSERT INTO durable_code VALUES (?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET written = excluded.written",
        [(*row, now) for row in sorted({row for saved in saves for row in saved.code})],
    )
    to.many(
        "INSERT INTO durable_steps (workflow, number, name, began, ended, error, kind, value,"
        " snapshot, position, codes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_step(saved.id, each) for saved in saves for each in saved.records],
    )
    for saved in saves:
        for started in saved.starts:
            start(to, started)
    received = [(each.received, each.id) for each in saves if each.received is not None]
    gone = to.many("DELETE FROM durable_messages WHERE number = ? AND workflow = ?", received)
    if gone != len(received):
        raise DurableError(f"message {received[0][0]} of {received[0][1]!r} was received already")
    to.many(
        "UPDATE durable_workflows SET cancel = 0 WHERE id = ?",
        [(each.id,) for each in saves if each.cancelled],
    )
    to.many(
        "UPDATE durable_workflows SET point = ? WHERE id = ?",
        [(each.point, each.id) for each in saves if each.point is not None],
    )
    for saved in saves:
        if saved.migrated is not None:
            enter(to, saved.id, saved.migrated)
    _look(to, [each for each in saves if each.status == WAITING], now)
    end(to, [each.id for each in saves if each.status in OVER], now)
    wanted = {
        id: Wanted(cancel == 1, pause == 1, migrate)
        for id, cancel, pause, migrate in to.rows(
            "SELECT id, cancel, pause, migrate FROM durable_workflows"
            " WHERE worker IS NOT NULL AND (cancel = 1 OR pause = 1 OR migrate IS NOT NULL)"
        )
    }
    return [wanted.get(each.id, _NOTHING) for each in saves]


_NOTHING = Wanted()


def _state(saved: Save, now: float) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that writes the state of a workflow, and its values."""
    last = max([each.step.number for each in saved.records], default=0)
    snapshot = saved.snapshot
    values: tuple[Any, ...] = (last, last, now)
    if snapshot is not None:
        values = (snapshot.data, snapshot.position, snapshot.codes, saved.python, *values)
    if saved.status == RUNNING:
        statement = _GOES_ON if snapshot is None else _GOES_ON_SAVED
        return statement, (*values, saved.id, saved.token)
    goes_on = int(saved.status not in OVER and saved.error is None)
    return _LEAVES if snapshot is None else _LEAVES_SAVED, (
        *(*values, saved.topic, saved.awaits, saved.result, saved.failed, saved.error),
        *(goes_on, saved.status, goes_on, goes_on, now, saved.due, saved.id, saved.token),
    )


def _step(id: str, record: Record) -> tuple[Any, ...]:
    step, before = record.step, record.snapshot
    kept = (None, None, None) if before is None else (before.data, before.position, before.codes)
    return (
        *(id, step.number, step.name, step.began, step.ended, step.error, step.kind),
        *(record.value, *kept),
    )


def _look(to: Transaction, saves: list[Save], now: float) -> None:
    """Make workflows due if what they wait for came while they ran.

    These are statements of their own, which see what was written before this transaction had the
    lock of the row.
    """
    to.many(
        "UPDATE durable_workflows SET due = ? WHERE id = ? AND status = ? AND EXISTS"
        " (SELECT 1 FROM durable_messages WHERE workflow = ? AND topic = ?)",
        [(now, each.id, WAITING, each.id, each.topic) for each in saves if each.topic is not None],
    )
    for saved in saves:
        if saved.awaits is not None:
            # The lock: the end of the child comes before or after the whole of this.
            found = to.rows(
                "SELECT status FROM durable_workflows WHERE id = ? FOR UPDATE", saved.awaits
            )
            if not found or found[0][0] in OVER:
                to.run(
                    "UPDATE durable_workflows SET due = ? WHERE id = ? AND status = ?",
                    *(now, saved.id, WAITING),
                )


def end(to: Transaction, ids: list[str], now: float) -> None:
    """Remove the messages of workflows that have ended, and wake those that wait for them."""
    to.many("DELETE FROM durable_messages WHERE workflow = ?", [(id,) for id in ids])
    woken = to.many(
        "UPDATE durable_workflows SET due = ? WHERE awaits = ? AND status = ?",
        [(now, id, WAITING) for id in ids],
    )
    if woken:
        to.wake()


def enter(to: Transaction, id: str, function: str) -> int:
    """Let a function take the place of a workflow at the last upgrade point that it has passed."""
    return to.run(
        "UPDATE durable_workflows SET function = ?, arguments = point, entry = steps + 1,"
        " position = steps + 1, snapshot = NULL, codes = NULL, python = '', migrate = NULL"
        " WHERE id = ? AND point IS NOT NULL",
        *(function, id),
    )
