"""Group commit of a worker: what its workflows have ready is written together.

A tasklet commits. It lets all others that are ready go first, so that one transaction holds what
they have to save. Each of these waits for its group.
"""

from __future__ import annotations

import time

import stackless
from stackless import sync
from stackless.durable.records import Save, Wanted
from stackless.durable.store.sql import Store
from stackless.durable.waiting import wait_for


class _Group:
    """What is committed together, and those who wait for it."""

    __slots__ = ("done", "outcomes", "saves")

    def __init__(self) -> None:
        self.saves: list[Save] = []
        self.outcomes: list[Wanted | Exception] = []
        self.done = sync.Event()


def _wanted(outcome: Wanted | Exception) -> Wanted:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class Commits:
    """The saves of the workflows of one worker. For the tasklets of one thread.

    `begin` starts the tasklet that commits, and `end` stops it.
    """

    #: The most saves in a group.
    MOST = 1000
    #: Seconds for which a group waits for tasklets that are ready.
    LONGEST = 0.005

    def __init__(self, store: Store) -> None:
        self._store = store
        self._group = _Group()
        self._some = sync.Event()

    def begin(self) -> None:
        """Start the tasklet that commits."""
        self._tasklet = stackless.tasklet(self._run)()

    def end(self) -> None:
        """Stop it."""
        self._tasklet.kill()

    def save(self, save: Save) -> Wanted:
        """Write what a workflow has done; return what was asked of it, when that is on the disk.

        Raises what the store raises.
        """
        group = self._group
        if not group.saves and stackless.getruncount() == 1:
            # Nothing else can be written with it.
            return _wanted(wait_for(self._store.save_all([save]))[0])
        number = len(group.saves)
        group.saves.append(save)
        if number == 0:
            self._some.set()
        group.done.wait()
        return _wanted(group.outcomes[number])

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._gather()
            group, self._group = self._group, _Group()
            self._some.clear()
            try:
                group.outcomes = wait_for(self._store.save_all(group.saves))
            except Exception as error:
                group.outcomes = [error] * len(group.saves)
            group.done.set()

    def _gather(self) -> None:
        end = time.monotonic() + self.LONGEST
        while stackless.getruncount() > 1 and len(self._group.saves) < self.MOST:
            if time.monotonic() > end:
                return
            stackless.schedule()
