"""`App`: starts workflows and runs them. `Handle`: one workflow, from outside."""

from __future__ import annotations

import importlib.util
import os
import platform
import secrets
import sys
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import stackless
from stackless import pickling
from stackless.durable import calls
from stackless.durable.records import (
    DONE,
    FAILED,
    STUCK,
    DurableError,
    Info,
    NoSuchWorkflow,
    Step,
)
from stackless.durable.store import key_file, open_store
from stackless.durable.waiting import wait_for
from stackless.durable.worker import Code, Runner

R = TypeVar("R")

_KEY = "STACKLESS_DURABLE_KEY"
_HERE = os.path.dirname(__file__)


class WorkflowFailed(DurableError):
    """A workflow has failed with an exception that cannot be pickled; its traceback is the text."""


class WorkflowStuck(DurableError):
    """A workflow cannot be continued here; the text says why."""


def this_python() -> str:
    """Return what a snapshot needs: the interpreter, its bytecode, the processor."""
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{sys.implementation.name} {version} {magic} {platform.machine()}"


class App:
    """Workflows of one name in one store.

    `store`: "sqlite:///" and a path, which is relative unless it begins with another "/". `key`:
    bytes, or several of them: snapshots are signed with the first, and one of them must fit when
    they are loaded. By default the environment variable STACKLESS_DURABLE_KEY, or else a random key
    in a file beside the database that only its owner can read. Raises ValueError for another store
    or an empty key, and what the store raises. May be used from any thread.
    """

    def __init__(
        self,
        name: str = "stackless",
        store: str = "sqlite:///stackless.db",
        *,
        key: bytes | list[bytes] | None = None,
    ) -> None:
        self.name = name
        self._keys = _keys(key_file(store), key)
        self._store = open_store(store)
        self._runners: set[Runner] = set()

    def start(
        self, function: Callable[..., Any], /, *args: Any, id: str | None = None, **kwargs: Any
    ) -> Handle:
        """Start a workflow, when a worker has time. Returns when that is on the disk.

        `id`: its name, by default a random one. If there is a workflow with this id, nothing is
        started, and the handle is of that one. Raises ValueError for a function that is no
        workflow, TypeError for another id than a str, and what `stackless.dumps` raises for
        arguments that cannot be pickled.
        """
        name = calls.name_of(function)
        if calls.workflows.get(name) is not function:
            raise ValueError(f"{name} is no workflow: decorate it with durable.workflow")
        if id is not None and not isinstance(id, str):
            raise TypeError(f"an id must be a str, not {type(id).__name__}")
        id = uuid.uuid4().hex if id is None else id
        arguments = stackless.dumps((args, kwargs), key=self._keys[0], same_program=True)
        wait_for(self._store.start(id, self.name, name, arguments, this_python()))
        self._wake()
        return Handle(self, id)

    def run(
        self, function: Callable[..., R], /, *args: Any, id: str | None = None, **kwargs: Any
    ) -> R:
        """Start a workflow, and work in the calling thread until it has ended; return its result.

        With an `id`, a program that is started again continues with the workflow, or returns its
        result if it has ended. Raises what the workflow has raised, and the errors of `start`.
        """
        handle = self.start(function, *args, id=id, **kwargs)
        self._serve(100, handle._has_ended)
        result: R = handle.result()
        return result

    def serve(self, *, concurrency: int = 100) -> None:
        """Work in the calling thread: run workflows until `stop` is called.

        At most `concurrency` of them are in memory at a time. KeyboardInterrupt ends it at once;
        what was not recorded then is done again by the next worker.
        """
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._serve(concurrency, lambda: False)

    def _serve(self, most: int, until: Callable[[], bool]) -> None:
        runner = Runner(self._store, self.name, this_python(), self._keys, most)
        self._runners.add(runner)
        try:
            runner.run(until)
        finally:
            self._runners.discard(runner)

    def stop(self) -> None:
        """Let `serve` return, in all threads of this process, when what was begun is recorded."""
        for runner in list(self._runners):
            runner.stop()

    def _wake(self) -> None:
        for runner in list(self._runners):
            runner.wake.set()

    def handle(self, id: str) -> Handle:
        """Return the handle of a workflow. NoSuchWorkflow if there is none."""
        handle = Handle(self, id)
        handle._info()
        return handle

    def workflows(self, *, status: str | None = None, limit: int = 50) -> list[Info]:
        """Return workflows, the one started last first: all, or those with a status."""
        return self._store.infos(self.name, status, limit)

    def close(self) -> None:
        """Write what was not written yet, and close the store."""
        self._store.close()


