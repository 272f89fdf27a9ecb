"""What a cluster needs of the system that runs its processes: the protocol of an engine.

An engine starts a host in each of its worker processes, and the directory in one place; it carries
messages between them, and says which workers have gone. `dask.py` is the one that there is.

A message is a tuple of an operation and its arguments: None, booleans, numbers below 2**63,
strings, bytes, frames of the engine, and tuples, lists and dicts of these. Nothing else: a message
can be read without running code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Message = tuple[Any, ...]

#: Called with the id of the sender and its messages, in the engine's thread; it must not wait.
Receiver = Callable[[int, list[Message]], None]


class Frame(Protocol):
    """Bytes in a message that are not copied into it. Made with their memory.

    It can be pickled. Where it arrives, the memory is writable, and nothing else has it; a message
    of a host to itself has the same frame.
    """

    memory: memoryview

    def __init__(self, memory: memoryview) -> None: ...


class Engine(Protocol):
    """Carries the messages of one host. Its methods may be called in any thread, and never wait."""

    def send(self, to: int, message: Message) -> None:
        """Send a message to a host, or the directory.

        Messages to one node arrive once and in order, also over a connection that breaks and is
        made again, until one of the two nodes is forgotten; then they are dropped.
        """

    def know(self, host: int, address: str, at_once: bool) -> None:
        """From now on this host can be sent to, at this address.

        address: "" if it will connect to this one. at_once: connect now, so that it can send to
        this host even before that has sent to it.
        """

    def forget(self, host: int) -> None:
        """From now on drop messages to and from this host; it is told when it tries to connect."""

    def close(self) -> None:
        """Break the connections."""
