"""What is done to a workflow from outside: cancel, pause, retry, fork, migrate, remove."""

from __future__ import annotations

from stackless.durable.records import (
    CANCELLED,
    FAILED,
    GATHER,
    OVER,
    PAUSED,
    READY,
    RUNNING,
    SLEEPING,
    STUCK,
    WAITING,
    NoSuchWorkflow,
    WrongState,
)
from stackless.durable.store.database import Transaction
from stackless.durable.store.saving import end, enter

#: How long code is kept that no snapshot needs: workers remember for a shorter time what is stored.
CODE_KEPT = 3600.0

#: A workflow and its children, theirs, and so on.
_FAMILY = (
    "WITH RECURSIVE family (id) AS (SELECT id FROM durable_workflows WHERE id = ? UNION"
    " SELECT child.id FROM durable_workflows AS child JOIN family ON child.parent = family.id)"
    " SELECT id FROM family"
)


def status_of(to: Transaction, id: str) -> str:
    """Return the status of a workflow, whose row is locked. NoSuchWorkflow if there is none."""
    found = to.rows("SELECT status FROM durable_workflows WHERE id = ? FOR UPDATE", id)
    if not found:
        raise NoSuchWorkflow(f"there is no workflow {id!r}")
    status: str = found[0][0]
    return status


def _refuse(id: str, what: str, status: str) -> WrongState:
    state = f"it is {status}"
    if status in OVER:
        state = f"it has ended ({status})"
    return WrongState(f"the workflow {id!r} cannot be {what}: {state}")


def cancel(to: Transaction, id: str) -> None:
    """Cancel a workflow and its children. WrongState if it has ended."""
    status = status_of(to, id)
    if status in OVER:
        raise _refuse(id, "cancelled", status)
    for (each,) in to.rows(_FAMILY, id):
        _cancel(to, each, status_of(to, each))


def _cancel(to: Transaction, id: str, status: str) -> None:
    now = to.now
    if status in OVER:
        return
    # What has done nothing yet, or cannot be continued, has ended.
    ended = to.run(
        "UPDATE durable_workflows SET status = ?, due = NULL, pause = 0, updated = ? WHERE id = ?"
        " AND worker IS NULL AND (status = ? OR (snapshot IS NULL AND steps < entry))",
        *(CANCELLED, now, id, STUCK),
    )
    if ended:
        end(to, [id])
        return
    to.run("UPDATE durable_workflows SET cancel = 1, pause = 0, updated = ? WHERE id = ?", now, id)
    if status != RUNNING:
        _make_ready(to, id, now)


def _make_ready(to: Transaction, id: str, now: float) -> None:
    to.wake()
    to.run(
        "UPDATE durable_workflows SET status = ?, due = ?, updated = ? WHERE id = ?",
        *(READY, now, now, id),
    )


def pause(to: Transaction, id: str) -> None:
    """Let a workflow stop before its next request. WrongState if it has ended or is stuck."""
    status = status_of(to, id)
    if status not in (READY, RUNNING, SLEEPING, WAITING, PAUSED):
        raise _refuse(id, "paused", status)
    to.run("UPDATE durable_workflows SET pause = 1, updated = ? WHERE id = ?", to.now, id)
    if status != RUNNING:
        to.run("UPDATE durable_workflows SET status = ?, due = NULL WHERE id = ?", PAUSED, id)


def resume(to: Transaction, id: str) -> None:
    """Let a paused workflow continue. WrongState if it is not paused."""
    status = status_of(to, id)
    asked = to.run(
        "UPDATE durable_workflows SET pause = 0, updated = ? WHERE id = ? AND pause = 1",
        *(to.now, id),
    )
    if not asked:
        raise _refuse(id, "resumed", status)
    if status == PAUSED:
        _make_ready(to, id, to.now)


def retry(to: Transaction, id: str) -> None:
    """Let a workflow continue that has failed, before its failed step; or that is stuck.

    WrongState for another one.
    """
    status = status_of(to, id)
    if status not in (FAILED, STUCK):
        raise _refuse(id, "retried", status)
    if status == FAILED:
        ((failed, steps),) = to.rows("SELECT failed, steps FROM durable_workflows WHERE id = ?", id)
        number = failed or steps + 1
        _rewind(to, id, number, _gathered(to, id, number))
    _begin_anew(to, id)
    _make_ready(to, id, to.now)


def _begin_anew(to: Transaction, id: str) -> None:
    """Forget how a workflow has ended, and what was asked of it before."""
    to.run(
        "UPDATE durable_workflows SET result = NULL, error = NULL, failed = NULL, cancel = 0,"
        " pause = 0 WHERE id = ?",
        id,
    )


def _gathered(to: Transaction, id: str, number: int) -> int:
    """Return the number of the last of several steps in parallel; else that of the request."""
    found = to.rows(
        "SELECT name FROM durable_steps WHERE workflow = ? AND number = ? AND kind = ?",
        *(id, number, GATHER),
    )
    return number + int(found[0][0]) if found else number


