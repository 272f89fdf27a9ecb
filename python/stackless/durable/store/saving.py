"""What workers write: records, snapshots, children, messages, the ends of workflows."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from stackless.durable.records import (
    CANCELLED,
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
_LAST = " steps = CASE WHEN steps < ? THEN ? ELSE steps END, updated = ?"
#: The workflow stays in the worker, with a new snapshot and without. The claim has set the other
#: columns; leaving them alone leaves their indexes alone.
_STAYS_SAVED = (
    "UPDATE durable_workflows SET snapshot = ?, position = ?, codes = ?, python = ?, due = NULL,"
    f"{_LAST}{_MINE}"
)
#: What was asked of it meanwhile as well.
_STAYS_SAVED_WANTED = f"{_STAYS_SAVED} RETURNING cancel, pause, migrate"
_STAYS = f"UPDATE durable_workflows SET due = NULL,{_LAST}{_MINE}"
#: It leaves the worker. One that is to be paused is not due; one that is to be cancelled is.
_LEAVES = (
    "UPDATE durable_workflows SET snapshot = coalesce(?, snapshot),"
    " position = coalesce(?, position), codes = coalesce(?, codes),"
    " python = coalesce(?, python), worker = NULL, topic = ?, awaits = ?, result = ?,"
    " failed = ?, error = ?,"
    " status = CASE WHEN ? = 1 AND pause = 1 THEN ? ELSE ? END,"
    " due = CASE WHEN ? = 0 THEN NULL WHEN pause = 1 THEN NULL WHEN cancel = 1 THEN ? ELSE ? END,"
    f"{_LAST}{_MINE}"
)


def start(to: Transaction, all_started: list[Start], python: str = "") -> int:
    """Add workflows, which are due at once. Returns how many; those whose id exists are not."""
    if not all_started:
        return 0
    to.wake()
    now = to.now
    return to.many(
        "INSERT INTO durable_workflows (id, app, function, status, arguments, entry, position,"
        " steps, due, parent, token, python, created, updated)"
        " VALUES (?, ?, ?, ?, ?, 1, 1, 0, ?, ?, 0, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (each.id, each.app, each.function, READY, each.arguments, now)
            + (each.parent, python, now, now)
            for each in all_started
        ],
    )


def check(to: Transaction, id: str, token: int) -> None:
    """Raise LeaseLost if a claim is over. The row is locked."""
    if not to.rows(f"SELECT 1 FROM durable_workflows{_MINE} FOR UPDATE", id, token):
        raise LeaseLost(f"the workflow {id!r} was claimed by another worker")


def save_all(to: Transaction, saves: list[Save]) -> list[Wanted | Exception]:
    """Do saves; return what was asked of each workflow meanwhile, or why its save was refused."""
    if len(saves) == 1:
        return [save_one(to, saves[0])]
    refused: tuple[type[Exception], ...] = (DurableError, *to.errors)
    with contextlib.suppress(*refused):
        return list(to.apart(lambda to: save(to, saves)))
    found: list[Wanted | Exception] = []
    for each in saves:
        try:
            found += to.apart(functools.partial(save, saves=[each]))
        except refused as error:
            if not to.in_transaction:
                raise
            found.append(error)
    return found


def save_one(to: Transaction, each: Save) -> Wanted:
    """Do a save, or raise: with two statements if it is that of a step with a snapshot."""
    data = each.snapshot
    if data is None or each.status != RUNNING or len(each.records) != 1 or _is_rare(each):
        return save(to, [each])[0]
    (record,) = each.records
    step, now = record.step, to.now
    found = to.rows(
        _STAYS_SAVED_WANTED,
        *(data.data, data.position, data.codes, each.python),
        *(step.number, step.number, now, each.id, each.token),
    )
    if not found:
        raise _lost(each)
    to.run(_RECORD, *_row(each, record))
    ((cancel, pause, migrate),) = found
    return Wanted(cancel == 1, pause == 1, migrate) if cancel or pause or migrate else _NOTHING


def _is_rare(each: Save) -> bool:
    """Whether more is to be written than a snapshot and records."""
    given = each.received, each.point, each.migrated
    return bool(each.code or each.starts or each.cancelled) or given != (None, None, None)


def _lost(each: Save) -> LeaseLost:
    return LeaseLost(f"the workflow {each.id!r} was claimed by another worker")


def save(to: Transaction, saves: list[Save]) -> list[Wanted]:
    """Do saves, or raise. LeaseLost if the claim of one is over."""
    now = to.now
    with_snapshot, without, leaving = [], [], []
    for each in saves:
        last = max((record.step.number for record in each.records), default=0)
        tail = (last, last, now, each.id, each.token)
        if each.status != RUNNING:
            leaving.append(_leaves(each, now) + tail)
        elif each.snapshot is not None:
            data = each.snapshot
            with_snapshot.append((data.data, data.position, data.codes, each.python, *tail))
        else:
            without.append(tail)
    written = (
        to.many(_STAYS_SAVED, with_snapshot) + to.many(_STAYS, without) + to.many(_LEAVES, leaving)
    )
    if written != len(saves):
        raise _lost(saves[0])
    _records(to, saves, now)
    start(to, [started for each in saves for started in each.starts])
    _rare(to, saves)
    _look(to, saves, now)
    end(to, [each.id for each in saves if each.status in OVER])
    wanted = _wanted(to, saves)
    # Children that are started while their parent is being cancelled are its children already.
    to.many(
        "UPDATE durable_workflows SET status = ?, due = NULL WHERE id = ? AND parent = ?"
        " AND status = ? AND snapshot IS NULL AND steps = 0",
        [
            (CANCELLED, started.id, each.id, READY)
            for each, asked in zip(saves, wanted, strict=True)
            if asked.cancel
            for started in each.starts
        ],
    )
    return wanted


def _leaves(saved: Save, now: float) -> tuple[Any, ...]:
    data = saved.snapshot
    # One that has ended or is stuck is neither paused nor cancelled.
    goes_on = int(saved.status not in OVER and saved.error is None)
    return (
        *((data.data, data.position, data.codes, saved.python) if data else (None,) * 4),
        *(saved.topic, saved.awaits, saved.result, saved.failed, saved.error),
        *(goes_on, PAUSED, saved.status, goes_on, now, saved.due),
    )


def _row(saved: Save, each: Record) -> tuple[Any, ...]:
    step, old = each.step, each.snapshot
    return (
        *(saved.id, step.number, step.name, step.began, step.ended, step.error, step.kind),
        each.value,
        *((old.data, old.position, old.codes) if old else _NO_SNAPSHOT),
    )


_RECORD = (
    "INSERT INTO durable_steps (workflow, number, name, began, ended, error, kind, value,"
    " snapshot, position, codes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NO_SNAPSHOT = (None, None, None)


def _records(to: Transaction, saves: list[Save], now: float) -> None:
    # In one order, so that no two transactions wait for one another.
    to.many(
        "INSERT INTO durable_code VALUES (?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET written = excluded.written",
        [(*row, now) for row in sorted({row for each in saves for row in each.code})],
    )
    to.many(_RECORD, [_row(saved, each) for saved in saves for each in saved.records])
    received = [(each.received, each.id) for each in saves if each.received is not None]
    gone = to.many("DELETE FROM durable_messages WHERE number = ? AND workflow = ?", received)
    if gone != len(received):
        raise DurableError(f"message {received[0][0]} of {received[0][1]!r} was received already")


def _rare(to: Transaction, saves: list[Save]) -> None:
    for each in saves:
        if each.cancelled:
            to.run("UPDATE durable_workflows SET cancel = 0 WHERE id = ?", each.id)
        if each.point is not None:
            to.run("UPDATE durable_workflows SET point = ? WHERE id = ?", each.point, each.id)
        if each.migrated is not None:
            enter(to, each.id, each.migrated)
            to.wake()


def _look(to: Transaction, saves: list[Save], now: float) -> None:
    """Make workflows due if what they wait for came while they ran.

    These are statements of their own, which see what was written before this transaction had the
    locks of the rows.
    """
    to.many(
        "UPDATE durable_workflows SET due = ? WHERE id = ? AND status = ? AND EXISTS"
        " (SELECT 1 FROM durable_messages WHERE workflow = ? AND topic = ?)",
        [(now, each.id, WAITING, each.id, each.topic) for each in saves if each.topic is not None],
    )
    for each in saves:
        if each.awaits is None:
            continue
        # The lock: the end of the child comes before or after the whole of this.
        found = to.rows("SELECT status FROM durable_workflows WHERE id = ? FOR UPDATE", each.awaits)
        if not found or found[0][0] in OVER:
            to.run(
                "UPDATE durable_workflows SET due = ? WHERE id = ? AND status = ?",
                *(now, each.id, WAITING),
            )


def end(to: Transaction, ids: list[str]) -> None:
    """Remove the messages of workflows that have ended, and wake those that wait for them."""
    to.many("DELETE FROM durable_messages WHERE workflow = ?", [(id,) for id in ids])
    if to.many(
        "UPDATE durable_workflows SET due = ? WHERE awaits = ? AND status = ?",
        [(to.now, id, WAITING) for id in ids],
    ):
        to.wake()


def _wanted(to: Transaction, saves: list[Save]) -> list[Wanted]:
    # There is an index of exactly these.
    rows = to.rows(
        "SELECT id, cancel, pause, migrate FROM durable_workflows"
        " WHERE worker IS NOT NULL AND (cancel = 1 OR pause = 1 OR migrate IS NOT NULL)"
    )
    if not rows:
        return [_NOTHING] * len(saves)
    found = {id: Wanted(cancel == 1, pause == 1, migrate) for id, cancel, pause, migrate in rows}
    return [found.get(each.id, _NOTHING) for each in saves]


_NOTHING = Wanted()


def enter(to: Transaction, id: str, function: str) -> int:
    """Let a function take the place of a workflow at the last upgrade point that it has passed."""
    return to.run(
        "UPDATE durable_workflows SET function = ?, arguments = point, entry = steps + 1,"
        " position = steps + 1, snapshot = NULL, codes = NULL, python = '', migrate = NULL"
        " WHERE id = ? AND point IS NOT NULL",
        *(function, id),
    )
