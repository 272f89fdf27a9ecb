"""Where tasklets run: the resources that they need, and moves from loaded hosts to idle ones."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import stackless
import stackless.sync
from stackless.cluster.asking import ask
from stackless.cluster.records import Caller, ClusterError

if TYPE_CHECKING:
    from stackless.cluster.host import Host
    from stackless.cluster.tasklets import Task

log = logging.getLogger("stackless.cluster")

#: Seconds between two looks at the loads, if they are balanced automatically.
_PAUSE = 1.0


class Resources:
    """The part of a host that counts which of its resources are in use."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._used: Counter[str] = Counter()
        #: Not by their ids: a tasklet can be back before it is known that it has left.
        self._taken: set[Task] = set()
        self._changed = stackless.sync.Event()

    def fit(self, task: Task) -> bool:
        """True if what the task needs is free."""
        total = self._host.hosts[self._host.id].resources
        needs = task.options.get("resources") or {}
        return all(self._used[name] + n <= total.get(name, 0) for name, n in needs.items())

    def take(self, task: Task) -> None:
        """Count what the task needs as used. It has to fit."""
        needs = task.options.get("resources")
        if needs:
            self._taken.add(task)
            self._used.update(needs)

    def wait(self, task: Task) -> None:
        """Wait until what the task needs is free, and take it; in a helper."""
        while not self.fit(task):
            self._changed.clear()
            self._changed.wait()
        self.take(task)

    def give_back(self, task: Task) -> None:
        """The task has ended, or is not here any more."""
        if task in self._taken:
            self._taken.remove(task)
            self._used.subtract(task.options["resources"])
            self._changed.set()


class Balance:
    """The part of a host that gives tasklets away to others."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.calls.update(load=self._load, shed=self._shed)

    def _load(self, caller: Caller) -> list[int]:
        """How many tasklets are here, and how many of them may be moved."""
        here = self._host.tasks.here.values()
        return [len(here), sum(not each.task.options.get("pinned") for each in here)]

    def _shed(self, caller: Caller, to: int, count: int) -> Any:
        self._host.helper(self._shedding, caller, to, count)
        return self._host.LATER

    def _shedding(self, caller: Caller, to: int, count: int) -> None:
        moved = 0
        for here in list(self._host.tasks.here.values()):
            if moved == count:
                break
            if here.task.options.get("pinned") or here.held:
                continue
            try:
                self._host.moves.move(here, to)
            except ClusterError as error:
                log.debug("not moved: %s", error)
            else:
                moved += here.task.tid in self._host.tasks.gone
        self._host.answer(caller, moved)

    def automatic(self) -> None:
        """Balance the cluster again and again, in a helper, until this host ends."""
        while not self._host.leaving:
            stackless.sleep(_PAUSE)
            try:
                rebalance(self._host.cluster, self._host.stayers(), slack=0.2)
            except ClusterError as error:  # a host was lost meanwhile, for example
                log.debug("not balanced: %s", error)
            except Exception:
                log.exception("the cluster could not be balanced")


def rebalance(cluster: str, workers: list[int], slack: float = 0.0) -> int:
    """Move tasklets until all workers have as many; returns how many were moved.

    slack: the part of the mean by which a worker may have more.
    """
    loads = {}
    movable = {}
    for each in workers:
        loads[each], movable[each] = ask(cluster, each, "load", about="looking at the loads")
    if not loads:
        return 0
    mean = sum(loads.values()) / len(loads)
    moved = 0
    for giver in sorted(loads, key=lambda each: -loads[each]):
        for taker in sorted(loads, key=lambda each: loads[each]):
            spare = min(int(loads[giver] - mean), movable[giver])
            room = int(-(-mean // 1)) - loads[taker]
            count = min(spare, room)
            if count < 1 or loads[giver] <= mean * (1 + slack):
                continue
            done = ask(cluster, giver, "shed", taker, count, about="moving tasklets")
            moved += done
            loads[giver] -= done
            loads[taker] += done
            movable[giver] -= done
    return moved
