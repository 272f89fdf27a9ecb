"""Ordered messages between the nodes of a cluster, over connections of Dask that may break.

Each node has an `Endpoint`, which lives in the thread of an event loop. It has a `Link` for each
other node, with what is to be sent to it. A node with an address is connected to when there is
something to send; one without (a client, a host for the directory) has to connect itself, and
gets what it is sent over that connection.

Messages are sent in batches with numbers, and kept until the other side has confirmed them. When a
connection is made again, what was not confirmed is sent again, and what has arrived twice is
dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

from distributed.comm import Comm, connect
from distributed.protocol.serialize import Serialize, dask_deserialize, dask_serialize

from stackless.cluster.engine import Message, Receiver

log = logging.getLogger("stackless.cluster")

#: The operation with which a connection begins.
OPERATION = "stackless_cluster"
#: Why a node that has ended accepts no connections.
ENDED = "it has ended"
#: Most messages of a batch, batches received until they are confirmed, seconds until then.
_BATCH, _CONFIRM, _CONFIRM_AFTER = 2000, 32, 0.2
#: Seconds between attempts to connect, first and longest.
_FIRST, _LONGEST = 0.05, 1.0


class Refused(ConnectionError):
    """The other node does not accept connections of this one."""


class Frame(Serialize):  # type: ignore[misc]
    """See engine.Frame. Dask sends its memory as a frame of the connection."""

    def __init__(self, memory: memoryview) -> None:
        super().__init__(_Memory(memory))

    @property
    def memory(self) -> memoryview:
        """The bytes."""
        found: memoryview = self.data.memory
        return found

    @memory.setter
    def memory(self, memory: memoryview) -> None:
        self.data.memory = memory

    def __repr__(self) -> str:
        return f"<frame of {self.memory.nbytes} bytes>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _framed, (pickle.PickleBuffer(self.memory),)


class _Memory:
    """What Dask serializes of a frame."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory


def _framed(buffer: Any) -> Frame:
    return Frame(memoryview(buffer))


@dask_serialize.register(_Memory)  # type: ignore[untyped-decorator]
def _serialized(memory: _Memory) -> tuple[dict[str, Any], list[memoryview]]:
    return {}, [memory.memory]


@dask_deserialize.register(_Memory)  # type: ignore[untyped-decorator]
def _deserialized(header: dict[str, Any], frames: list[Any]) -> Frame:
    return _framed(frames[0])


class Link:
    """What is sent to one node."""

    def __init__(self, endpoint: Endpoint, to: int, address: str) -> None:
        self._endpoint = endpoint
        self._to = to
        self.address = address
        self.out: deque[Message] = deque()
        self.waking = False
        self._wake = asyncio.Event()
        #: Batches that were sent and not confirmed, with their numbers.
        self._sent: deque[tuple[int, list[Message]]] = deque()
        self._number = 0
        #: The number of the last batch that has come from that node, and that was confirmed to it.
        self.received = 0
        self._confirmed = 0
        self._confirming = False
        self._comm: Comm | None = None
        self._dialling = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False

    def wake(self) -> None:
        """See what there is to send. In the thread of the loop."""
        self.waking = False
        if self._comm is None:
            if self.address and not self._dialling and not self.closed:
                self._dialling = True
                self._start(self._dial())
        self._wake.set()

    def _start(self, coroutine: Any) -> None:
        task = self._endpoint.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self) -> None:
        """Connect, again and again, until there is a connection or the node is forgotten."""
        pause = _FIRST
        try:
            while not self.closed:
                try:
                    comm, answer = await self._endpoint.dial(self._to, self.address, self.received)
                except Refused as error:
                    self._endpoint.refused(self._to, str(error))
                    return
                except OSError as error:
                    log.debug("no connection to %s: %s", self.address, error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST)
                    continue
                self._comm = comm  # so that close() breaks it also before the task begins
                self._start(self.use(comm, answer["received"]))
                return
        finally:
            self._dialling = False

    async def use(self, comm: Comm, arrived: int) -> None:
        """Send and receive over a connection until it breaks. arrived: the last batch there."""
        if self._comm is not None and self._comm is not comm:
            self._comm.abort()
        self._comm = comm
        self.confirm(arrived)
        self._wake.set()
        writer = self._endpoint.loop.create_task(self._write(comm, list(self._sent)))
        try:
            await self.read(comm)
        finally:
            writer.cancel()
            if self._comm is comm:
                self._comm = None
                if not self.closed:
                    self.wake()

    async def read(self, comm: Comm) -> None:
        """Receive over a connection until it breaks."""
        loop = self._endpoint.loop
        try:
            while not self.closed:
                for confirmed, number, messages in await comm.read():
                    self.confirm(confirmed)
                    if number > self.received:
                        self.received = number
                        self._endpoint.receiver(self._to, messages)
                unconfirmed = self.received - self._confirmed
                if unconfirmed >= _CONFIRM:
                    self.wake()
                elif unconfirmed and not self._confirming:
                    self._confirming = True
                    loop.call_later(_CONFIRM_AFTER, self._confirm_soon)
        except OSError as error:
            log.debug("the connection to %s broke: %s", self.address or self._to, error)
        finally:
            comm.abort()

    def _confirm_soon(self) -> None:
        self._confirming = False
        if self.received > self._confirmed and not self.closed:
            self.wake()

    def confirm(self, number: int) -> None:
        """The other node has all batches up to this one."""
        while self._sent and self._sent[0][0] <= number:
            self._sent.popleft()

    async def _write(self, comm: Comm, again: list[tuple[int, list[Message]]]) -> None:
        with contextlib.suppress(OSError):
            if again:
                await comm.write([(self.received, *each) for each in again])
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self.out or self.received > self._confirmed:
                    messages: list[Message] = []
                    while self.out and len(messages) < _BATCH:
                        messages.append(self.out.popleft())
                    number = 0
                    if messages:
                        self._number = number = self._number + 1
                        self._sent.append((number, messages))
                    self._confirmed = self.received
                    await comm.write([(self.received, number, messages)])
        comm.abort()

    def connected(self) -> bool:
        """True if there is a connection at the moment."""
        return self._comm is not None

    def close(self) -> None:
        """Break the connection, and drop what was not sent."""
        self.closed = True
        self.out.clear()
        self._sent.clear()
        if self._comm is not None:
            self._comm.abort()
        for task in list(self._tasks):
            task.cancel()

    async def flush(self) -> None:
        """Wait until everything was confirmed, for a few seconds at most."""
        for _ in range(100):
            if self.closed or not (self.out or self._sent):
                return
            self.wake()
            await asyncio.sleep(0.02)


