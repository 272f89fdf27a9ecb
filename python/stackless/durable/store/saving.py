"""What a worker writes, in one transaction: records, the snapshot, children, messages, the end."""

from __future__ import annotations

from stackless.durable.records import (
    OVER,
    PAUSED,
    READY,
    RUNNING,
    WAITING,
    DurableError,
    LeaseLost,
    Save,
    Start,
    Wanted,
)
from stackless.durable.store.database import Transaction

#: Returns what was asked for meanwhile.
_WANTED = " WHERE id = ? AND token = ? AND worker IS NOT NULL RETURNING cancel, pause, migrate"
_LAST = "steps = CASE WHEN steps < ? THEN ? ELSE steps END, updated = ?"
_SNAPSHOT = "snapshot = ?, position = ?, codes = ?, python = ?, "

#: The workflow stays in the worker.
_GOES_ON = f"UPDATE durable_workflows SET {_LAST}{_WANTED}"
_GOES_ON_SAVED = f"UPDATE durable_workflows SET {_SNAPSHOT}{_LAST}{_WANTED}"
#: It leaves the worker. One that is to be paused is not due; one that is to be cancelled is.
_LEAVES = (
    f"UPDATE durable_workflows SET {_LAST}, worker = NULL, topic = ?, awaits = ?, result = ?,"
    " failed = ?, error = ?,"
    f" status = CASE WHEN ? = 1 AND pause = 1 THEN '{PAUSED}' ELSE ? END,"
    " due = CASE WHEN ? = 1 AND pause = 1 THEN NULL WHEN ? = 1 AND cancel = 1 THEN ? ELSE ? END"
    f"{_WANTED}"
)


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
    """Write what a workflow has done. LeaseLost if the claim is over."""
    now = to.now
    last = max((each.step.number for each in saved.records), default=0)
    snapshot = saved.snapshot
    if saved.status == RUNNING and snapshot is not None:
        found = to.rows(
            _GOES_ON_SAVED,
            *(snapshot.data, snapshot.position, snapshot.codes, saved.python),
            *(last, last, now, saved.id, saved.token),
        )
    elif saved.status == RUNNING:
        found = to.rows(_GOES_ON, last, last, now, saved.id, saved.token)
    else:
        found = _leave(to, saved, last, now)
    if not found:
        raise LeaseLost(f"the workflow {saved.id!r} was claimed by another worker")
    for digest, data in saved.code:
        to.run(
            "INSERT INTO durable_code VALUES (?, ?, ?)"
            " ON CONFLICT (digest) DO UPDATE SET written = excluded.written",
            *(digest, data, now),
        )
    for each in saved.records:
        step, before = each.step, each.snapshot
        to.run(
            "INSERT INTO durable_steps (workflow, number, name, began, ended, error, kind, value,"
            " snapshot, position, codes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(saved.id, step.number, step.name, step.began, step.ended, step.error, step.kind),
            *(each.value, *((before.data, before.position, before.codes) if before else [None] * 3)),
        )
    for started in saved.starts:
        start(to, started)
    if saved.received is not None:
        gone = to.run(
            "DELETE FROM durable_messages WHERE number = ? AND workflow = ?",
            *(saved.received, saved.id),
        )
        if gone != 1:
            raise DurableError(f"message {saved.received} of {saved.id!r} was received already")
    if saved.cancelled:
        to.run("UPDATE durable_workflows SET cancel = 0 WHERE id = ?", saved.id)
    if saved.point is not None:
        to.run("UPDATE durable_workflows SET point = ? WHERE id = ?", saved.point, saved.id)
    if saved.migrated is not None:
        enter(to, saved.id, saved.migrated)
    if saved.status == WAITING:
        _look(to, saved, now)
    if saved.status in OVER:
        end(to, saved.id, now)
    cancel, pause, migrate = found[0]
    return Wanted(cancel == 1 and not saved.cancelled, pause == 1, migrate)


def _leave(to: Transaction, saved: Save, last: int, now: float) -> list[tuple[object, ...]]:
    if saved.snapshot is not None:
        each = saved.snapshot
        to.run(
            "UPDATE durable_workflows SET snapshot = ?, position = ?, codes = ?, python = ?"
            " WHERE id = ? AND token = ? AND worker IS NOT NULL",
            *(each.data, each.position, each.codes, saved.python, saved.id, saved.token),
        )
    goes_on = int(saved.status not in OVER and saved.error is None)
    return to.rows(
        _LEAVES,
        *(last, last, now, saved.topic, saved.awaits, saved.result, saved.failed, saved.error),
        *(goes_on, saved.status, goes_on, goes_on, now, saved.due, saved.id, saved.token),
    )


def _look(to: Transaction, saved: Save, now: float) -> None:
    """Make a workflow due if what it waits for came while it ran.

    These are statements of their own, which see what was written before this transaction had the
    lock of the row.
    """
    if saved.topic is not None:
        to.run(
            "UPDATE durable_workflows SET due = ? WHERE id = ? AND status = ? AND EXISTS"
            " (SELECT 1 FROM durable_messages WHERE workflow = ? AND topic = ?)",
            *(now, saved.id, WAITING, saved.id, saved.topic),
        )
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


def end(to: Transaction, id: str, now: float) -> None:
    """Remove the messages of a workflow that has ended, and wake those that wait for it."""
    to.run("DELETE FROM durable_messages WHERE workflow = ?", id)
    to.run(
        "UPDATE durable_workflows SET due = ? WHERE awaits = ? AND status = ?", now, id, WAITING
    )


def enter(to: Transaction, id: str, function: str) -> int:
    """Let a function take the place of a workflow at the last upgrade point that it has passed."""
    return to.run(
        "UPDATE durable_workflows SET function = ?, arguments = point, entry = steps + 1,"
        " position = steps + 1, snapshot = NULL, codes = NULL, python = '', migrate = NULL"
        " WHERE id = ? AND point IS NOT NULL",
        *(function, id),
    )
