"""Tasklets on many machines, on Dask distributed: they are started anywhere, and can move.

with cluster.connect() as c:             # one worker process per processor, on this machine
    t = c.spawn(simulate, 42)            # a tasklet on one of them
    print(t.where(), t.join())
    for value in c.map(score, items):
        ...

Needs the package `distributed`: pip install 'stackless-rs[cluster]'.
"""

from __future__ import annotations

from stackless._package.surface import adopt
from stackless.cluster.channels import Channel
from stackless.cluster.checkpoints import checkpoint
from stackless.cluster.client import (
    Cluster,
    Tasklet,
    connect,
    current,
    epoch,
    go,
    here,
    hosts,
    sleep,
)
from stackless.cluster.records import (
    ClusterError,
    Host,
    HostLost,
    MoveRefused,
    NoSuchHost,
    RemoteError,
    TaskletRow,
)

__all__ = [
    "Channel",
    "Cluster",
    "ClusterError",
    "Host",
    "HostLost",
    "MoveRefused",
    "NoSuchHost",
    "RemoteError",
    "Tasklet",
    "TaskletRow",
    "checkpoint",
    "connect",
    "current",
    "epoch",
    "go",
    "here",
    "hosts",
    "sleep",
]

adopt(globals(), "stackless.cluster.")


def __dir__() -> list[str]:
    return sorted(__all__)
