"""A worker: claims workflows, runs them, does what they ask for, and writes what has happened."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable

import stackless
from stackless.durable import tracing
from stackless.durable.driving import AGAIN, Drive, Place
from stackless.durable.records import Claim, LeaseLost, Start, Worker
from stackless.durable.requests import Driver
from stackless.durable.schedules import id_at, next_time
from stackless.durable.store.processes import process_began, this_machine
from stackless.durable.waiting import wait_for

_log = logging.getLogger("stackless.durable")

#: Seconds for which a worker owns its workflows without a sign of life.
LEASE = 30.0
#: Seconds between claims, at least.
_GATHER = 0.002
#: Signs of life after which a worker looks anew which code the store has.
_FORGET = 60


class Runner:
    """Runs workflows of an app in the tasklets of the calling thread."""

    def __init__(self, place: Place, most: int) -> None:
        self._place = place
        self._store = place.store
        self._most = most
        self._me = Worker(
            uuid.uuid4().hex,
            place.app,
            this_machine(),
            os.getpid(),
            process_began(os.getpid()) or 0,
            place.python,
        )
        self._active: set[Driver] = set()
        self.wake = place.wake

    # -------------------------------------------------------------- the worker

    def stop(self) -> None:
        """Let `run` return when what was begun is recorded. May be called from any thread."""
        self._place.stopping = True
        self.wake.set()

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Run workflows until `stop` is called, or `until()` is true."""
        wait_for(self._store.join(self._me, LEASE))
        beat = stackless.tasklet(self._beat)()
        self._place.commits.begin()
        self._store.listen(self.wake.set)
        claimed = 0.0
        try:
            while not self._place.stopping and not until():
                # Those that are due in quick succession are claimed together.
                stackless.sleep(max(0.0, claimed + _GATHER - time.monotonic()))
                claimed = time.monotonic()
                self.wake.clear()
                try:
                    if self._claim():
                        continue
                    pause = self._pause()
                except self._store.errors:
                    _log.exception("no workflows can be claimed now")
                    pause = AGAIN
                self.wake.wait(pause)
            if self._place.stopping:
                _log.info("the worker stops; %d workflows end their step", len(self._active))
            self._place.stopping = True
            for each in list(self._active):
                each.join()
        finally:
            self._place.stopping = True
            beat.kill()
            for each in list(self._active):
                each.kill()
            self._place.commits.end()
            self._store.unlisten(self.wake.set)
            try:
                wait_for(self._store.leave(self._me))
            except self._store.errors:
                _log.exception("a worker's workflows stay claimed until its lease or process ends")

    def _claim(self) -> bool:
        """Claim workflows and begin to run them. Returns True if there may be more."""
        free = self._most - len(self._active)
        if free <= 0:
            return False
        try:
            claims = wait_for(self._store.claim(self._me, free))
        except LeaseLost:
            wait_for(self._store.join(self._me, LEASE))
            return True
        for claim in claims:
            driver = Driver(self._drive)
            self._active.add(driver)
            driver.setup(claim)
        return len(claims) == free and len(self._active) < self._most

    def _pause(self) -> float:
        """Start what the schedules say. Returns seconds until there may be more to do."""
        due, firing = self._store.next_due(self._me.app, self._me.python)
        if firing is not None and firing <= self._store.now() and self._fire():
            return 0.0
        due = min((each for each in (due, firing) if each is not None), default=None)
        if due is None or len(self._active) >= self._most:
            return self._store.poll
        return min(self._store.poll, max(0.0, due - self._store.now()))

    def _fire(self) -> bool:
        """Start the workflows of schedules that are due. Returns True if there were some.

        Times that passed while no worker ran start one workflow together.
        """
        now, fired = self._store.now(), False
        for each, arguments in self._store.schedules(self._me.app, now):
            try:
                following = next_time(each.cron, each.timezone, now)
                id = id_at(each.name, each.due, each.timezone)
            except (ImportError, ValueError) as error:
                if each.name not in self._place.warned:
                    self._place.warned.add(each.name)
                    _log.error("the schedule %r cannot be followed here: %s", each.name, error)
                continue
            started = Start(id, self._me.app, each.function, arguments)
            wait_for(self._store.fire(each.name, each.due, following, started))
            fired = True
        return fired

    def _beat(self) -> None:
        beats = 0
        while True:
            stackless.sleep(LEASE / 3)
            beats += 1
            if beats % _FORGET == 0:
                self._place.known.clear()  # code that no snapshot needs is removed some time
            try:
                wait_for(self._store.join(self._me, LEASE))
            except Exception:
                _log.exception("the lease of a worker was not extended")

    def _drive(self, claim: Claim) -> None:
        try:
            drive = Drive(self._place, claim)
            with tracing.workflow(drive, claim):
                drive.run()
        finally:
            self._active.discard(stackless.getcurrent())
            self.wake.set()
