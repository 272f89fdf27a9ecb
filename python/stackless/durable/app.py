"""`App`: starts workflows, runs them, and looks after them."""

from __future__ import annotations

import datetime
import importlib.util
import os
import platform
import secrets
import sys
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from stackless.durable import calls, values
from stackless.durable.commits import Commits
from stackless.durable.driving import Place
from stackless.durable.handle import Handle
from stackless.durable.records import Info, Start
from stackless.durable.requests import in_seconds
from stackless.durable.schedules import Schedule, next_time
from stackless.durable.store import key_file, open_store
from stackless.durable.waiting import wait_for
from stackless.durable.worker import Runner

R = TypeVar("R")

_KEY = "STACKLESS_DURABLE_KEY"
#: How many workflows are removed in a transaction.
_MOST = 500
#: How many workflows are started in a transaction.
_STARTED = 1000


#: Of snapshots; another one for what releases with this one cannot load.
_FORMAT = "s1"


def this_python() -> str:
    """Return what a snapshot needs: the interpreter, its bytecode, our format, the processor."""
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{sys.implementation.name} {version} {magic} {_FORMAT} {platform.machine()}"


class App:
    """Workflows of one name in one store.

    `store`: "sqlite:///" and a path, which is relative unless it begins with another "/". `key`:
    bytes, or several of them: snapshots are signed with the first, and one of them must fit when
    they are loaded. By default the environment variable STACKLESS_DURABLE_KEY, or else a random key
    in a file beside the database that only its owner can read. `linger`: seconds for which a
    workflow that waits may stay in memory; by default it is a row at once. Raises ValueError for
    another store or an empty key, and what the store raises. May be used from any thread.
    """

    def __init__(
        self,
        name: str = "stackless",
        store: str = "sqlite:///stackless.db",
        *,
        key: bytes | list[bytes] | None = None,
        linger: float = 0.0,
    ) -> None:
        self.name = name
        self._linger = linger
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
        started = self._start_of(calls.check_workflow(function), args, kwargs, id)
        wait_for(self._store.start(started))
        self._wake()
        return Handle(self, started.id)

    def start_all(
        self,
        function: Callable[..., Any],
        arguments: Iterable[Iterable[Any]],
        *,
        ids: Iterable[str] | None = None,
    ) -> list[Handle]:
        """Start a workflow for each of several tuples of arguments, as `start(function, *each)`.

        A thousand of them take one commit. `ids`: their names, as many as there are tuples; by
        default random ones. Returns their handles, in this order, when all are on the disk. Raises
        what `start` raises, and ValueError for another number of ids: then none was started. If the
        process or the store fails meanwhile, some may have been started, thousands of them whole:
        with `ids` the call can be repeated.
        """
        name = calls.check_workflow(function)
        if ids is None:
            started = [self._start_of(name, tuple(each), {}, None) for each in arguments]
        else:
            pairs = zip(arguments, ids, strict=True)
            started = [self._start_of(name, tuple(each), {}, id) for each, id in pairs]
        for at in range(0, len(started), _STARTED):
            wait_for(self._store.start_all(started[at : at + _STARTED]))
            self._wake()
        return [Handle(self, each.id) for each in started]

    def _start_of(
        self, name: str, args: tuple[Any, ...], keywords: dict[str, Any], id: str | None
    ) -> Start:
        if id is None:
            id = uuid.uuid4().hex
        elif not isinstance(id, str):
            raise TypeError(f"an id must be a str, not {type(id).__name__}")
        return Start(id, self.name, name, values.dump((args, keywords), self._keys[0]))

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
        place = Place(
            self._store, self.name, this_python(), self._keys, Commits(self._store), self._linger
        )
        runner = Runner(place, most)
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

    def workflows(
        self, *, status: str | None = None, stuck: bool = False, limit: int = 50
    ) -> list[Info]:
        """Return workflows, the one started last first: all, or those with a status.

        `stuck`: those that cannot be continued: with the status "stuck", and those whose snapshot
        neither this Python nor a worker that is there can load: `info.needs` says which Python can.
        """
        return self._store.infos(self.name, status, limit, this_python() if stuck else "")

    # -------------------------------------------------------------- schedules

    def schedule(
        self,
        name: str,
        cron: str,
        function: Callable[..., Any],
        /,
        *args: Any,
        timezone: str = "UTC",
        **kwargs: Any,
    ) -> None:
        """Start a workflow at each time of a cron expression, such as "0 3 * * *".

        It is kept in the store; workers start the workflows, with the ids `name@time`, each once.
        A schedule of this name is replaced; if its times are the same, the next one stays. Of the
        times that pass while no worker runs, the first is made up for, and the others are left out.
        `timezone`: a name of the time zone database; a time that an hour of summer time repeats is
        there twice. Needs croniter (extra `durable`). ValueError for a wrong expression or time
        zone and for a function that is no workflow; ImportError; what `start` raises for arguments.
        """
        if not isinstance(name, str):
            raise TypeError(f"a name must be a str, not {type(name).__name__}")
        due = next_time(cron, timezone, self._store.now())
        arguments = values.dump((args, kwargs), self._keys[0])
        target = calls.check_workflow(function)
        wait_for(self._store.schedule(self.name, name, cron, timezone, target, arguments, due))
        self._wake()

    def schedules(self) -> list[Schedule]:
        """Return the schedules, by name."""
        return [each for each, _ in self._store.schedules(self.name)]

    def unschedule(self, name: str) -> None:
        """Remove a schedule; workflows that it has started go on. LookupError if there is none."""
        if not wait_for(self._store.unschedule(self.name, name)):
            raise LookupError(f"there is no schedule {name!r}")

    # -------------------------------------------------------------- control

    def fork(self, workflow: str, step: int | None = None, id: str | None = None) -> Handle:
        """Fork the workflow of an id: see `Handle.fork`. NoSuchWorkflow."""
        return self.handle(workflow).fork(step, id)

    def migrate(self, ids: Iterable[str], *, to: Callable[..., Any]) -> int:
        """Let newer code take the place of workflows, at their next `durable.upgrade_point`.

        One that has failed or is stuck continues at once, with the state of the last upgrade point
        that it has passed; what it has done since may be done again. `to` is a workflow, which is
        called with the state. Returns how many will be or were migrated: others have ended, or
        have failed before an upgrade point. ValueError, NoSuchWorkflow.
        """
        name = calls.check_workflow(to)
        futures = [self._store.migrate(id, name) for id in ids]
        count = sum([wait_for(future) for future in futures])
        self._wake()
        return count

    def gc(self, *, older_than: datetime.timedelta | float) -> int:
        """Remove workflows that have ended so long ago, and code that no snapshot needs any more.

        Returns how many workflows were removed: of this app, done, failed or cancelled. Children
        stay until their parents have ended.
        """
        before, count = self._store.now() - in_seconds(older_than), 0
        while True:
            removed = wait_for(self._store.remove(self.name, before, _MOST))
            count += removed
            if removed < _MOST:
                break
        wait_for(self._store.remove_code())
        return count

    def close(self) -> None:
        """Write what was not written yet, and close the store."""
        self._store.close()


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
