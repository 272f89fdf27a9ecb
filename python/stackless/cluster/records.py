"""What the parts of a cluster tell one another about: hosts, places, errors."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

#: The id of the directory among the nodes; those of hosts begin with 1.
DIRECTORY = 0

#: The Python of this process: a tasklet can only continue in another one of the same minor version.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

#: The environment variable that holds the key, hexadecimal, where it is not to be sent.
KEY_VARIABLE = "STACKLESS_CLUSTER_KEY"

#: What an answer says: its value is an error, is the result, or the call was withdrawn before it
#: had any effect.
FAILED, DONE, WITHDRAWN = range(3)


class Caller(NamedTuple):
    """Who waits for an answer: a host, and the number of its request."""

    host: int
    number: int


class ClusterError(Exception):
    """Base of the errors of `stackless.cluster`."""


class NoSuchHost(ClusterError, LookupError):
    """There is no host of that name in the cluster, or none that has what was asked for."""


class MoveRefused(ClusterError):
    """A tasklet could not be moved, and continues where it was. The text says why."""


class RemoteError(ClusterError):
    """Stands for an exception of another host that could not be sent. The text describes it.

    It could not be pickled there, or not be unpickled here: its class is missing, for example, or
    the other host runs another Python.
    """


class HostLost(ClusterError):
    """A host has died, or was cut off, with the tasklets, channels and results on it.

    host: its name. tasklet: the id of the tasklet that was lost, None if it was not one.
    position: its calls at its last checkpoint, outermost first, as texts; empty if there was none.
    """

    def __init__(
        self, text: str, host: str, tasklet: str | None = None, position: tuple[str, ...] = ()
    ) -> None:
        super().__init__(text, host, tasklet, position)
        self.host = host
        self.tasklet = tasklet
        self.position = position

    def __str__(self) -> str:
        return str(self.args[0])


class Host(NamedTuple):
    """A process of the cluster in which tasklets can run."""

    #: Unique among those that are there, such as "worker-3".
    name: str
    #: Its number, which is never used again: a worker that was restarted has another one.
    id: int
    #: Where other hosts connect to it; "" if they cannot, and it connects to them.
    address: str
    #: "worker", or "client": a program that called connect().
    kind: str
    #: What `spawn(resources=...)` can ask for, as Dask counts it.
    resources: dict[str, float]
    #: The Python that it runs, such as "3.13".
    python: str = PYTHON


class TaskletRow(NamedTuple):
    """A tasklet of the cluster, as `Cluster.ps()` shows it."""

    #: Name of the host on which it is.
    host: str
    #: Its id, which it keeps when it moves.
    id: str
    name: str
    #: "runnable", "not started", or what it waits for.
    state: str
    #: Its innermost call that is not of this package: "function (file:line)".
    position: str
    #: Name of the host that started it.
    owner: str
    #: 1, and one more for each time it has changed its place.
    epoch: int
    #: How often it was switched to since switches were first counted on its host; else 0.
    switches: int


def host_of_birth(tid: str) -> int:
    """Return the id of the host on which the tasklet was started."""
    return int(tid.partition(".")[0])


def host_name(name: Any) -> str:
    """Return how a host is called to which the engine gave a name or a number."""
    return f"worker-{name}" if isinstance(name, int) else str(name)
