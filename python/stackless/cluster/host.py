"""A host: the thread of a process in which the cluster's tasklets run, and what it answers.

The engine puts messages into the host's inbox; the main tasklet of the thread takes them out one
after the other, so that everything that changes the host's tables happens in this thread, and
between two switches. Other threads make requests only.

A message is an order, which has no answer, or a call. The parts of a host (`tasks.py`,
`channels.py`, `moves.py`) register functions for both in `orders` and `calls`.
"""

from __future__ import annotations

import contextlib
import contextvars
import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import stackless
from stackless.cluster import asking
from stackless.cluster.balance import Balance, Resources
from stackless.cluster.channels import Channels
from stackless.cluster.checkpoints import Checkpoints
from stackless.cluster.engine import Engine, Message
from stackless.cluster.explaining import Explaining
from stackless.cluster.maps import Maps
from stackless.cluster.moves import Moves
from stackless.cluster.records import (
    DIRECTORY,
    DONE,
    FAILED,
    PYTHON,
    WITHDRAWN,
    Caller,
    ClusterError,
    HostLost,
    NoSuchHost,
)
from stackless.cluster.records import Host as Info
from stackless.cluster.tasklets import Here
from stackless.cluster.tasks import Tasks
from stackless.cluster.values import Codec
from stackless.cluster.waiting import LOCAL, Request
from stackless.sync import SimpleQueue

if TYPE_CHECKING:
    from stackless.cluster.keeping import Keeper

log = logging.getLogger("stackless.cluster")


