"""What a program uses: `connect()`, the cluster, and the handles of its tasklets."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stackless.cluster.asking import ask, current_host
from stackless.cluster.balance import rebalance
from stackless.cluster.channels import Channel
from stackless.cluster.explaining import Waiter, text
from stackless.cluster.maps import Mapping
from stackless.cluster.records import (
    DIRECTORY,
    KEY_VARIABLE,
    ClusterError,
    Host,
    HostLost,
    NoSuchHost,
    TaskletRow,
    host_of_birth,
)
from stackless.cluster.tasklets import Record, current_task
from stackless.cluster.tasks import RETURNED
from stackless.cluster.waiting import LOCAL

if TYPE_CHECKING:
    from stackless.cluster.dask import DaskConnection

_R = TypeVar("_R")
_T = TypeVar("_T")

#: What `spawn(on_loss=...)` may be.
_ON_LOSS = "raise", "restart"


class Tasklet(Generic[_R]):
    """A tasklet of the cluster, wherever it is. Made by `Cluster.spawn()`; can be pickled.

    Methods may be called on every host, in tasklets and in threads.
    """

    __slots__ = ("_cluster", "_owner", "_place", "_record", "id", "name")

    def __init__(
        self, cluster: str, id: str, name: str, owner: int, record: Record | None = None
    ) -> None:
        self._cluster = cluster
        self.id = id
        self.name = name
        self._owner = owner
        self._record = record
        self._place = host_of_birth(id)

    def __reduce__(self) -> Any:
        if self._record is not None:
            # Its result is kept as long as the cluster, as another host may ask for it.
            current_host(self._cluster).tasks.kept[self.id] = self._record
        return Tasklet, (self._cluster, self.id, self.name, self._owner)

    def __repr__(self) -> str:
        return f"<cluster tasklet {self.id} {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tasklet) and (self._cluster, self.id) == (
            other._cluster,
            other.id,
        )

    def __hash__(self) -> int:
        return hash((self._cluster, self.id))

    def join(self, timeout: float | None = None) -> _R:
        """Wait for its end, and return its result; None if it was killed.

        timeout: in seconds; then TimeoutError. An exception that it did not catch is raised, with
        the traceback of where it was raised; HostLost if its host was lost.
        """
        about = f"joining {self!r}"
        found = ask(self._cluster, self._owner, "join", self.id, about=about, timeout=timeout)
        value = current_host(self._cluster).codec.decode(tuple(found[1]))
        if found[0] == RETURNED:
            result: _R = value
            return result
        raise value

    def kill(self) -> None:
        """Raise TaskletExit in it, where it waits. Nothing if it has ended."""
        self._at_its_place("kill", about=f"killing {self!r}")

    def move(self, to: str | Host) -> None:
        """Let it continue on another host, and wait until it does.

        Raises NoSuchHost, or MoveRefused with the reason: then it continues where it was. It can
        move while it waits for something of the cluster, or for its turn. Nothing if it has ended.
        """
        target = current_host(self._cluster).find(to).id
        self._at_its_place("move", target, about=f"moving {self!r}")

    def where(self) -> str | None:
        """Return the name of the host where it is, None if it has ended."""
        found = self._at_its_place("find", about=f"looking for {self!r}")
        return None if found is None else current_host(self._cluster).name_of(found)

    def done(self) -> bool:
        """Return True if it has ended."""
        return bool(ask(self._cluster, self._owner, "done", self.id, about=f"looking at {self!r}"))

    def _at_its_place(self, op: str, *arguments: Any, about: str) -> int | None:
        """Make a call to the host where it is. None if it has ended or was lost."""
        place = self._place
        while True:
            try:
                found, host = ask(self._cluster, place, op, self.id, *arguments, about=about)
            except HostLost:
                found, host = False, -1
            if found:
                self._place = host
                return int(host)
            if host < 0:
                host = ask(self._cluster, DIRECTORY, "where", self.id, about=about)[0]
                if host < 0 or host == place:
                    return None
            place = host


class Cluster:
    """A cluster, as seen from one of its hosts. `connect()` and `current()` return one.

    Pickled, it is the cluster as seen from the host where it is unpickled. As a context manager it
    is closed at the end.
    """

    def __init__(self, name: str, connection: DaskConnection | None = None) -> None:
        self._name = name
        self._connection = connection

    def __reduce__(self) -> Any:
        return Cluster, (self._name,)

    def __repr__(self) -> str:
        return f"<cluster {self._name}>"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster. Tasklets that this program has started are killed.

        Those that are kept in a store, as `connect(checkpoints=...)` says, stay there. A cluster
        that `connect()` has made ends. Does nothing for the result of `current()`.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        keeper = connection.host.keeper
        if keeper is not None:
            keeper.leave()
        connection.close()
        if keeper is not None:
            keeper.close()

    @property
    def address(self) -> str:
        """The address of Dask's scheduler, for `connect()` in other programs."""
        return current_host(self._name).address

    # ------------------------------------------------------------------ hosts

    def here(self) -> Host:
        """Return the host of this process."""
        host = current_host(self._name)
        return host.hosts[host.id]

    def hosts(self) -> list[Host]:
        """Return the hosts: workers, and programs that have connected."""
        return sorted(current_host(self._name).hosts.values(), key=lambda each: each.id)

    def workers(self) -> list[Host]:
        """Return the workers."""
        return [each for each in self.hosts() if each.kind == "worker"]

    def ps(self, count: bool = False) -> list[TaskletRow]:
        """Return what all tasklets of the cluster do.

        count: count switches on all hosts from now on.
        """
        return [TaskletRow(*row) for row in self._of_all("ps", count, about="listing tasklets")]

    def explain(self) -> str:
        """Return a text that says who waits for whom on all hosts, and names circles.

        Which tasklet could end a wait is estimated: those whose variables refer to the channel.
        """
        found = self._of_all("waits", about="explaining")
        return text([Waiter(*each) for each in found])

    def _of_all(self, op: str, *arguments: Any, about: str) -> list[Any]:
        """Make a call to all hosts; return what those return together that are not lost."""
        found: list[Any] = []
        for each in self.hosts():
            with contextlib.suppress(HostLost):
                found.extend(ask(self._name, each.id, op, *arguments, about=about))
        return found

    def rebalance(self) -> int:
        """Move tasklets from loaded workers to idle ones; returns how many were moved.

        Only those move that can at the moment, and that were started without `on` and `near`.
        """
        return rebalance(self._name, current_host(self._name).stayers())

    # ------------------------------------------------------------------ tasklets

    def spawn(
        self,
        function: Callable[..., _R],
        /,
        *args: Any,
        on: str | Host = "any",
        near: Tasklet[Any] | None = None,
        resources: dict[str, float] | None = None,
        name: str | None = None,
        checkpoint: float | None = None,
        on_loss: str = "raise",
        **kwargs: Any,
    ) -> Tasklet[_R]:
        """Start function(*args, **kwargs) as a tasklet on a host, and return its handle.

        on: the name of a host, or "any": the worker with the fewest tasklets. near: the tasklet on
        whose host it is to start, instead. resources: what it needs, by Dask's names of resources,
        such as {"GPU": 1}: it starts on a worker that has them, when they are free. name: how it is
        shown, by default the function's name. checkpoint: seconds between two checkpoints, which
        the host of the caller keeps. on_loss: "restart" to continue it on another host from the
        last one, or from its beginning, if its host is lost; "raise" for HostLost in `join()`.

        Returns before it has begun. Raises TypeError if the function cannot be called, NoSuchHost,
        and what pickling raises.
        """
        if not callable(function):
            raise TypeError(f"spawn() needs a callable, not {type(function).__name__}")
        if on_loss not in _ON_LOSS:
            raise ValueError(f"on_loss must be 'raise' or 'restart', not {on_loss!r}")
        if checkpoint is not None and not checkpoint > 0:
            raise ValueError("checkpoint must be positive")
        options = {
            "checkpoint": checkpoint,
            "on_loss": on_loss,
            "resources": resources,
            "pinned": on != "any" or near is not None,
        }
        host = current_host(self._name)
        to = self._place_for(on, near, resources)
        title = name or str(getattr(function, "__name__", type(function).__name__))
        parcel = host.codec.dumps((function, args, kwargs))
        record = host.tasks.spawn(to, title, parcel, options)
        return Tasklet(self._name, record.tid, title, host.id, record)

    def restore(self) -> list[Tasklet[Any]]:
        """Continue the tasklets of an earlier program of this job, and return their handles.

        For a program that was connected with `checkpoints`: all tasklets in the store that do not
        run continue from their last checkpoint, or begin if there was none, on workers of this
        cluster, in the order in which they were started. They have other ids and higher epochs, and
        the same names. One that waits for a channel or another tasklet of the earlier cluster gets
        a ClusterError there.

        Raises ClusterError if there is no store, or if another program has the job now; an
        UnpicklingError, and continues nothing, if the store has a tasklet of another Python or key;
        NoSuchHost; what the store raises.
        """
        host = current_host(self._name)
        if host.keeper is None:
            raise ClusterError("this program has no store: connect(checkpoints=...)")
        return [
            Tasklet(self._name, each.tid, each.name, host.id, each)
            for each in host.keeper.restore()
        ]

    def _place_for(
        self, on: str | Host, near: Tasklet[Any] | None, needs: dict[str, float] | None
    ) -> int:
        host = current_host(self._name)
        if near is not None:
            if on != "any":
                raise TypeError("give on or near, not both")
            name = near.where()
            if name is None:
                raise NoSuchHost(f"{near!r} has ended, so nothing can start near it")
            on = name
        if not isinstance(on, Host) and on == "any":
            return host.idlest(needs=needs)
        found = host.find(on)
        other = host.other_python(found.id)
        if other:
            raise NoSuchHost(f"nothing of this program can run there: {other}")
        for what, n in (needs or {}).items():
            if found.resources.get(what, 0) < n:
                raise NoSuchHost(f"{found.name} has not {needs}")
        return found.id

    def map(
        self,
        function: Callable[[_T], _R],
        items: Iterable[_T],
        /,
        *,
        limit: int = 64,
        ordered: bool = True,
        retry: bool = False,
        progress: bool | Callable[[int, int | None], object] = False,
    ) -> Iterator[_R]:
        """Return an iterator over function(item) for all items, computed by all workers.

        limit: the most calls at a time; as many items are taken ahead. ordered: results in the
        order of the items, else as they come. retry: call again what a worker was calling that dies
        meanwhile; otherwise HostLost is raised. progress: True for a bar on stderr, or a function
        that is called with the number of results so far and that of the items, None if it is not
        known. An exception of a call is raised when its turn comes, and the calls that are under
        way are killed, as they are when the iterator is closed.
        """
        if limit < 1:
            raise ValueError("limit must be at least 1")
        return iter(Mapping(self._name, function, items, limit, ordered, retry, progress))

    # ------------------------------------------------------------------ channels

    def channel(self, *, capacity: int = 0, on: str | Host | None = None) -> Channel[Any]:
        """Make a channel that all hosts can use.

        capacity: how many values each host may have in its buffer; 0: `send` waits for the
        receiver. on: the host that is to be its home, by default this one; the receivers' is best.
        """
        if capacity < 0:
            raise ValueError("capacity must not be negative")
        host = current_host(self._name)
        home = host.id if on is None else host.find(on).id
        if home == host.id:
            number = host.channels.make(capacity)
        else:
            number = ask(self._name, home, "channel", capacity, about="making a channel")
        return Channel(self._name, home, number, capacity)