class Handle:
    """A workflow, from outside of it."""

    def __init__(self, app: App, id: str) -> None:
        self._app = app
        self.id = id

    def __repr__(self) -> str:
        return f"<Handle of workflow {self.id!r}>"

    def _info(self) -> Info:
        info = self._app._store.info(self.id)
        if info is None:
            raise NoSuchWorkflow(f"there is no workflow {self.id!r}")
        return info

    def _has_ended(self) -> bool:
        return self._info().status in (DONE, FAILED, STUCK)

    def status(self) -> str:
        """Return "ready", "running", "sleeping", "waiting", "done", "failed" or "stuck"."""
        return self._info().status

    def steps(self) -> list[Step]:
        """Return the steps that are recorded."""
        return self._app._store.steps(self.id)

    def send(self, topic: str, value: Any) -> None:
        """Send a message. Returns when it is on the disk.

        DurableError if the workflow has ended, TypeError for another topic than a str.
        """
        if not isinstance(topic, str):
            raise TypeError(f"a topic must be a str, not {type(topic).__name__}")
        blob = stackless.dumps(value, key=self._app._keys[0], same_program=True)
        wait_for(self._app._store.send(self.id, topic, blob))
        self._app._wake()

    def where(self) -> tuple[pickling.SavedFrame, ...]:
        """Return the calls of its last snapshot, outermost first; nothing of it is run.

        Those of this package are left out. Empty if there is no snapshot yet.
        """
        info = self._info()
        if not info.begun:
            return ()
        found = pickling.inspect(
            info.snapshot,
            key=self._app._keys,
            max_size=None,
            code_store=Code(self._app._store, set()),
        )
        frames = found.tasklets[0].frames if found.tasklets else ()
        return tuple(each for each in frames if os.path.dirname(each.file) != _HERE)

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the workflow has ended; return its result, or raise its exception.

        A worker has to run in another thread or process. Raises TimeoutError after `timeout`
        seconds, WorkflowFailed if the exception cannot be pickled, WorkflowStuck.
        """
        pause, waited = 0.005, 0.0
        while not self._has_ended():
            if timeout is not None and waited >= timeout:
                raise TimeoutError(f"the workflow {self.id!r} has not ended")
            stackless.sleep(pause)
            waited += pause
            pause = min(0.2, pause * 1.5)
        info = self._info()
        if info.status == STUCK:
            raise WorkflowStuck(f"{self.id!r}: {info.error}")
        if info.result is None:
            raise WorkflowFailed(f"{self.id!r}: {info.error}")
        value = stackless.loads(
            info.result, key=self._app._keys, max_size=None, allow_changed_source=True
        )
        if info.status == FAILED:
            raise value
        return value


def _keys(path: str | None, key: bytes | list[bytes] | None) -> list[bytes]:
    if key is None:
        text = os.environ.get(_KEY)
        if not text and path is None:
            raise ValueError(f"processes of other machines need the key: key=, or {_KEY}")
        key = text.encode() if text else _key_in_file(str(path))
    keys = [key] if isinstance(key, bytes) else list(key)
    if not keys or not all(keys):
        raise ValueError("a key must not be empty")
    return keys


def _key_in_file(path: str) -> bytes:
    """Return the key in a file, which is made if it does not exist."""
    new = f"{path}.{uuid.uuid4().hex}"
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        pass
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_hex(32).encode())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)  # whole at once, and never over another one
    except FileExistsError:
        pass
    finally:
        os.unlink(new)
    with open(path, "rb") as file:
        return file.read()
