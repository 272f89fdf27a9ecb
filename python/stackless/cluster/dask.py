"""The engine that there is: Dask distributed.

Its scheduler process has the directory, as a `SchedulerPlugin`; a `WorkerPlugin` makes each worker
a host, also those that join later. Connections between them are made by Dask, with its security,
and arrive at handlers of the workers and the scheduler, which are servers of Dask.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import os
import secrets
import sys
import time
from typing import Any

from distributed import Client, Scheduler, Security, SpecCluster, Worker
from distributed.comm import Comm
from distributed.core import Status
from distributed.deploy.subprocess import SubprocessWorker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from stackless.cluster.directory import Directory
from stackless.cluster.host import Host
from stackless.cluster.links import ENDED, OPERATION, Endpoint, Frame, Refused, greet
from stackless.cluster.records import DIRECTORY, KEY_VARIABLE, PYTHON, ClusterError, host_name
from stackless.cluster.records import Host as Info
from stackless.cluster.values import Codec

log = logging.getLogger("stackless.cluster")

#: Both plugins have this name: a scheduler has one cluster.
NAME = "stackless.cluster"
#: Seconds between two signs of life, and between two looks for lost hosts.
_BEAT, _LOOK = 0.5, 0.1
#: Seconds in which a worker that ends moves its tasklets away, and then lets them clean up.
_DRAIN, _CLEAN = 25.0, 2.0


def fingerprint(key: bytes) -> str:
    """Return what tells whether two hosts have the same key, without showing it."""
    return hmac.digest(key, b"stackless.cluster", hashlib.sha256).hex()


def key_of_environment() -> bytes | None:
    """Return the key of the environment, None if there is none; ClusterError for what is no key."""
    text = os.environ.get(KEY_VARIABLE, "")
    if not text:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) < 32:
        raise ClusterError(f"{KEY_VARIABLE} must be at least 64 hexadecimal digits")
    return key


class DirectoryPlugin(SchedulerPlugin):  # type: ignore[misc]
    """Has the directory in the process of Dask's scheduler.

    shared: the key if it is sent to all that connect, None if every host has it from elsewhere.
    print: the fingerprint of the key.
    """

    name = NAME
    idempotent = True

    def __init__(self, shared: bytes | None, print: str, lost_after: float) -> None:
        self.cluster = secrets.token_hex(4)
        self.shared = shared
        self.print = print
        self.lost_after = lost_after
        #: False in tests that show what the directory prevents.
        self.fencing = True

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to answer hosts."""
        loop = asyncio.get_running_loop()
        self.endpoint = Endpoint(loop, {}, self._receive)
        self.endpoint.id = DIRECTORY
        self.directory = Directory(self.endpoint.send, self._forget, self.lost_after, self.fencing)
        #: Dask's name of a worker or a client -> the host.
        self.known: dict[str, int] = {}
        #: Hosts that Dask counts as gone: why, and when they are lost at the latest.
        self.going: dict[int, tuple[str, float]] = {}
        scheduler.handlers[OPERATION] = self._connected
        self._looking = loop.create_task(self._look())

    async def _connected(self, comm: Comm, hello: dict[str, Any]) -> Any:
        if "join" in hello:
            await self._join(comm, **hello["join"])
        else:
            await self.endpoint.accept(comm, **hello)
        return Status.dont_reply

    async def _join(self, comm: Comm, print: str, known: str, **host: Any) -> None:
        if print not in (self.print, "") or (not print and self.shared is None):
            need = "another key" if print else f"no key: {KEY_VARIABLE} is not set"
            await comm.write({"refused": f"{host['name']} has {need}"})
            return
        info, others = self.directory.join(**host)
        self.known[known] = info.id
        welcome = {
            "received": 0,
            "cluster": self.cluster,
            "key": self.shared,
            "host": tuple(info),
            "others": [tuple(each) for each in others],
            "lost_after": self.lost_after,
        }
        await comm.write(welcome)
        await self.endpoint.adopt(info.id, comm, 0)

    def _receive(self, sender: int, messages: list[Any]) -> None:
        try:
            self.directory.receive(sender, messages)
        except Exception:
            log.exception("the directory could not do what host %d asked for", sender)

    def _forget(self, host: int) -> None:
        self.endpoint.forget(host)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(min(self.lost_after / 10, _LOOK))
            self.directory.look()
            now = time.monotonic()
            for host, (why, until) in list(self.going.items()):
                if now > until or not self.endpoint.connected(host):
                    del self.going[host]
                    self.directory.lose(host, why)

    def _gone(self, known: str, why: str) -> None:
        """Dask counts a process as gone. One that still is connected is leaving, and has time."""
        host = self.known.pop(known, None)
        if host is None:
            return
        if self.endpoint.connected(host):
            self.going[host] = why, time.monotonic() + _DRAIN + 5
            self.directory.drain(host)
        else:
            self.directory.lose(host, why)

    def remove_worker(self, scheduler: Scheduler, worker: str, **rest: Any) -> None:
        """Dask has lost a worker."""
        self._gone(worker, "Dask has lost the worker")

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Dask has lost a client, or it has left."""
        self._gone(client, "the program has ended")

    async def close(self) -> None:
        """The scheduler ends."""
        self._looking.cancel()
        # Dask breaks the connections when it does not listen any more: if they broke now, others
        # would connect again, and Dask warns of connections that are made while it ends.
        self.endpoint.refuse()


class HostPlugin(WorkerPlugin):  # type: ignore[misc]
    """Makes a worker of Dask a host.

    key: None if the worker has it in its environment.
    """

    name = NAME
    idempotent = True

    def __init__(self, key: bytes | None, allow: tuple[str, ...]) -> None:
        self.key = key
        self.allow = allow

    async def setup(self, worker: Worker) -> None:
        """Begin to run tasklets in this worker."""
        self.node = Node(worker.connection_args, self.key, self.allow)
        worker.handlers[OPERATION] = self.node.connected
        await self.node.join(
            worker.scheduler.address,
            worker.address,
            name=host_name(worker.name),
            address=worker.address,
            kind="worker",
            resources=dict(worker.state.total_resources),
        )

    async def teardown(self, worker: Worker) -> None:
        """The worker ends: its tasklets move to others."""
        await self.node.drain()
        await self.node.leave()


class Node:
    """A host and its endpoint, in the loop of a worker or of a client."""

    def __init__(
        self, arguments: dict[str, Any], key: bytes | None, allow: tuple[str, ...]
    ) -> None:
        self._arguments = arguments
        self._key = key or key_of_environment()
        self._allow = allow
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False

    async def connected(self, comm: Comm, hello: dict[str, Any]) -> Any:
        """Serve another node that has connected to this one."""
        await self.endpoint.accept(comm, **hello)
        return Status.dont_reply

    async def join(self, scheduler: str, known: str, **host: Any) -> Host:
        """Become a host. Raises ClusterError if the directory refuses."""
        self._as = scheduler, known, host
        print = fingerprint(self._key) if self._key else ""
        hello = {"join": {"print": print, "known": known, "python": PYTHON, **host}}
        try:
            comm, welcome = await greet(scheduler, self._arguments, hello)
        except Refused as error:
            raise ClusterError(f"the cluster refuses this host: {error}") from None
        key = self._key or welcome["key"]
        try:
            self.host = Host(welcome["cluster"], Codec(key, self._allow, Frame))
        except BaseException:
            comm.abort()
            raise
        self.host.address = scheduler
        loop = asyncio.get_running_loop()
        self.endpoint = Endpoint(loop, self._arguments, self.host.receive, self._refused)
        own = Info(*welcome["host"])
        self.endpoint.id = own.id
        self.endpoint.know(DIRECTORY, scheduler, False)
        self.host.start(self.endpoint, own, [Info(*each) for each in welcome["others"]])
        self._start(self.endpoint.adopt(DIRECTORY, comm, 0))
        self._start(self._beat())
        return self.host

    def _start(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _beat(self) -> None:
        while True:
            self.endpoint.send(DIRECTORY, ("beat", len(self.host.tasks.here)))
            await asyncio.sleep(_BEAT)

    def _refused(self, node: int, why: str) -> None:
        if node == DIRECTORY and not self._ending and why != ENDED:
            self._ending = True
            self._start(self._cut_off())

    async def _cut_off(self) -> None:
        """The others have gone on without this host: drop what is on it, and begin anew."""
        log.warning(
            "the host %s was silent for too long, and counts as lost: what was on it is dropped",
            self.host.name,
        )
        await asyncio.get_running_loop().run_in_executor(None, self.host.stop)
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        scheduler, known, host = self._as
        if host["kind"] == "worker":
            self._ending = False
            await self.join(scheduler, known, **host)

    async def drain(self) -> None:
        """Move what can move to other hosts, and wait until it has, for some time."""
        self.endpoint.send(DIRECTORY, ("drain",))
        until = time.monotonic() + _DRAIN
        while self.host.busy() and time.monotonic() < until:
            await asyncio.sleep(0.02)
        self.host.perform(self.host.tasks.end_all)
        until = time.monotonic() + _CLEAN
        while self.host.tasks.here and time.monotonic() < until:
            await asyncio.sleep(0.02)

    async def leave(self) -> None:
        """End the host."""
        self._ending = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.endpoint.flush(), _CLEAN)
        self.endpoint.know(DIRECTORY, "", False)  # do not connect again
        self.endpoint.send(DIRECTORY, ("leave",))
        until = time.monotonic() + _CLEAN
        while self.endpoint.connected(DIRECTORY) and time.monotonic() < until:
            await asyncio.sleep(0.01)  # the directory breaks the connection
        for task in list(self._tasks):
            task.cancel()
        await asyncio.get_running_loop().run_in_executor(None, self.host.stop)


class DaskConnection:
    """A program's connection to a cluster of Dask, which it has made itself if address is None.

    workers: how many processes to start then; None for one per processor. start: make the cluster
    of tasklets, if the cluster of Dask has none.
    """

    def __init__(
        self,
        address: str | None,
        workers: int | None,
        key: bytes | None,
        allow: tuple[str, ...],
        security: Security | None,
        name: str,
        lost_after: float,
        timeout: float,
        start: bool = True,
    ) -> None:
        self.cluster: SpecCluster | None = None
        key = key or key_of_environment()
        explicit = key is not None
        key = key or secrets.token_bytes(32)
        try:
            if address is None:
                self.cluster = embedded(workers or os.cpu_count() or 1)
            self.client = Client(
                self.cluster or address,
                security=security,
                timeout=timeout,
                name="stackless",
                set_as_default=False,
            )
            shared = None if explicit and address is not None else key
            if start:
                self.client.register_plugin(DirectoryPlugin(shared, fingerprint(key), lost_after))
                self.client.register_plugin(HostPlugin(shared, allow))
            self.node = Node(self.client.connection_args, key if explicit else None, allow)
            self.host: Host = self.client.sync(
                self.node.join,
                self.client.scheduler.address,
                self.client.id,
                name=name,
                address="",
                kind="client",
                resources={},
            )
            if address is None:
                self._wait_for(workers or os.cpu_count() or 1, timeout)
        except BaseException:
            self.close()
            raise

    def _wait_for(self, workers: int, timeout: float) -> None:
        """Wait until that many workers are hosts."""
        deadline = time.monotonic() + timeout
        while sum(each.kind == "worker" for each in list(self.host.hosts.values())) < workers:
            if time.monotonic() > deadline:
                raise ClusterError(f"{workers} workers have not started in {timeout:g} s")
            time.sleep(0.01)

    def close(self) -> None:
        """Leave the cluster; end it if it was made here."""
        if hasattr(self, "host"):
            self.client.sync(self.node.leave)
            del self.host
        if hasattr(self, "client"):
            self.client.close()
        if self.cluster is not None:
            self.cluster.close()


def embedded(workers: int) -> SpecCluster:
    """Start a scheduler in this process, and worker processes, on the loopback interface."""

    # Dask reports each connection that ends, also when the cluster has ended, so this stays; a
    # program that wants these reports sets the level afterwards.
    logger = logging.getLogger("distributed")
    logger.setLevel(max(logger.level, logging.WARNING))
    # Dask's limits of memory pause a worker, which tasklets do not know: off. Its page takes a free
    # port.
    settings = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    of_worker = {**settings, "nthreads": 1, "memory_limit": 0}

    def spec(name: str) -> dict[str, Any]:
        options = {"name": name, "worker_kwargs": {**of_worker, "name": name}}
        return {"cls": _EmbeddedWorker, "options": options}

    names = [f"worker-{number}" for number in range(workers)]
    return SpecCluster(
        workers={name: spec(name) for name in names},
        scheduler={"cls": Scheduler, "options": {**settings, "port": 0}},
        silence_logs=False,
    )


class _EmbeddedWorker(SubprocessWorker):  # type: ignore[misc]
    """A worker process of the embedded cluster: it does not import the program that starts it."""

    async def _start(self) -> None:
        spec = {"cls": "distributed.Worker", "opts": self.worker_kwargs}
        arguments = "-m", "dask", "spec", self.scheduler, "--spec", json.dumps(spec)
        environment = {"DASK_LOGGING__DISTRIBUTED": "warning", **os.environ}
        # Modules that this program finds are found there too.
        environment["PYTHONPATH"] = os.pathsep.join(each or os.getcwd() for each in sys.path)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL
        )
