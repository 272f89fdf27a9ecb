"""A worker: claims workflows, runs them, does what they ask for, and writes what has happened."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import traceback
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import stackless
from stackless import sync
from stackless.durable import calls
from stackless.durable.calls import RECEIVE, SLEEP, STEP, Driver, Request, Run, WorkflowTasklet
from stackless.durable.commits import Commits
from stackless.durable.records import (
    DONE,
    FAILED,
    READY,
    RUNNING,
    SLEEPING,
    STUCK,
    WAITING,
    Claim,
    DurableError,
    LeaseLost,
    Save,
    Step,
    Worker,
)
from stackless.durable.store.processes import process_began, this_machine
from stackless.durable.store.sql import Store
from stackless.durable.waiting import wait_for

_log = logging.getLogger("stackless.durable")

#: Seconds for which a worker owns its workflows without a sign of life.
LEASE = 30.0
#: Seconds until something is tried again that the store has refused.
_AGAIN = 1.0


class NotDurable(DurableError):
    """A variable of a workflow cannot be pickled, so that the call cannot be recorded."""


class Code(MutableMapping[bytes, bytes]):
    """The code store of one snapshot: what the database has not is gathered for the transaction."""

    def __init__(self, store: Store, known: set[bytes]) -> None:
        self._store = store
        self._known = known
        self.new: dict[bytes, bytes] = {}

    def __contains__(self, digest: object) -> bool:
        return digest in self._known or digest in self.new

    def __getitem__(self, digest: bytes) -> bytes:
        data = self._store.code(digest)
        if data is None:
            raise KeyError(digest)
        return data

    def __setitem__(self, digest: bytes, data: bytes) -> None:
        self.new[digest] = data

    def __delitem__(self, digest: bytes) -> None:
        raise TypeError("code is not deleted")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.new)

    def __len__(self) -> int:
        return len(self.new)


class Runner:
    """Runs workflows of an app in the tasklets of the calling thread."""

    def __init__(self, store: Store, app: str, python: str, keys: list[bytes], most: int) -> None:
        self._store = store
        self._keys = keys
        self._most = most
        self._me = Worker(
            uuid.uuid4().hex,
            app,
            this_machine(),
            os.getpid(),
            process_began(os.getpid()) or 0,
            python,
        )
        self._active: set[Driver] = set()
        #: Digests of code that the database has. It is never deleted there.
        self._known: set[bytes] = set()
        self._commits = Commits(store)
        self._stopping = False
        self.wake = sync.Event()
        self._handlers: dict[str, Callable[[Run, Request], bool]] = {
            STEP: self._do_step,
            SLEEP: self._do_sleep,
            RECEIVE: self._do_receive,
        }

    # -------------------------------------------------------------- the worker

    def stop(self) -> None:
        """Let `run` return when what was begun is recorded. May be called from any thread."""
        self._stopping = True
        self.wake.set()

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Run workflows until `stop` is called, or `until()` is true."""
        wait_for(self._store.join(self._me, LEASE))
        beat = stackless.tasklet(self._beat)()
        self._commits.begin()
        self._store.listen(self.wake.set)
        try:
            while not self._stopping and not until():
                self.wake.clear()
                try:
                    if self._claim():
                        continue
                    pause = self._pause()
                except self._store.errors:
                    _log.exception("no workflows can be claimed now")
                    pause = _AGAIN
                self.wake.wait(pause)
            self._stopping = True
            for each in list(self._active):
                each.join()
        finally:
            self._stopping = True
            beat.kill()
            for each in list(self._active):
                each.kill()
            self._commits.end()
            self._store.unlisten(self.wake.set)
            try:
                wait_for(self._store.leave(self._me))
            except self._store.errors:
                _log.exception("a worker's workflows stay claimed until its lease or process ends")

    def _claim(self) -> bool:
        """Claim workflows and begin to run them. Returns True if there may be more."""
        free = self._most - len(self._active)
        if free <= 0:
            return False
        try:
            claims = wait_for(self._store.claim(self._me, free))
        except LeaseLost:
            wait_for(self._store.join(self._me, LEASE))
            return True
        for claim in claims:
            driver = Driver(self._drive)
            self._active.add(driver)
            driver.setup(claim)
        return len(claims) == free and len(self._active) < self._most

    def _pause(self) -> float:
        due = self._store.next_due(self._me.app, self._me.python)
        if due is None or len(self._active) >= self._most:
            return self._store.poll
        return min(self._store.poll, max(0.0, due - self._store.now()))

    def _beat(self) -> None:
        while True:
            stackless.sleep(LEASE / 3)
            try:
                wait_for(self._store.join(self._me, LEASE))
            except Exception:
                _log.exception("the lease of a worker was not extended")

    # -------------------------------------------------------------- one workflow

    def _drive(self, claim: Claim) -> None:
        run = Run(claim.id, claim.token, claim.steps)
        watcher = None
        try:
            run.tasklet, run.request = self._load(claim)
            run.tasklet.run_of = run
            watcher = stackless.tasklet(_watch)(run)
            while self._advance(run):
                if self._stopping:
                    self._save(run, READY, due=self._store.now())
                    break
            if isinstance(run.error, (KeyboardInterrupt, SystemExit)):
                raise run.error  # it is for the worker, and came while the workflow ran
        except LeaseLost:
            pass  # another worker has it
        except Exception as error:
            self._give_up(run, error)
        finally:
            if watcher is not None and not run.over:
                watcher.kill()
                # It is dropped where it is: none of its code runs any more, its `finally` neither.
                if run.tasklet.scheduled and not run.tasklet.blocked:
                    run.tasklet.remove()
            self._active.discard(stackless.getcurrent())
            self.wake.set()

    def _load(self, claim: Claim) -> tuple[WorkflowTasklet, Request | None]:
        """Return the tasklet of a workflow, and the request that it waits for, if it has begun."""
        try:
            found = stackless.loads(
                claim.snapshot,
                key=self._keys,
                max_size=None,
                allow_changed_source=True,
                code_store=Code(self._store, self._known),
            )
            if claim.begun:
                tasklet, request = found
                return tasklet, request
            arguments, keywords = found
            tasklet = WorkflowTasklet()
            tasklet.bind(calls.workflow_named(claim.function), arguments, keywords)
            return tasklet, None
        except Exception as error:
            if isinstance(error, (MemoryError, self._store.errors)):
                raise
            raise _Stuck(f"{type(error).__name__}: {error}") from error

    def _advance(self, run: Run) -> bool:
        """Continue a workflow to its next request, and do that. False if it leaves this worker."""
        request = run.request
        if request is None or request.done:
            run.request = None
            run.event.clear()
            run.tasklet.insert()
            run.event.wait()
            if run.over:
                self._end(run)
                return False
            request = run.request
        assert request is not None
        return self._handlers[request.kind](run, request)

    def _do_step(self, run: Run, request: Request) -> bool:
        options, arguments = request.step, request.arguments
        assert options is not None and arguments is not None
        number, began = run.steps + 1, self._store.now()
        current = stackless.getcurrent()
        assert isinstance(current, Driver)
        current.key = f"{run.id}/{number}"
        value, error = None, None  # type: Any, Exception | None
        for retry in itertools.count(1):
            error = None
            try:
                if options.timeout is None:
                    value = options.function(*arguments[0], **arguments[1])
                else:
                    with stackless.timeout(options.timeout):
                        value = options.function(*arguments[0], **arguments[1])
                break
            except stackless.TaskletExit as killed:
                if self._stopping:
                    raise
                error = DurableError("the step was killed")
                error.__cause__ = killed
            except Exception as failed:
                error = failed
            if retry > options.retries:
                break
            stackless.sleep(max(0.0, options.backoff(retry)))
        current.key = None
        request.finish(value, error)
        shown = None if error is None else "".join(traceback.format_exception_only(error)).strip()
        record = Step(number, options.name, began, self._store.now(), shown)
        return self._record(run, request, step=record)

    def _record(self, run: Run, request: Request, **what: Any) -> bool:
        """Write a request that is done, with the workflow; or let it raise why that cannot be."""
        step = what.get("step")
        if self._save(run, RUNNING, request, **what) and step is not None:
            run.steps = step.number
        return True

    def _do_sleep(self, run: Run, request: Request) -> bool:
        assert request.seconds is not None
        if request.deadline is None:
            request.deadline = self._store.now() + request.seconds
        if request.deadline <= self._store.now():
            request.finish(None)
            return True
        return not self._save(run, SLEEPING, request, due=request.deadline)

    def _do_receive(self, run: Run, request: Request) -> bool:
        message = self._store.message(run.id, request.name)
        if message is not None:
            try:
                value = stackless.loads(
                    message.value, key=self._keys, max_size=None, allow_changed_source=True
                )
            except MemoryError:
                raise
            except Exception as error:
                text = f"message {message.number}, {request.name!r}, cannot be loaded"
                raise _Stuck(f"{text}: {type(error).__name__}: {error}") from error
            request.finish(value)
            return self._record(run, request, received=message.number)
        if request.deadline is None and request.seconds is not None:
            request.deadline = self._store.now() + request.seconds
        if request.deadline is not None and request.deadline <= self._store.now():
            request.finish(request.value)
            return True
        return not self._save(run, WAITING, request, due=request.deadline, topic=request.name)

    # -------------------------------------------------------------- writing

    def _save(self, run: Run, status: str, request: Request | None = None, **what: Any) -> bool:
        """Write a state, with a snapshot if there is a request. False if that cannot be pickled.

        Then the request is done, with an error that says so.
        """
        snapshot = None
        code = Code(self._store, self._known)
        if request is not None:
            try:
                snapshot = stackless.dumps(
                    (run.tasklet, request), key=self._keys[0], code_store=code, same_program=True
                )
            except Exception as error:
                request.finish(None, _why_not(run, request, error))
                return False
        save = Save(run.id, run.token, status, snapshot, code=tuple(code.new.items()), **what)
        self._commits.save(save)
        self._known.update(code.new)
        return True

    def _end(self, run: Run) -> None:
        error = run.error
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._save(run, READY, due=self._store.now())
            return
        if error is None:
            try:
                result = self._blob(run.value)
            except Exception as failed:
                failed.add_note("the result of the workflow cannot be pickled")
                error = failed
            else:
                self._save(run, DONE, result=result)
                return
        text = "".join(traceback.format_exception(error))
        blob: bytes | None = None
        with contextlib.suppress(Exception):  # the text says what it was
            blob = self._blob(error)
        self._save(run, FAILED, result=blob, error=text)

    def _blob(self, value: Any) -> bytes:
        return stackless.dumps(value, key=self._keys[0], same_program=True)

    def _give_up(self, run: Run, error: Exception) -> None:
        """Write that a workflow is stuck; or that it is to be claimed again after another error."""
        if isinstance(error, _Stuck):
            save = Save(run.id, run.token, STUCK, error=str(error))
        else:
            _log.error("workflow %r is tried again", run.id, exc_info=error)
            due = self._store.now() + _AGAIN
            save = Save(run.id, run.token, READY, due=due)
        while True:
            try:
                self._commits.save(save)
                return
            except LeaseLost:
                return
            except Exception:
                _log.exception("workflow %r: the store refuses to write", run.id)
                stackless.sleep(_AGAIN)


class _Stuck(Exception):
    """A workflow cannot be loaded."""


def _watch(run: Run) -> None:
    try:
        run.value = run.tasklet.join()
    except stackless.TaskletExit:
        raise
    except BaseException as error:
        run.error = error
    run.over = True
    run.event.set()


def _why_not(run: Run, request: Request, error: Exception) -> NotDurable:
    found = stackless.why_not_picklable((run.tasklet, request.value, request.error))
    text = "\n".join(map(str, found)) or f"{type(error).__name__}: {error}"
    made = NotDurable(f"the workflow cannot be saved at {request.kind} {request.name}:\n{text}")
    made.__cause__ = error
    return made