def connect(
    address: str | None = None,
    *,
    workers: int | None = None,
    key: bytes | None = None,
    allow: Iterable[str] = (),
    security: Any = None,
    name: str | None = None,
    lost_after: float = 30.0,
    autobalance: bool = False,
    timeout: float = 60.0,
    checkpoints: str | None = None,
    job: str = "stackless",
) -> Cluster:
    """Connect this program to a cluster, of which it becomes a host itself.

    address: that of a Dask scheduler, such as "tls://scheduler:8786". None: a scheduler in this
    process and worker processes on this machine are started, and end with the cluster. workers: how
    many processes; None for one per processor. key: signs what is pickled, at least 32 bytes, and
    every host must have it in STACKLESS_CLUSTER_KEY, hexadecimal; by default from there, else made
    anew and sent to the hosts by Dask. allow: what may differ between hosts: "source" for the
    source of modules. security: Dask's, for TLS. name: that of this host. lost_after: seconds of
    silence after which a host is lost; the first program that connects decides. autobalance: move
    tasklets from loaded workers to idle ones all the time. timeout: seconds to wait for the
    scheduler. checkpoints: a durable store, "sqlite:///" and a path or "postgresql://...", which
    keeps the tasklets that this program starts with `on_loss="restart"`: see `Cluster.restore()`.
    It needs a key that is given or in the environment. job: the name under which they are kept, for
    one program at a time; another one is waited for until it has ended, or was silent for twice
    `lost_after`. Raises ImportError without the package `distributed`, OSError if there is no
    scheduler, ClusterError if it refuses.
    """
    if address is not None and workers is not None:
        raise TypeError("workers are started without an address only")
    if workers is not None and workers < 1:
        raise ValueError("workers must be at least 1")
    if key is not None and len(key) < 32:
        raise ValueError("a key must have at least 32 bytes")
    if lost_after <= 0:
        raise ValueError("lost_after must be positive")
    if checkpoints is not None and key is None and not os.environ.get(KEY_VARIABLE):
        raise ValueError(f"checkpoints need a key that lasts: give key, or set {KEY_VARIABLE}")
    allowed = tuple(allow)
    for each in allowed:
        if each != "source":
            raise ValueError(f"allow can have 'source' only, not {each!r}")
    title = name or f"{socket.gethostname()}-{os.getpid()}"
    made = engine()
    with contextlib.ExitStack() as undo:
        keeper = None
        if checkpoints is not None:
            from stackless.cluster.keeping import Keeper

            keeper = Keeper(checkpoints, job, lost_after, timeout)
            undo.callback(keeper.close)
        connection = made(address, workers, key, allowed, security, title, lost_after, timeout)
        undo.callback(connection.close)
        if keeper is not None:
            keeper.begin(connection.host)
        undo.pop_all()
    if autobalance:
        connection.host.perform(connection.host.helper, connection.host.balance.automatic)
    return Cluster(connection.host.cluster, connection)


