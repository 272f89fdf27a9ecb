"""One workflow in a worker: it is loaded and run, what it asks for is done, and that is written.

A request is *pending* until it has an outcome. A snapshot is that of a pending request, taken
before anything is done for it, and the outcome is recorded beside it; so what cannot be pickled is
known before a step runs, and a failed step can be done again. Only where a step may have changed
objects that the workflow refers to, the snapshot is taken again when the step has ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import traceback
from typing import Any

import stackless
from stackless import pickling, sync
from stackless.durable import calls, values
from stackless.durable.attempts import Stuck, origin, picklable, stamp, text_of
from stackless.durable.commits import Commits
from stackless.durable.doing import HANDLERS
from stackless.durable.records import (
    CANCELLED,
    DONE,
    FAILED,
    GATHER,
    READY,
    RUNNING,
    STEP,
    STUCK,
    Cancelled,
    Claim,
    LeaseLost,
    Outcome,
    Record,
    Save,
    Snapshot,
    Step,
    Wanted,
)
from stackless.durable.requests import Request, Run, WorkflowTasklet
from stackless.durable.snapshots import Code, warn, why_not
from stackless.durable.store.sql import Store

_log = logging.getLogger("stackless.durable")

#: Seconds until something is tried again that the store has refused.
AGAIN = 1.0


@dataclasses.dataclass(slots=True)
class Place:
    """What the workflows of a worker have in common."""

    store: Store
    app: str
    python: str
    keys: list[bytes]
    commits: Commits
    #: Seconds that a workflow may wait in memory.
    linger: float
    #: Digests of code that the database has.
    known: set[bytes] = dataclasses.field(default_factory=set)
    #: Schedules that cannot be followed, which was logged.
    warned: set[str] = dataclasses.field(default_factory=set)
    stopping: bool = False
    #: Is set when something may be due.
    wake: sync.Event = dataclasses.field(default_factory=sync.Event)


class Drive(Run):
    """A workflow that this worker has claimed."""

    def __init__(self, place: Place, claim: Claim) -> None:
        super().__init__()
        self.place = place
        self.claim = claim
        self.id, self.token = claim.id, claim.token
        self.tasklet: WorkflowTasklet
        self.options = calls.WorkflowOptions()
        #: The number of the last request.
        self.last = claim.entry - 1
        #: Recorded outcomes that are still to be handed over.
        self.outcomes: dict[int, Outcome] = {}
        #: Requests that are done, and are written with what comes next.
        self.trail: list[Record] = []
        self.wanted = claim.wanted
        #: The request whose pending snapshot the store has.
        self.saved: Request | None = None
        #: The request for which it has stayed in memory.
        self.lingered: Request | None = None
        #: Code that is to be written.
        self.code: dict[bytes, bytes] = {}
        self.over = False
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run it until it has ended, waits, or is lost to another worker."""
        watcher = None
        try:
            self._load()
            self.tasklet.run_of = self
            watcher = stackless.tasklet(self._watch)()
            while self._advance():
                if self.place.stopping:
                    self.save(READY, due=self.place.store.now())
                    break
            if isinstance(self.error, (KeyboardInterrupt, SystemExit)):
                raise self.error  # it is for the worker, and came while the workflow ran
        except LeaseLost:
            pass  # another worker has it
        except Exception as error:
            self._give_up(error)
        finally:
            if watcher is not None and not self.over:
                watcher.kill()
                # It is dropped where it is: none of its code runs any more, its `finally` neither.
                if self.tasklet.scheduled and not self.tasklet.blocked:
                    self.tasklet.remove()

    def _watch(self) -> None:
        try:
            self.value = self.tasklet.join()
        except stackless.TaskletExit:
            raise
        except BaseException as error:
            self.error = error
        self.over = True
        self.event.set()

    # -------------------------------------------------------------- loading

    def _load(self) -> None:
        claim, store = self.claim, self.place.store
        try:
            with contextlib.suppress(LookupError, ImportError):  # it may have begun, and be gone
                self.options = calls.workflow_named(claim.function)
            begin = claim.position
            if claim.snapshot is None or not self._load_snapshot(claim.snapshot):
                begin = claim.entry
                function = calls.workflow_named(claim.function).function
                arguments, keywords = values.load(claim.arguments, self.place.keys)
                self.tasklet = WorkflowTasklet()
                self.tasklet.bind(function, arguments, keywords)
        except Exception as error:
            if isinstance(error, (MemoryError, store.errors)):
                raise
            raise Stuck(f"{type(error).__name__}: {error}") from error
        if claim.steps >= begin:
            self.outcomes = {each.number: each for each in store.outcomes(self.id, begin)}

    def _load_snapshot(self, snapshot: bytes) -> bool:
        """Load a snapshot. False if that needs another Python, and the workflow can be replayed."""
        try:
            self.tasklet, request = stackless.loads(
                snapshot,
                key=self.place.keys,
                max_size=None,
                allow_changed_source=True,
                code_store=Code(self.place.store, self.place.known),
            )
        except pickling.CodeVersionError:
            if self.options.replay:
                return False
            raise
        self.request, self.last = request, request.last
        if not request.done:
            self.saved = request
        return True

    def load(self, value: bytes | None, what: str) -> Any:
        """Return the value of a blob. Stuck if it cannot be loaded."""
        try:
            return None if value is None else values.load(value, self.place.keys)
        except MemoryError:
            raise
        except Exception as error:
            raise Stuck(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error

    # -------------------------------------------------------------- running

    def _advance(self) -> bool:
        """Continue the workflow to its next request, and do that. False if it leaves the worker."""
        request = self.request
        if request is None or request.done:
            self.request = None
            self.event.clear()
            self.tasklet.insert()
            self.event.wait()
            if self.over:
                self._end()
                return False
            request = self.request
            assert request is not None
            request.begin(self.last + 1, self.place.store.now())
            self.last = request.last
        if self._recall(request):
            return True
        if self.wanted.pause:
            self.save(READY, due=self.place.store.now())  # the store makes that "paused"
            return False
        if self.wanted.cancel:
            self._cancel(request)
            return True
        return HANDLERS[request.kind](self, request)

    def _recall(self, request: Request) -> bool:
        """Hand over the recorded outcome of a request, if there is one."""
        if not self.outcomes:
            return False
        found = self.outcomes.get(request.number)
        if found is None and request.kind != GATHER:
            found = min(self.outcomes.values(), key=lambda each: each.number)
            self._diverged(f"{request.kind} {request.name}", request.number, found)
        if found is None:
            return False
        if (found.kind, found.name) != (request.kind, request.name):
            self._diverged(f"{request.kind} {request.name}", request.number, found)
        if found.kind == GATHER and not found.failed:
            del self.outcomes[request.number]
            return False
        for number in range(request.number, request.last + 1):
            self.outcomes.pop(number, None)
        value = self.load(found.value, f"the outcome of request {found.number}, {found.name!r},")
        if found.failed:
            request.finish(None, value)
        else:
            request.finish(request.value if found.value is None else value)
        return True

    def _diverged(self, asked: str, number: int, found: Outcome) -> None:
        raise Stuck(
            f"Diverged: the workflow asks for {asked.strip()} as request {number}, but recorded is"
            f" {found.kind} {found.name}".rstrip()
            + f" as request {found.number}"
        )

    def check_same(self, name: str, number: int, found: Outcome) -> None:
        """Raise Stuck if a step that is to be done is another one than what is recorded."""
        if (found.kind, found.name) != (STEP, name):
            self._diverged(f"{STEP} {name}", number, found)

    # -------------------------------------------------------------- snapshots and records

    def dump(self, request: Request) -> Snapshot | None:
        """Return a snapshot. None if that cannot be: then the request is done, with the error."""
        try:
            return self._dump(request)
        except Exception as error:
            self.fail(request, why_not(self.tasklet, request, error))
            return None

    def _dump(self, request: Request) -> Snapshot:
        code = Code(self.place.store, self.place.known)
        data = stackless.dumps(
            (self.tasklet, request), key=self.place.keys[0], code_store=code, same_program=True
        )
        self.code.update(code.new)
        if len(data) > (limit := self.options.snapshot_limit):
            warn(self.id, self.claim.function, len(data), limit, self.tasklet)
        position = request.last + 1 if request.done else request.number
        return Snapshot(data, position, b"".join(sorted(code.used)))

    def dump_if_possible(self, request: Request) -> Snapshot | None:
        """Return a snapshot to be kept with a record, or None."""
        with contextlib.suppress(Exception):
            return self._dump(request)
        return None

    def record(
        self,
        request: Request,
        data: bytes | None = None,
        error: BaseException | None = None,
        before: Snapshot | None = None,
    ) -> Record:
        """Return the record of a request that is not done yet."""
        if self.options.history or error is not None:
            before = before or self.dump_if_possible(request)
        else:
            before = None
        now = self.place.store.now()
        return Record(
            Step(request.number, request.name, request.began, now, text_of(error), request.kind),
            data,
            before,
        )

    def fail(self, request: Request, error: Exception) -> None:
        """Let a request raise an error that is recorded with what comes next."""
        stamp(error, self.id, request.number)
        error, data = picklable(error, self.place.keys[0])
        self.trail.append(self.record(request, data, error))
        request.finish(None, error)

    def save(self, status: str, snapshot: Snapshot | None = None, **what: Any) -> None:
        """Write a state, and what is to be written with it."""
        save = self.to_save(status, snapshot, **what)
        self.was_saved(save, self.place.commits.save(save))

    def to_save(self, status: str, snapshot: Snapshot | None = None, **what: Any) -> Save:
        """Return what is to be written; it will not be returned again."""
        records = (*self.trail, *what.pop("records", ()))
        code = tuple(self.code.items())
        self.trail.clear()
        self.code.clear()
        python = "" if self.options.replay else self.place.python
        return Save(
            self.id, self.token, status, snapshot, python, records=records, code=code, **what
        )

    def was_saved(self, save: Save, wanted: Wanted) -> None:
        """Take note of what is written, and what was asked for."""
        self.wanted = wanted
        self.place.known.update(digest for digest, _ in save.code)

    def leave(self, request: Request, status: str, **what: Any) -> bool:
        """Write that the workflow waits. False if it cannot be saved; then the request is done."""
        snapshot = None
        if self.saved is not request and (snapshot := self.dump(request)) is None:
            return False
        self.save(status, snapshot, due=request.deadline, **what)
        return True

    def pending(self, request: Request) -> tuple[bool, Snapshot | None]:
        """Return whether a request can be done, and the snapshot to be written with its record."""
        if not self.options.each_step or self.saved is request:
            return True, None
        snapshot = self.dump(request)
        return snapshot is not None, snapshot

    # -------------------------------------------------------------- the end

    def _cancel(self, request: Request) -> None:
        """Raise Cancelled in the workflow, by its request."""
        error = Cancelled(f"the workflow {self.id!r} was cancelled")
        before = self.dump_if_possible(request)
        record = self.record(request, values.dump(error, self.place.keys[0]), error, before)
        snapshot = before if self.options.each_step and self.saved is not request else None
        self.save(RUNNING, snapshot, records=(record,), cancelled=True)
        request.finish(None, error)

    def _end(self) -> None:
        error = self.error
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.save(READY, due=self.place.store.now())
            return
        if self.outcomes:
            found = min(self.outcomes.values(), key=lambda each: each.number)
            self._diverged("its end", self.last + 1, found)
        if error is None:
            try:
                result = values.dump(self.value, self.place.keys[0])
            except Exception as failed:
                failed.add_note("the result of the workflow cannot be pickled")
                error = failed
            else:
                self.save(DONE, result=result)
                return
        if isinstance(error, Cancelled):
            self.save(CANCELLED)
            return
        text = "".join(traceback.format_exception(error))
        data: bytes | None = None
        with contextlib.suppress(Exception):  # the text says what it was
            data = values.dump(error, self.place.keys[0])
        self.save(FAILED, result=data, error=text, failed=origin(error, self.id))

    def _give_up(self, error: Exception) -> None:
        """Write that a workflow is stuck; or that it is to be claimed again after another error."""
        store = self.place.store
        if isinstance(error, Stuck):
            save = Save(self.id, self.token, STUCK, error=str(error))
        else:
            _log.error("workflow %r is tried again", self.id, exc_info=error)
            save = Save(self.id, self.token, READY, due=store.now() + AGAIN)
        while True:
            try:
                self.place.commits.save(save)
                return
            except LeaseLost:
                return
            except Exception:
                _log.exception("workflow %r: the store refuses to write", self.id)
                stackless.sleep(AGAIN)