class Endpoint:
    """A node's connections to others; implements `Engine`.

    arguments: for Dask's `connect()`, such as those of its security. receiver gets the messages.
    refused is called with the id of a node and the reason if that does not accept connections.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        arguments: dict[str, Any],
        receiver: Receiver,
        refused: Callable[[int, str], None] = lambda node, why: None,
    ) -> None:
        self.id = -1
        self.loop = loop
        self.arguments = arguments
        self.receiver = receiver
        self.refused = refused
        self._links: dict[int, Link] = {}
        self._forgotten: set[int] = set()
        self._closed = False

    # ------------------------------------------------------------------ Engine

    def send(self, to: int, message: Message) -> None:
        """See Engine."""
        link = self._links.get(to)
        if link is None:
            return
        link.out.append(message)
        if not link.waking:
            link.waking = True
            self._call(link.wake)

    def know(self, host: int, address: str, at_once: bool) -> None:
        """See Engine."""
        link = self._link(host)
        link.address = address
        if at_once and address:
            self._call(link.wake)

    def forget(self, host: int) -> None:
        """See Engine."""
        self._forgotten.add(host)
        link = self._links.pop(host, None)
        if link is not None:
            self._call(link.close)

    def refuse(self) -> None:
        """Accept no more connections. Those that there are stay."""
        self._closed = True

    def close(self) -> None:
        """See Engine."""
        self.refuse()
        for host in list(self._links):
            self.forget(host)

    def _call(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self.loop.call_soon_threadsafe(function)

    # ------------------------------------------------------------------ connections

    def _link(self, node: int) -> Link:
        return self._links.get(node) or self._links.setdefault(node, Link(self, node, ""))

    async def dial(self, to: int, address: str, received: int) -> tuple[Comm, dict[str, Any]]:
        """Connect to a node; return the connection and what it has said."""
        comm, answer = await greet(
            address, self.arguments, {"sender": self.id, "to": to, "received": received}
        )
        return comm, answer

    def connected(self, host: int) -> bool:
        """True if there is a connection to a host at the moment."""
        link = self._links.get(host)
        return link is not None and link.connected()

    async def flush(self) -> None:
        """Wait until everything was confirmed, for a few seconds at most."""
        await asyncio.gather(*(each.flush() for each in list(self._links.values())))

    async def adopt(self, node: int, comm: Comm, arrived: int) -> None:
        """Use a connection that was made by the other side, or without a link, until it breaks."""
        await self._link(node).use(comm, arrived)

    async def accept(self, comm: Comm, sender: int, to: int, received: int) -> None:
        """Answer another node that has connected to this one, and serve it."""
        if self._closed:
            await comm.write({"refused": ENDED})
            return
        if to != self.id or sender == self.id or sender in self._forgotten:
            await comm.write({"refused": "this node does not know you any more"})
            return
        link = self._link(sender)
        await comm.write({"received": link.received})
        if link.address:
            await link.read(comm)  # for what this side sends it has a connection of its own
        else:
            await link.use(comm, received)


async def greet(
    address: str, arguments: dict[str, Any], hello: dict[str, Any]
) -> tuple[Comm, dict[str, Any]]:
    """Connect to a process, and say what for. Raises Refused with its reason, or OSError."""
    comm = await connect(address, **arguments)
    try:
        await comm.write({"op": OPERATION, "reply": True, "hello": hello})
        # A server of Dask that does not know the operation answers None.
        answer: dict[str, Any] = await comm.read() or {"refused": "it has no tasklets"}
    except BaseException:
        comm.abort()
        raise
    if "refused" in answer:
        comm.abort()
        raise Refused(answer["refused"])
    return comm, answer
