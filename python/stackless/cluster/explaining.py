"""Who waits for whom, over all hosts: the text of `Cluster.explain()`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import stackless
from stackless.cluster.channels import Channel
from stackless.cluster.records import Caller
from stackless.cluster.tasklets import Here, stack_of
from stackless.cluster.waiting import Request

if TYPE_CHECKING:
    from stackless.cluster.host import Host

#: Most objects that are looked at in the variables of one tasklet.
_MOST = 2000


class Waiter(NamedTuple):
    """A tasklet, or a thread of a program, and what it waits for."""

    #: "tasklet 2.1.5" or "the program tests".
    who: str
    name: str
    host: str
    #: "receiving from <cluster channel 1.2, capacity 0>", or "runnable".
    state: str
    position: str
    #: What ends the wait: "channel 1.2", "tasklet 2.1.5", "" if that is not of the cluster.
    target: str
    #: The channels and the tasklets of the cluster that its variables refer to.
    holds: tuple[str, ...]


class Explaining:
    """The part of a host that says what its tasklets wait for."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.calls.update(waits=self._waits)

    def _waits(self, caller: Caller) -> list[list[Any]]:
        host = self._host
        seen = host.tasks.looked()
        found = [self._of_tasklet(each, seen) for each in list(host.tasks.here.values())]
        for request in host.pending():
            # What helpers of this package ask is no wait of the program.
            if request.gate is not None and request.op in ("receive", "send", "put", "join"):
                who = f"a thread of {host.name}"
                found.append(Waiter(who, "", host.name, request.about, "", target(request), ()))
        return [list(each) for each in found]

    def _of_tasklet(self, here: Here, seen: dict[int, Any]) -> Waiter:
        request = here.task.request
        waits = request is not None and not request.answered
        row = self._host.tasks.row(here, seen)
        holds = tuple(sorted(_held(here.tasklet)))
        goal = target(request) if waits and request is not None else ""
        return Waiter(f"tasklet {row.id}", row.name, row.host, row.state, row.position, goal, holds)


def target(request: Request) -> str:
    """Return what a request waits for."""
    if request.op == "put":
        return f"channel {request.arguments[0]}.{request.arguments[1]}"
    if request.op in ("send", "receive"):
        return f"channel {request.target}.{request.arguments[0]}"
    if request.op == "join":
        return f"tasklet {request.arguments[0]}"
    return ""


def _held(tasklet: stackless.tasklet) -> set[str]:
    """Return what of the cluster the variables of a tasklet refer to, also inside of containers."""
    from stackless.cluster.client import Tasklet

    found: set[str] = set()
    queue: list[Any] = []
    for frame in stack_of(tasklet):
        queue.extend(frame.f_locals.values())
    seen: set[int] = set()
    while queue and len(seen) < _MOST:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Channel):
            found.add(f"channel {value._home}.{value._number}")
        elif isinstance(value, Tasklet):
            found.add(f"tasklet {value.id}")
        elif isinstance(value, dict):
            queue.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            queue.extend(value)
        elif isinstance(getattr(value, "__dict__", None), dict):
            queue.append(vars(value))
    return found


def text(waiters: list[Waiter]) -> str:
    """Return who waits for whom, and circles among them."""
    lines = [f"{len(waiters)} waiting or running"]
    by_who = {each.who: each for each in waiters}
    ends: dict[str, list[str]] = defaultdict(list)
    for each in waiters:
        goal = each.target
        if goal.startswith("tasklet"):
            ends[each.who] = [goal] if goal in by_who else []
        elif goal:
            ends[each.who] = [
                other.who
                for other in waiters
                if goal in other.holds and other.who != each.who and not _same(each, other)
            ]
    for each in waiters:
        name = f" {each.name!r}" if each.name else ""
        at = f", at {each.position}" if each.position else ""
        lines.append(f"{each.who}{name} on {each.host}: {each.state}{at}")
        if not each.target:
            continue
        if not ends[each.who]:
            lines.append("    no tasklet of the cluster that could end this wait was found")
        for who in ends[each.who][:5]:
            other = by_who[who]
            title = f" {other.name!r}" if other.name else ""
            lines.append(f"    could be ended by {who}{title}, {other.state}")
    for circle in _circles(ends, by_who):
        lines.append("a circle: " + " -> ".join([*circle, circle[0]]))
    return "\n".join(lines)


def _same(one: Waiter, other: Waiter) -> bool:
    """True if both wait for the same end of the same channel, so neither can serve the other."""
    return one.target == other.target and one.state.split()[0] == other.state.split()[0]


def _circles(ends: dict[str, list[str]], by_who: dict[str, Waiter]) -> list[list[str]]:
    """Return the circles of waits of which each can be ended by the next one alone."""
    found = []
    done: set[str] = set()
    for begin in by_who:
        path: list[str] = []
        who = begin
        while who not in done and len(ends.get(who, ())) == 1:
            if who in path:
                found.append(path[path.index(who) :])
                break
            path.append(who)
            (who,) = ends[who]
        done.update(path)
    return found
