"""What a worker does for each kind of request. `HANDLERS` has a function for each.

They return True when the request is done, so that the workflow continues, or is to be looked at
again; False when the workflow has left the worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import stackless
from stackless.durable import values
from stackless.durable.attempts import Attempt, picklable, shares, stamp
from stackless.durable.records import (
    CANCELLED,
    DONE,
    GATHER,
    JOIN,
    OVER,
    READY,
    RECEIVE,
    RUNNING,
    SLEEP,
    SLEEPING,
    START,
    STEP,
    UPGRADE,
    WAITING,
    NoSuchWorkflow,
    Record,
    Snapshot,
    Start,
    Step,
    WorkflowCancelled,
    WorkflowFailed,
)
from stackless.durable.requests import Driver, Request

if TYPE_CHECKING:
    from stackless.durable.driving import Drive

#: Seconds between looks for what a workflow waits for while it stays in memory.
_LOOK = 0.02


# ------------------------------------------------------------------ steps


def _step(drive: Drive, request: Request) -> bool:
    store = drive.place.store
    if request.deadline is not None and request.deadline > store.now():
        return not drive.leave(request, SLEEPING)  # it was resumed before its next try
    can, before = drive.pending(request)
    if not can:
        return True
    attempt = _attempt(drive, request.number, request.calls[0], request.tries, request.began)
    if attempt.options.in_transaction:
        _commits(drive, attempt, before, before or drive.dump_if_possible(request))
    while (pause := attempt.once()) is not None:
        if pause > drive.place.linger and _waits_for_retry(drive, request, attempt, pause):
            return False
        stackless.sleep(pause)
    if attempt.options.in_transaction:
        drive.wanted = attempt.wanted or drive.wanted
        request.finish(attempt.value, attempt.error)
    else:
        _write(drive, request, attempt, before)
    return True


def _attempt(
    drive: Drive, number: int, call: Any, tries: int = 0, began: float | None = None
) -> Attempt:
    return Attempt(drive.place, drive.id, drive.token, number, call, tries, began)


def _waits_for_retry(drive: Drive, request: Request, attempt: Attempt, pause: float) -> bool:
    """Let the workflow be a row until the next try. False if it cannot be saved."""
    request.tries = attempt.tries
    request.deadline = drive.place.store.now() + pause
    snapshot = drive.dump_if_possible(request)
    if snapshot is None:
        return False
    drive.save(SLEEPING, snapshot, due=request.deadline)
    return True


def _write(drive: Drive, request: Request, attempt: Attempt, before: Snapshot | None) -> None:
    """Write the outcome of a step, and finish the request."""
    shared = drive.options.each_step and shares(request.calls)
    record = drive.record(request, attempt.data, attempt.error, before)
    request.finish(attempt.value, attempt.error)
    snapshot = before
    if shared:
        snapshot = drive.dump(request) or before
        if request.error is not attempt.error:  # what the step has left cannot be pickled
            record = drive.trail.pop()
    drive.save(RUNNING, snapshot, records=(record,))


def _commits(
    drive: Drive, attempt: Attempt, snapshot: Snapshot | None, before: Snapshot | None
) -> None:
    """Prepare what is written with a transaction."""
    save = drive.to_save(RUNNING, snapshot)
    keep = drive.options.history

    def saved() -> Any:
        step = _step_of(drive, attempt)
        record = Record(step, attempt.data, before if keep or attempt.error else None)
        return dataclasses.replace(save, records=(*save.records, record))

    attempt.saved = saved


def _step_of(drive: Drive, attempt: Attempt) -> Step:
    return Step(
        attempt.number,
        attempt.options.name,
        attempt.began,
        drive.place.store.now(),
        attempt.error_text(),
        STEP,
    )


# ------------------------------------------------------------------ steps in parallel


def _gather(drive: Drive, request: Request) -> bool:
    can, before = drive.pending(request)
    if not can:
        return True
    if before is not None:
        drive.save(RUNNING, before)  # what is missing is done again with these arguments
        drive.saved = request
    done: dict[int, tuple[Any, BaseException | None]] = {}
    missing = []
    for number, call in enumerate(request.calls, request.number + 1):
        found = drive.outcomes.pop(number, None)
        if found is None:
            missing.append((number, call))
            continue
        drive.check_same(call[0], number, found)
        value = drive.load(found.value, f"the outcome of step {number}")
        done[number] = (None, value) if found.failed else (value, None)
    _do_all(drive, missing, request.limit or len(missing), done)
    if len(done) < len(request.calls):
        return True  # the worker stops, or the workflow is to be paused or cancelled
    _finish_all(drive, request, [done[each] for each in sorted(done)])
    return True


def _do_all(
    drive: Drive,
    missing: list[tuple[int, Any]],
    limit: int,
    done: dict[int, tuple[Any, BaseException | None]],
) -> None:
    """Do steps, so many at a time, and record each."""
    rest = iter(missing)
    failed: list[BaseException] = []
    workers = [Driver(_do_some)(drive, rest, done, failed) for _ in range(min(limit, len(missing)))]
    try:
        for each in workers:
            each.join()
    finally:
        for each in workers:
            each.kill()
    if failed:
        raise failed[0]


def _do_some(
    drive: Drive,
    rest: Iterator[tuple[int, Any]],
    done: dict[int, tuple[Any, BaseException | None]],
    failed: list[BaseException],
) -> None:
    """Do one step after the other, until there are no more. Its own errors are for the driver."""
    try:
        for number, call in rest:
            attempt = _attempt(drive, number, call)
            if attempt.options.in_transaction:
                _commits(drive, attempt, None, None)
            while (pause := attempt.once()) is not None:
                stackless.sleep(pause)
            if attempt.options.in_transaction:
                drive.wanted = attempt.wanted or drive.wanted
            else:
                record = Record(_step_of(drive, attempt), attempt.data)
                drive.save(RUNNING, records=(record,))
            done[number] = attempt.value, attempt.error
            if failed or drive.place.stopping or drive.wanted.cancel or drive.wanted.pause:
                return
    except Exception as error:
        failed.append(error)


def _finish_all(
    drive: Drive, request: Request, outcomes: list[tuple[Any, BaseException | None]]
) -> None:
    errors = [error for _, error in outcomes if error is not None]
    error = errors[0] if errors and not request.collect else None
    data = None
    if error is not None:
        stamp(error, drive.id, request.number)
        if len(errors) > 1:
            error.add_note(f"{len(errors) - 1} more of the {len(outcomes)} steps have failed")
        error, data = picklable(error, drive.place.keys[0])
    shared = drive.options.each_step and shares(request.calls)
    record = drive.record(request, None if error is None else data, error)
    results = None if error else [value if e is None else e for value, e in outcomes]
    request.finish(results, error)
    drive.trail.append(record)
    if shared and (snapshot := drive.dump(request)) is not None:
        drive.save(RUNNING, snapshot)


# ------------------------------------------------------------------ waiting


def _sleep(drive: Drive, request: Request) -> bool:
    assert request.seconds is not None
    now = drive.place.store.now()
    if request.deadline is None:
        request.deadline = now + request.seconds
    if request.deadline <= now:
        drive.trail.append(drive.record(request))
        request.finish(None)
        return True
    if request.deadline - now <= drive.place.linger:
        return _stays(drive, request.deadline, lambda: False)
    return not drive.leave(request, SLEEPING)


def _receive(drive: Drive, request: Request) -> bool:
    store = drive.place.store
    message = store.message(drive.id, request.name)
    if message is not None:
        value = drive.load(message.value, f"message {message.number}, {request.name!r},")
        can, before = drive.pending(request)
        if can:
            record = drive.record(request, message.value, None, before)
            drive.save(RUNNING, before, records=(record,), received=message.number)
            request.finish(value)
        return True
    if _is_late(drive, request):
        drive.trail.append(drive.record(request))
        request.finish(request.value)
        return True
    if _lingers(drive, request, lambda: store.message(drive.id, request.name) is not None):
        return True
    return not drive.leave(request, WAITING, topic=request.name)


def _join(drive: Drive, request: Request) -> bool:
    store = drive.place.store
    ended = store.ending(request.name)
    if ended is None:
        drive.fail(request, NoSuchWorkflow(f"there is no workflow {request.name!r}"))
        return True
    status, result, text = ended
    if status == CANCELLED:
        # With its parent, perhaps: then it is the parent's cancellation that is raised here.
        drive.wanted = store.wanted(drive.id) or drive.wanted
        if drive.wanted.cancel:
            return True
    if status in OVER:
        _joined(drive, request, status, result, text)
        return True
    if _is_late(drive, request):
        drive.fail(request, TimeoutError(f"the workflow {request.name!r} has not ended"))
        return True
    if _lingers(drive, request, lambda: _has_ended(drive, request.name)):
        return True
    return not drive.leave(request, WAITING, awaits=request.name)


def _has_ended(drive: Drive, id: str) -> bool:
    ended = drive.place.store.ending(id)
    return ended is None or ended[0] in OVER


def _joined(
    drive: Drive, request: Request, status: str, result: bytes | None, text: str | None
) -> None:
    id = request.name
    error: Any = None
    value = drive.load(result, f"the result of {id!r}")
    if status == CANCELLED:
        error = WorkflowCancelled(f"the workflow {id!r} was cancelled")
    elif status != DONE:
        error = WorkflowFailed(f"{id!r}: {text}") if result is None else value
    can, before = drive.pending(request)
    if not can:
        return
    if error is not None:
        stamp(error, drive.id, request.number)
        value = None
        error, result = picklable(error, drive.place.keys[0])
    drive.save(RUNNING, before, records=(drive.record(request, result, error, before),))
    request.finish(value, error)


def _is_late(drive: Drive, request: Request) -> bool:
    """Return whether a wait with a time limit is over. Sets the limit when it begins."""
    if request.deadline is None and request.seconds is not None:
        request.deadline = drive.place.store.now() + request.seconds
    return request.deadline is not None and request.deadline <= drive.place.store.now()


def _lingers(drive: Drive, request: Request, ready: Callable[[], bool]) -> bool:
    """Stay in memory for a while. Returns True if the request should be looked at again."""
    if drive.place.linger <= 0 or drive.lingered is request:
        return False
    drive.lingered = request
    end = drive.place.store.now() + drive.place.linger
    return _stays(drive, end if request.deadline is None else min(end, request.deadline), ready)


def _stays(drive: Drive, end: float, ready: Callable[[], bool]) -> bool:
    store = drive.place.store
    while not drive.place.stopping and (left := end - store.now()) > 0 and not ready():
        stackless.sleep(min(_LOOK, left))
        drive.wanted = store.wanted(drive.id) or drive.wanted
        if drive.wanted.cancel or drive.wanted.pause:
            break
    return True


# ------------------------------------------------------------------ children, upgrades


def _start(drive: Drive, request: Request) -> bool:
    function, args, keywords = request.calls[0]
    id = request.value or f"{drive.id}/{request.number}"
    key = drive.place.keys[0]
    try:
        arguments = values.dump((args, keywords), key)
    except Exception as error:
        drive.fail(request, error)
        return True
    can, before = drive.pending(request)
    if can:
        record = drive.record(request, values.dump(id, key), None, before)
        started = Start(id, drive.place.app, function, arguments, drive.id)
        drive.save(RUNNING, before, records=(record,), starts=(started,))
        request.finish(id)
        drive.place.wake.set()
    return True


def _upgrade(drive: Drive, request: Request) -> bool:
    _, args, keywords = request.calls[0]
    try:
        point = values.dump((args, keywords), drive.place.keys[0])
    except Exception as error:
        drive.fail(request, error)
        return True
    to = drive.wanted.migrate
    if to is not None:
        now = drive.place.store.now()
        record = drive.record(request)
        drive.save(READY, records=(record,), point=point, migrated=to, due=now)
        return False
    can, before = drive.pending(request)
    if can:
        drive.save(RUNNING, before, records=(drive.record(request, before=before),), point=point)
        request.finish(None)
    return True


HANDLERS: dict[str, Callable[[Drive, Request], bool]] = {
    STEP: _step,
    GATHER: _gather,
    SLEEP: _sleep,
    RECEIVE: _receive,
    START: _start,
    JOIN: _join,
    UPGRADE: _upgrade,
}