def engine() -> type[DaskConnection]:
    """Return the class of connections; ImportError if its package is not installed."""
    try:
        from stackless.cluster.dask import DaskConnection
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in ("distributed", "dask"):
            raise
        raise ImportError(
            "stackless.cluster needs the package distributed: pip install 'stackless-rs[cluster]'",
            name=error.name,
        ) from error
    return DaskConnection


# ------------------------------------------------------------------ in a tasklet


def current() -> Cluster:
    """Return the cluster of the calling tasklet, or the only one of this process."""
    return Cluster(current_host().cluster)


def here() -> Host:
    """Return the host where the calling tasklet is."""
    return current().here()


def hosts() -> list[Host]:
    """Return the hosts of the cluster."""
    return current().hosts()


def go(host: str | Host) -> None:
    """Continue on another host: this returns there.

    The calling tasklet must have been started with `spawn()`, and is pickled as it is. Raises
    NoSuchHost, or MoveRefused with the reason; then it continues here.
    """
    cluster, to = current_host().cluster, current_host().find(host)
    ask(cluster, LOCAL, "go", to.id, about=f"going to {to.name}")


def sleep(seconds: float) -> None:
    """Wait for this time. Unlike in `stackless.sleep()`, the tasklet can move meanwhile.

    Raises ValueError if seconds is negative or no number.
    """
    if not seconds >= 0:
        raise ValueError("seconds must not be negative")
    with contextlib.suppress(TimeoutError):
        ask(current_host().cluster, LOCAL, "sleep", about="sleeping", timeout=seconds)


def epoch() -> int:
    """Return the epoch of the calling tasklet: 1, and higher after each change of its place.

    Systems outside of the cluster can refuse what comes with a lower one than they have seen: it is
    from an old copy, on a host that was lost and does not know it yet. ClusterError outside of one.
    """
    task = current_task()
    if task is None:
        raise ClusterError("this is not a tasklet that was started with spawn()")
    return task.epoch
