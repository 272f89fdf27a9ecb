"""The directory: which hosts there are, where tasklets are that have moved, and their epochs.

It runs where the engine's scheduler runs, and holds no code and no values of the program. A tasklet
whose place it does not know is where it was started (its id says where), in epoch 1. It becomes
known with its first change of place. Each change raises its epoch, and is granted once only: so a
second copy of a tasklet, of a message that was sent again or of a host that was only slow, is
refused.

A host is lost when the engine says so, or when nothing was heard of it for too long. Then all
others are told first, and drop what still comes from it. Only when they have confirmed that,
tasklets that were on it may continue elsewhere.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stackless.cluster.engine import Message
from stackless.cluster.records import DONE, PYTHON, Host, host_of_birth

#: How many ends of tasklets that have moved are remembered, so that old copies are refused.
_ENDS = 200_000


@dataclass
class _Member:
    host: Host
    heard: float
    load: int = 0
    draining: bool = False


@dataclass
class _Loss:
    """A host that was lost, until all others have confirmed it."""

    unconfirmed: set[int]
    #: (host, number, ids of tasklets) that wait for it.
    claims: list[tuple[int, int, list[str]]] = field(default_factory=list)


class Directory:
    """The rules of the directory. All methods are called in one thread, and none waits.

    send: sends a message to a host. forget: breaks the connection to one. lost_after: seconds
    without a sign of life after which a host is lost. fencing=False is for tests that show what it
    prevents.
    """

    def __init__(
        self,
        send: Callable[[int, Message], None],
        forget: Callable[[int], None],
        lost_after: float,
        fencing: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._forget = forget
        self._lost_after = lost_after
        self._fencing = fencing
        self._clock = clock
        self._last_look = clock()
        self._numbers = 0
        self._members: dict[int, _Member] = {}
        self._losses: dict[int, _Loss] = {}
        #: tasklet -> (host, epoch); the host is -1 for one that has ended.
        self._places: dict[str, tuple[int, int]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    # ------------------------------------------------------------------ members

    def join(
        self,
        name: str,
        address: str,
        kind: str,
        resources: dict[str, float],
        python: str = PYTHON,
    ) -> tuple[Host, list[Host]]:
        """Take in a host; return it with its number and final name, and those that are there."""
        self._numbers += 1
        taken = {each.host.name for each in self._members.values()}
        final, n = name, 1
        while final in taken:
            n += 1
            final = f"{name}-{n}"
        host = Host(final, self._numbers, address, kind, resources, python)
        others = [each.host for each in self._members.values()]
        for other in others:
            self._send(other.id, ("joined", *host))
        self._members[host.id] = _Member(host, self._clock())
        return host, others

    def hosts(self) -> list[Host]:
        """Return the hosts that are there."""
        return [each.host for each in self._members.values()]

    def at(self, address: str) -> int | None:
        """Return the id of the host with this address, None if there is none."""
        for each in self._members.values():
            if each.host.address == address:
                return each.host.id
        return None

    def lose(self, host: int, why: str) -> None:
        """A host has died, has left, or counts as such from now on."""
        if host not in self._members or host in self._losses:
            return
        if self._fencing:
            del self._members[host]
            self._forget(host)
        moved = [tid for tid, (place, _) in self._places.items() if place == host]
        loss = self._losses[host] = _Loss(set(self._members))
        for other in list(self._members):
            self._send(other, ("lost", host, why, moved, self._fencing))
        for number, earlier in list(self._losses.items()):
            earlier.unconfirmed.discard(host)
            earlier.claims = [each for each in earlier.claims if each[0] != host]
            self._settle(number, earlier)
        self._settle(host, loss)

    def look(self) -> None:
        """Look for hosts that were not heard of for too long. To be called a few times a second."""
        now = self._clock()
        # If this process itself was stopped, the silence says nothing about others.
        if now - self._last_look > self._lost_after / 3:
            for member in self._members.values():
                member.heard = now
        self._last_look = now
        for member in list(self._members.values()):
            if now - member.heard > self._lost_after:
                self.lose(member.host.id, f"no sign of life for {self._lost_after:g} s")

    def drain(self, host: int) -> None:
        """A host is about to end: it moves its tasklets away, and gets no new ones."""
        member = self._members.get(host)
        if member is not None and not member.draining:
            member.draining = True
            for other in list(self._members):
                self._send(other, ("draining", host))

    # ------------------------------------------------------------------ messages

    def receive(self, sender: int, messages: list[Message]) -> None:
        """Do what a host asks for."""
        member = self._members.get(sender)
        if member is None:
            return
        member.heard = self._clock()
        for message in messages:
            op, *arguments = message
            if op == "call":
                number, name, *arguments = arguments
                self._calls[name](self, sender, number, *arguments)
            else:
                self._orders[op](self, sender, *arguments)

    def _answer(self, host: int, number: int, value: Any) -> None:
        self._send(host, ("answer", number, DONE, value))

    def _beat(self, sender: int, load: int) -> None:
        member = self._members[sender]
        if member.load != load:
            member.load = load
            for other in self._members:
                if other != sender:
                    self._send(other, ("load", sender, load))

    def _drain(self, sender: int) -> None:
        self.drain(sender)

    def _relay(self, sender: int, to: int, message: Message) -> None:
        """Pass a message on between two hosts of which neither can connect to the other."""
        if to in self._members:
            self._send(to, ("relayed", sender, message))

    def _leave(self, sender: int) -> None:
        self.lose(sender, "it has left")

    def _end(self, sender: int, tid: str, epoch: int) -> None:
        """A tasklet that has moved has ended."""
        if self.place(tid) == (sender, epoch):
            self._places[tid] = (-1, epoch)
            self._ended[tid] = None
            if len(self._ended) > _ENDS:
                del self._places[self._ended.popitem(last=False)[0]]

    def _confirm(self, sender: int, host: int) -> None:
        """A host drops from now on what comes from one that was lost."""
        loss = self._losses[host]
        loss.unconfirmed.discard(sender)
        self._settle(host, loss)

    # ------------------------------------------------------------------ places

    def place(self, tid: str) -> tuple[int, int]:
        """Return the host on which a tasklet is, -1 if it has ended, and its epoch."""
        return self._places.get(tid) or (host_of_birth(tid), 1)

    def _where(self, sender: int, number: int, tid: str) -> None:
        self._answer(sender, number, list(self.place(tid)))

    def _arrive(self, sender: int, number: int, tid: str, epoch: int, source: int) -> None:
        """A tasklet that was moved asks for permission to continue at its new place."""
        granted = self.place(tid) == (source, epoch - 1) or not self._fencing
        # What was on a lost host belongs to the owner of the tasklet now.
        granted = granted and (source in self._members or not self._fencing)
        if granted:
            self._places[tid] = (sender, epoch)
        self._answer(sender, number, granted)

    def _claim(self, sender: int, number: int, host: int, tids: list[str]) -> None:
        """An owner asks which of its tasklets were on a host that was lost."""
        loss = self._losses.get(host)
        if loss is None:
            self._answer(sender, number, [])
            return
        loss.claims.append((sender, number, list(tids)))
        self._settle(host, loss)

    def _settle(self, host: int, loss: _Loss) -> None:
        if loss.unconfirmed and self._fencing:
            return
        claims, loss.claims = loss.claims, []
        for claimer, number, tids in claims:
            found = []
            for tid in tids:
                place, epoch = self.place(tid)
                if place == host:
                    found.append([tid, epoch])
            self._answer(claimer, number, found)

    def _adopt(self, sender: int, number: int, tid: str, epoch: int, to: int) -> None:
        """An owner continues a tasklet of an earlier cluster, under a new id."""
        granted = tid not in self._places and host_of_birth(tid) == to and to in self._members
        if granted:
            self._places[tid] = (to, epoch)
        self._answer(sender, number, granted)

    def _take(self, sender: int, number: int, tid: str, epoch: int, to: int) -> None:
        """An owner continues a tasklet that was on a lost host from a checkpoint."""
        place, current = self.place(tid)
        granted = place in self._losses and current == epoch - 1 and to in self._members
        if granted or not self._fencing:
            self._places[tid] = (to, epoch)
        self._answer(sender, number, granted or not self._fencing)

    _orders: dict[str, Callable[..., None]] = {
        "beat": _beat,
        "confirm": _confirm,
        "drain": _drain,
        "end": _end,
        "leave": _leave,
        "relay": _relay,
    }
    _calls: dict[str, Callable[..., None]] = {
        "adopt": _adopt,
        "arrive": _arrive,
        "claim": _claim,
        "take": _take,
        "where": _where,
    }