class Host:
    """One process's part of a cluster.

    cluster: the name of the cluster. codec: has its key.
    """

    #: Returned by a call that is answered later.
    LATER = object()

    def __init__(self, cluster: str, codec: Codec) -> None:
        if cluster in asking.hosts:
            raise ClusterError(f"this process is a host of the cluster {cluster} already")
        self.cluster = cluster
        self.codec = codec
        self.id = -1
        self.name = ""
        #: Where others connect to the cluster.
        self.address = ""
        self.hosts: dict[int, Info] = {}
        #: The number of tasklets on each host that others have started, when it was last told.
        self._loads: dict[int, int] = {}
        self.draining: set[int] = set()
        #: Clients, if this is one: neither can connect to the other.
        self._unreachable: set[int] = set()
        self._names: dict[int, str] = {DIRECTORY: "the directory"}
        self._engine: Engine | None = None
        self._numbers = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._timers: list[tuple[float, int]] = []
        self._inbox: SimpleQueue[tuple[int, list[Message]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"cluster {cluster}", daemon=True)
        self._ident = 0
        self._over = threading.Event()
        #: What keeps its tasklets in a durable store, if anything does.
        self.keeper: Keeper | None = None
        #: True from when it moves its tasklets away on: none of their ends is told.
        self.leaving = False
        self.orders: dict[str, Callable[..., None]] = {
            "answer": self._answered,
            "call": self._called,
            "withdraw": self._withdraw,
            "joined": self._joined,
            "lost": self._lost,
            "load": self._load,
            "draining": self._draining,
            "perform": self._perform,
            "relayed": self._relayed,
        }
        self.calls: dict[str, Callable[..., Any]] = {
            "ping": lambda caller: None,
            "sleep": lambda caller: self.LATER,
        }
        #: How to withdraw a call that was not answered yet; returns whether that was possible.
        self.withdrawals: dict[str, Callable[..., bool]] = {"sleep": lambda caller: True}
        #: What to do with an answer for which the caller does not wait any more.
        self.returns: dict[str, Callable[[Request], None]] = {}
        self.tasks = Tasks(self)
        self.channels = Channels(self)
        self.moves = Moves(self)
        self.checkpoints = Checkpoints(self)
        self.maps = Maps(self)
        self.resources = Resources(self)
        self.balance = Balance(self)
        Explaining(self)

    # ------------------------------------------------------------------ begin and end

    def start(self, engine: Engine, own: Info, others: list[Info]) -> None:
        """Begin to run tasklets. In the engine's thread; messages may arrive from now on."""
        self._engine = engine
        self.id, self.name = own.id, own.name
        for each in (own, *others):
            self._know(each)
        asking.hosts[self.cluster] = self
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what its tasklets do is broken off. From any other thread."""
        asking.hosts.pop(self.cluster, None)
        self._inbox.put(None)
        self._over.wait(5)
        if self._engine is not None:
            self._engine.close()
        error = self.codec.encode_error(ClusterError("the connection to the cluster was closed"))
        for request in list(self._requests.values()):
            # Tasklets of this host's thread stop where they are: "tasklet has no thread".
            with contextlib.suppress(RuntimeError):
                if request.task is None:
                    request.answer(FAILED, error)

    def receive(self, sender: int, messages: list[Message]) -> None:
        """Take messages from the engine, in whatever thread."""
        self._inbox.put((sender, messages))

    def _run(self) -> None:
        asking.local.host = self
        self._ident = threading.get_ident()
        try:
            while True:
                try:
                    delivery = self._inbox.get(timeout=self._time_left())
                except queue.Empty:
                    self._ring()
                    continue
                except BaseException:
                    # What a tasklet did not catch that the program itself has started here.
                    log.exception("a tasklet on the host %s has failed", self.name)
                    continue
                if delivery is None:
                    break
                sender, messages = delivery
                if sender != self.id and sender != DIRECTORY and sender in self._names:
                    if sender not in self.hosts:
                        continue  # it was lost: what it still sends is dropped
                for message in messages:
                    self._do(sender, message)
                self._ring()
        finally:
            self._over.set()

    def _do(self, sender: int, message: Message) -> None:
        try:
            self.orders[message[0]](sender, *message[1:])
        except Exception:
            log.exception("%s could not do what %s asked for", self.name, self.name_of(sender))

    def helper(self, function: Callable[..., None], *arguments: Any) -> stackless.tasklet:
        """Call a function that may wait in a new tasklet of this thread. In this thread."""
        tasklet = stackless.tasklet(function).set_context(contextvars.Context())
        tasklet.daemon = True
        return tasklet(*arguments)

    def in_thread(self) -> bool:
        """True in the thread of this host."""
        return self._ident == threading.get_ident()

    # ------------------------------------------------------------------ messages

    def send(self, to: int, message: Message) -> None:
        """Send an order to a host, this one included. From any thread; does not switch."""
        if to == self.id:
            self._inbox.put((to, [message]))
            return
        assert self._engine is not None
        if to in self._unreachable:
            to, message = DIRECTORY, ("relay", to, message)
        self._engine.send(to, message)

    def perform(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function that does not wait in the thread of this host, soon. From any thread."""
        self._inbox.put((self.id, [("perform", function, *arguments)]))

    def _perform(self, sender: int, function: Callable[..., object], *arguments: Any) -> None:
        if sender == self.id:
            function(*arguments)

    def submit(self, request: Request) -> None:
        """Send a request, or send it again from here. From any thread."""
        number = request.number = next(self._numbers)
        request.host = self.id
        target = self.id if request.target == LOCAL else request.target
        self._requests[number] = request
        if request.deadline is not None:
            # By way of the inbox, so that the main tasklet looks how long it may wait.
            self.perform(heapq.heappush, self._timers, (request.deadline, number))
        message = "call", number, request.op, *request.arguments
        if target == self.id and self.in_thread():
            self._do(self.id, message)
        else:
            self.send(target, message)
        if target not in self.hosts and target != DIRECTORY:
            self._fail_lost(number, request)

    def _relayed(self, sender: int, origin: int, message: Message) -> None:
        if sender == DIRECTORY and origin in self.hosts:
            self._do(origin, message)

    def here_of(self, caller: Caller) -> Here | None:
        """Return the tasklet of the cluster on this host that has made a call; None for others."""
        request = self._requests.get(caller.number) if caller.host == self.id else None
        return request.task.here if request is not None and request.task is not None else None

    def waits_for(self, request: Request) -> bool:
        """True if the request is under way, and was not withdrawn."""
        return self._requests.get(request.number) is request

    def pending(self) -> list[Request]:
        """Return what this host has asked for, and waits for."""
        return list(self._requests.values())

    def withdraw(self, request: Request) -> None:
        """Have a request answered soon: with WITHDRAWN, unless its answer is on the way."""
        target = self.id if request.target == LOCAL else request.target
        # What the call is about is in the first two; the rest may be large.
        self.send(target, ("withdraw", request.number, request.op, *request.arguments[:2]))

    def abandon(self, request: Request) -> None:
        """The caller does not wait any more: its tasklet was killed, for example."""
        if self.in_thread():
            self._abandon(request)
        else:
            self.perform(self._abandon, request)

    def _abandon(self, request: Request) -> None:
        if request.answered:
            if request.status == DONE and request.op in self.returns:
                self.returns[request.op](request)
        elif request.number in self._requests:
            self.withdraw(request)
            request.task = request.gate = None

    def answer(self, caller: Caller, value: Any) -> None:
        """Answer a call with a value that may be in messages. In this thread."""
        self._reply(caller, DONE, value)

    def fail(self, caller: Caller, error: BaseException) -> None:
        """Answer a call with an exception. In this thread."""
        self._reply(caller, FAILED, self.codec.encode_error(error))

    def _reply(self, caller: Caller, status: int, value: Any) -> None:
        if caller.host == self.id:
            self._answered(self.id, caller.number, status, value)
        else:
            self.send(caller.host, ("answer", caller.number, status, value))

    def _called(self, sender: int, number: int, op: str, *arguments: Any) -> None:
        caller = Caller(sender, number)
        try:
            value = self.calls[op](caller, *arguments)
        except Exception as error:
            self.fail(caller, error.with_traceback(None))
        else:
            if value is not self.LATER:
                self.answer(caller, value)

    def _withdraw(self, sender: int, number: int, op: str, *arguments: Any) -> None:
        if op in self.withdrawals:
            caller = Caller(sender, number)
            if self.withdrawals[op](caller, *arguments):
                self._reply(caller, WITHDRAWN, None)

    def _answered(self, sender: int, number: int, status: int, value: Any) -> None:
        request = self._requests.pop(number, None)
        if request is None:
            return
        waits = request.task is not None or request.gate is not None
        request.answer(status, value)
        if not waits and status == DONE and request.op in self.returns:
            self.returns[request.op](request)

    # ------------------------------------------------------------------ time

    def _time_left(self) -> float | None:
        if not self._timers:
            return None
        return max(self._timers[0][0] - time.monotonic(), 0.0)

    def _ring(self) -> None:
        """Withdraw the requests whose time is over."""
        while self._timers and self._timers[0][0] <= time.monotonic():
            _, number = heapq.heappop(self._timers)
            request = self._requests.get(number)
            if request is not None:
                request.timed_out = True
                self.withdraw(request)

    # ------------------------------------------------------------------ other hosts

    def name_of(self, host: int) -> str:
        """Return the name of a host, also of one that is gone."""
        return self._names.get(host, f"number {host}")

    def loss(self, host: int) -> HostLost:
        """Return the error that is raised because a host was lost."""
        name = self.name_of(host)
        return HostLost(f"the host {name} was lost, or has left", name)

    def find(self, host: str | Info) -> Info:
        """Return the host of this name, or what is known of this host; NoSuchHost if it is gone."""
        name = host if isinstance(host, str) else host.name
        for each in self.hosts.values():
            if each.name == name:
                return each
        names = ", ".join(sorted(each.name for each in self.hosts.values()))
        raise NoSuchHost(f"there is no host {name!r} in the cluster, only {names}")

    def stayers(self) -> list[int]:
        """Return the workers that are not about to end, and run the same Python as this host."""
        return [
            each.id
            for each in self.hosts.values()
            if each.kind == "worker" and each.id not in self.draining and each.python == PYTHON
        ]

    def other_python(self, host: int) -> str:
        """Return why nothing that is pickled here can run on a host; "" if it can."""
        found = self.hosts.get(host)
        if found is None or found.python == PYTHON:
            return ""
        return f"{found.name} runs Python {found.python}, and {self.name} Python {PYTHON}"

    def idlest(self, but: int | None = None, needs: dict[str, float] | None = None) -> int:
        """Return the worker with the fewest tasklets; NoSuchHost if there is none that stays.

        needs: resources that it must have.
        """
        wanted = (needs or {}).items()
        fit = [
            each
            for each in self.stayers()
            if each != but
            and all(self.hosts[each].resources.get(name, 0) >= n for name, n in wanted)
        ]
        if not fit:
            what = f"with {needs}" if needs else "but this" if but else "in the cluster"
            raise NoSuchHost(f"there is no worker {what} that runs Python {PYTHON}")
        return min(fit, key=lambda each: (self._loads[each] + self.tasks.counts[each], each))

    def expect(self, host: int) -> None:
        """A tasklet is on its way to a host: it counts there until that says how many it has."""
        if host in self._loads:
            self._loads[host] += 1

    def _know(self, info: Info) -> None:
        self._names[info.id] = info.name
        self.hosts[info.id] = info
        self._loads[info.id] = 0
        if info.id != self.id and self._engine is not None:
            alone = not self.hosts[self.id].address
            if alone and not info.address:
                self._unreachable.add(info.id)
            self._engine.know(info.id, info.address, alone)

    def _joined(self, sender: int, *info: Any) -> None:
        if sender == DIRECTORY:
            self._know(Info(*info))

    def _load(self, sender: int, host: int, load: int) -> None:
        if host in self._loads:
            self._loads[host] = max(load - self.tasks.counts[host], 0)

    def _draining(self, sender: int, host: int) -> None:
        self.draining.add(host)
        if host == self.id:
            self.helper(self.moves.drain)

    def busy(self) -> bool:
        """True while something on this host could move to another one, or is about to end."""
        stay = self.moves.staying
        return self.maps.busy() or any(tid not in stay for tid in list(self.tasks.here))

    def _lost(self, sender: int, host: int, why: str, moved: list[str], fence: bool) -> None:
        if sender != DIRECTORY or host not in self.hosts:
            return
        if not fence:  # in tests only
            self.helper(self.checkpoints.lost, host, why, moved)
            return
        info = self.hosts.pop(host)
        self._loads.pop(host, None)
        self.draining.discard(host)
        assert self._engine is not None
        self._engine.forget(host)
        self.send(DIRECTORY, ("confirm", host))
        for number, request in list(self._requests.items()):
            if request.target == host:
                self._fail_lost(number, request)
        self.channels.lost(host)
        if info.kind == "client":
            self.tasks.orphaned(host)
        self.maps.lost(host)
        self.helper(self.checkpoints.lost, host, why, moved)

    def _fail_lost(self, number: int, request: Request) -> None:
        value = self.codec.encode_error(self.loss(request.target))
        if self.in_thread():
            self._answered(self.id, number, FAILED, value)
        else:
            self.perform(self._answered, self.id, number, FAILED, value)
