"""How code of any thread finds the host of its process, and asks others for something.

These are functions and not methods: their caller may be a tasklet that continues on another host,
so that no host may be in its variables while it waits.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import stackless
from stackless.cluster.records import DONE, ClusterError
from stackless.cluster.tasklets import current_task
from stackless.cluster.waiting import Request, pause

if TYPE_CHECKING:
    from stackless.cluster.host import Host

#: The hosts of this process, by the names of their clusters.
hosts: dict[str, Host] = {}
#: `host`: the host whose thread this is.
local = threading.local()


def current_host(cluster: str | None = None) -> Host:
    """Return the host of the calling thread, or the only one of the process.

    cluster: the name of the cluster that it has to belong to. Raises ClusterError if there is none.
    """
    if cluster is not None:
        if cluster not in hosts:
            raise ClusterError(f"this process does not belong to the cluster {cluster}")
        return hosts[cluster]
    found: Host | None = getattr(local, "host", None)
    if found is not None:
        return found
    if len(hosts) == 1:
        return next(iter(hosts.values()))
    if hosts:
        raise ClusterError("this process belongs to several clusters: use the methods of one")
    raise ClusterError("this process does not belong to a cluster: see stackless.cluster.connect()")


def ask(
    cluster: str, to: int, op: str, *arguments: Any, about: str, timeout: float | None = None
) -> Any:
    """Make a call to a host and wait for its answer; returns what the call has returned.

    about: what the caller does meanwhile, for people. Raises what the call raises, HostLost if the
    host is lost or unknown, TimeoutError.
    """
    request = begin(cluster, (to, op, *arguments), about, timeout)
    arguments = ()
    return wait(cluster, request)


def begin(cluster: str, what: tuple[Any, ...], about: str, timeout: float | None = None) -> Request:
    """Make a call to a host. what: the host, the operation, its arguments."""
    host = current_host(cluster)
    request = Request(what[0], what[1], what[2:], about, timeout)
    task = current_task()
    if task is not None and task.here is not None and host.in_thread():
        request.task = task
        request.limited = stackless.current_deadline() != math.inf
        task.request = request
    else:
        request.gate = stackless.channel(capacity=1)
    host.submit(request)
    return request


def wait(cluster: str, request: Request) -> Any:
    """Wait for the answer of a call, and return what it has returned."""
    try:
        pause(request)
    except BaseException:
        _host_of(cluster, request).abandon(request)
        raise
    if request.task is not None:
        request.task.request = None
    if request.status == DONE:
        return request.value
    if request.timed_out:
        raise stackless.TimeoutError(f"nothing has come while {request.about}")
    raise _host_of(cluster, request).codec.decode(tuple(request.value))


def _host_of(cluster: str, request: Request) -> Host:
    """Return the host that knows a request."""
    # A tasklet that was restored from a store may wait in a call that another cluster has begun.
    return current_host(cluster if request.task is None else None)