def _rewind(to: Transaction, id: str, number: int, last: int = 0) -> None:
    """Take a workflow back to before a request: to the last snapshot before it, and the records.

    Those until `last` stay if they have no error: steps that were done in parallel.
    """
    _use_snapshot(to, id, number)
    to.run(
        "DELETE FROM durable_steps WHERE workflow = ? AND number >= ?"
        " AND (number = ? OR number > ? OR error IS NOT NULL)",
        *(id, number, number, last),
    )
    to.run(
        "UPDATE durable_workflows SET failed = NULL, steps = coalesce((SELECT max(number)"
        " FROM durable_steps WHERE workflow = ?), entry - 1) WHERE id = ?",
        *(id, id),
    )


def _use_snapshot(to: Transaction, id: str, number: int) -> None:
    """Set the last snapshot before a request; without one it begins anew, with the records."""
    to.run(
        "UPDATE durable_workflows SET (snapshot, position, codes) ="
        " (SELECT snapshot, position, codes FROM durable_steps WHERE workflow = ? AND number = ?)"
        " WHERE id = ? AND EXISTS (SELECT 1 FROM durable_steps WHERE workflow = ? AND number = ?"
        " AND snapshot IS NOT NULL)",
        *(id, number, id, id, number),
    )
    if to.rows("SELECT 1 FROM durable_workflows WHERE id = ? AND position <= ?", id, number):
        return
    found = to.rows(
        "SELECT snapshot, position, codes FROM durable_steps WHERE workflow = ?"
        " AND snapshot IS NOT NULL AND position <= ? ORDER BY position DESC LIMIT 1",
        *(id, number),
    )
    snapshot, position, codes = found[0] if found else (None, None, None)
    to.run(
        "UPDATE durable_workflows SET snapshot = ?, position = coalesce(?, entry), codes = ?"
        " WHERE id = ?",
        *(snapshot, position, codes, id),
    )


def fork(to: Transaction, id: str, number: int | None, new: str) -> None:
    """Make a workflow that is as another one was before a request, or as it is.

    NoSuchWorkflow, ValueError for a number that it does not have, WrongState if `new` exists.
    """
    status_of(to, id)
    ((steps, entry),) = to.rows("SELECT steps, entry FROM durable_workflows WHERE id = ?", id)
    number = steps + 1 if number is None else number
    if not entry <= number <= steps + 1:
        raise ValueError(f"the steps of {id!r} are {entry} to {steps + 1}, not {number}")
    now = to.now
    made = to.run(
        "INSERT INTO durable_workflows (id, app, function, status, arguments, entry, snapshot,"
        " position, codes, steps, due, token, python, point, created, updated)"
        " SELECT ?, app, function, ?, arguments, entry, snapshot, position, codes, steps, ?, 0,"
        " python, point, ?, ? FROM durable_workflows WHERE id = ? ON CONFLICT DO NOTHING",
        *(new, READY, now, now, now, id),
    )
    if not made:
        raise WrongState(f"there is a workflow {new!r} already")
    to.run(
        "INSERT INTO durable_steps (workflow, number, name, began, ended, error, kind, value,"
        " snapshot, position, codes) SELECT ?, number, name, began, ended, error, kind, value,"
        " snapshot, position, codes FROM durable_steps WHERE workflow = ? AND number <= ?",
        *(new, id, number),
    )
    _rewind(to, new, number)
    to.wake()


def migrate(to: Transaction, id: str, function: str) -> bool:
    """Let a function take the place of a workflow, at its next upgrade point.

    One that has failed or is stuck continues at once at the last one that it has passed. Returns
    False if it has ended otherwise, or has passed none.
    """
    status = status_of(to, id)
    if status not in (FAILED, STUCK):
        asked = to.run(
            f"UPDATE durable_workflows SET migrate = ? WHERE id = ? AND status NOT IN {OVER!r}",
            *(function, id),
        )
        return asked == 1
    if not enter(to, id, function):
        return False
    _begin_anew(to, id)
    _make_ready(to, id, to.now)
    return True


def remove(to: Transaction, app: str, before: float, most: int) -> int:
    """Remove workflows that have ended before a time, at most so many. Returns how many.

    Children stay until their parent has ended, which may join them.
    """
    found = to.rows(
        f"SELECT id FROM durable_workflows AS one WHERE app = ? AND status IN {OVER!r}"
        " AND updated < ? AND NOT EXISTS (SELECT 1 FROM durable_workflows AS up"
        f" WHERE up.id = one.parent AND up.status NOT IN {OVER!r}) LIMIT ? FOR UPDATE SKIP LOCKED",
        *(app, before, most),
    )
    for (id,) in found:
        to.run("DELETE FROM durable_steps WHERE workflow = ?", id)
        to.run("DELETE FROM durable_messages WHERE workflow = ?", id)
        to.run("DELETE FROM durable_workflows WHERE id = ?", id)
    return len(found)


def remove_code(to: Transaction) -> int:
    """Remove code that no snapshot needs, except what was written lately. Returns how much.

    A worker relies for a while on code that it has seen in the store.
    """
    needed: set[bytes] = set()
    for table in ("durable_workflows", "durable_steps"):
        for (codes,) in to.rows(f"SELECT DISTINCT codes FROM {table} WHERE codes IS NOT NULL"):
            needed.update(bytes(codes[at : at + 16]) for at in range(0, len(codes), 16))
    removed = 0
    for (digest,) in to.rows(
        "SELECT digest FROM durable_code WHERE written < ?", to.now - CODE_KEPT
    ):
        if bytes(digest) not in needed:
            removed += to.run("DELETE FROM durable_code WHERE digest = ?", digest)
    return removed
