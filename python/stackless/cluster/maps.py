"""`Cluster.map()`: many calls of one function, spread over the workers.

The function is sent to each worker once, then items in batches; a worker calls the function in
plain tasklets, and sends back what is done in batches as well. These calls do not move.
"""

from __future__ import annotations

import itertools
import operator
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import stackless
from stackless.cluster.asking import current_host
from stackless.cluster.records import PYTHON, NoSuchHost
from stackless.cluster.tasks import RAISED, RETURNED
from stackless.cluster.values import Encoded, Parcel
from stackless.sync import SimpleQueue

if TYPE_CHECKING:
    from stackless.cluster.host import Host

#: In order, at most this many times `limit` items are taken ahead of the result that is next.
_AHEAD = 8
#: Seconds between two changes of a progress bar.
_PAUSE = 0.1


class _Program:
    """A function of a mapping on this worker, and what is to be done with it."""

    def __init__(self, number: int, owner: int, parcel: Parcel) -> None:
        self.number = number
        self.owner = owner
        self.parcel: Parcel | None = parcel
        self.function: Any = None
        #: Set if the function cannot be loaded: every call has this outcome.
        self.broken: Encoded | None = None
        self.items: deque[tuple[int, Encoded]] = deque()
        self.results: list[tuple[int, int, Encoded]] = []
        self.runners: set[stackless.tasklet] = set()
        self.idle = 0


class Maps:
    """The part of a host that calls functions for mappings, and gets the results of its own."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self._programs: dict[tuple[int, int], _Program] = {}
        #: Mappings of this host -> where their results go: (host, results), or (host, None) if
        #: that was lost.
        self.own: dict[int, SimpleQueue[tuple[int, Any]]] = {}
        host.orders.update(
            map_program=self._program,
            map_items=self._items,
            map_results=self._results,
            map_end=self._end,
        )

    def begin(self) -> tuple[int, SimpleQueue[tuple[int, Any]]]:
        """Return the number of a new mapping, and the queue of its results. From any thread."""
        number = next(self._numbers)
        results = self.own[number] = SimpleQueue()
        return number, results

    def lost(self, host: int) -> None:
        """A host was lost."""
        for results in list(self.own.values()):
            results.put((host, None))
        for key in [each for each in self._programs if each[0] == host]:
            self._end(*key)

    def busy(self) -> bool:
        """True while calls are under way here."""
        return any(
            each.items or each.results or each.idle < len(each.runners)
            for each in self._programs.values()
        )

    def _results(self, sender: int, number: int, results: Any) -> None:
        if number in self.own:
            self.own[number].put((sender, results))

    # ------------------------------------------------------------------ the worker

    def _program(self, sender: int, number: int, parcel: Parcel) -> None:
        self._programs[sender, number] = _Program(number, sender, parcel)

    def _items(self, sender: int, number: int, items: Iterable[tuple[int, Encoded]]) -> None:
        program = self._programs.get((sender, number))
        if program is None:
            return
        for index, payload in items:
            program.items.append((index, payload))
            if program.idle:
                program.idle -= 1
                next(each for each in program.runners if each.paused).insert()
            else:
                program.runners.add(self._host.helper(self._run, program))

    def _run(self, program: _Program) -> None:
        """Make calls, one after the other, until the mapping ends."""
        codec = self._host.codec
        while True:
            while not program.items:
                program.idle += 1
                stackless.schedule_remove(None)
            index, payload = program.items.popleft()
            how = RETURNED
            try:
                if program.parcel is not None:
                    parcel, program.parcel = program.parcel, None
                    program.function = codec.loads(parcel)
                value = codec.encode(program.function(codec.decode(tuple(payload))))
            except stackless.TaskletExit:
                raise
            except BaseException as error:
                error.add_note(f"(in map() on host {self._host.name})")
                how, value = RAISED, codec.encode_error(error)
            if not program.results:
                self._host.helper(self._send, program)
            program.results.append((index, how, value))

    def _send(self, program: _Program) -> None:
        """Send the results that there are when the other tasklets have had a turn."""
        results, program.results = program.results, []
        self._host.send(program.owner, ("map_results", program.number, results))

    def _end(self, sender: int, number: int) -> None:
        program = self._programs.pop((sender, number), None)
        for each in program.runners if program else ():
            each.kill(pending=True)


class Mapping:
    """One call of `Cluster.map()`."""

    def __init__(
        self,
        cluster: str,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        limit: int,
        ordered: bool,
        retry: bool,
        progress: bool | Callable[[int, int | None], object],
    ) -> None:
        self._host = current_host(cluster)
        self._parcel = self._host.codec.dumps(function)
        self._total = operator.length_hint(items, -1)
        self._items = enumerate(items)
        self._limit = limit
        self._ordered = ordered
        self._retry = retry
        self._progress: Callable[[int, int | None], object] | None = None
        if progress:
            self._progress = Bar() if progress is True else progress
        self._number, self._queue = self._host.maps.begin()
        #: Calls under way: index -> the host, and the item for another attempt.
        self._under_way: dict[int, tuple[int, Encoded]] = {}
        self._loads: dict[int, int] = {}
        self._done: dict[int, tuple[int, Encoded]] = {}
        self._taken = self._given = 0
        self._more = True

    def __iter__(self) -> Iterator[Any]:
        try:
            self._show()
            while True:
                self._fill()
                if not self._under_way and not self._done:
                    return
                self._collect(*self._queue.get())
                yield from self._ready()
        finally:
            self._host.maps.own.pop(self._number, None)
            for each in self._loads:
                self._host.send(each, ("map_end", self._number))
            if isinstance(self._progress, Bar):
                self._progress.end()

    def _fill(self) -> None:
        """Send as many items as may be under way."""
        batches: dict[int, list[tuple[int, Encoded]]] = {}
        ahead = self._limit * _AHEAD
        while self._more and len(self._under_way) < self._limit:
            if self._taken - self._given >= ahead:
                break
            try:
                index, item = next(self._items)
            except StopIteration:
                self._more = False
                break
            self._taken += 1
            self._assign(index, self._host.codec.encode(item), batches)
        self._ship(batches)

    def _assign(
        self, index: int, payload: Encoded, batches: dict[int, list[tuple[int, Encoded]]]
    ) -> None:
        host = self._host
        fit = host.stayers()
        if not fit:
            raise NoSuchHost(f"there is no worker in the cluster that runs Python {PYTHON}")
        to = min(fit, key=lambda each: self._loads.get(each, 0))
        if to not in self._loads:
            self._loads[to] = 0
            host.send(to, ("map_program", self._number, self._parcel))
        self._loads[to] += 1
        self._under_way[index] = to, payload
        batches.setdefault(to, []).append((index, payload))

    def _ship(self, batches: dict[int, list[tuple[int, Encoded]]]) -> None:
        for to, batch in batches.items():
            self._host.send(to, ("map_items", self._number, batch))

    def _collect(self, host: int, results: Any) -> None:
        if results is None:
            lost = [index for index, (at, _) in self._under_way.items() if at == host]
            self._loads.pop(host, None)
            if lost and not self._retry:
                error = self._host.loss(host)
                error.add_note(f"it was calling the function for the item number {min(lost)}")
                raise error
            batches: dict[int, list[tuple[int, Encoded]]] = {}
            for index in lost:
                self._assign(index, self._under_way.pop(index)[1], batches)
            self._ship(batches)
            return
        for index, how, value in results:
            if index in self._under_way:
                self._loads[self._under_way.pop(index)[0]] -= 1
                self._done[index] = how, tuple(value)

    def _ready(self) -> Iterator[Any]:
        """Yield the results that are next."""
        while self._done:
            index = self._given if self._ordered else next(iter(self._done))
            if index not in self._done:
                return
            how, payload = self._done.pop(index)
            self._given += 1
            self._show()
            value = self._host.codec.decode(payload)
            if how == RAISED:
                raise value
            yield value

    def _show(self) -> None:
        if self._progress is not None:
            self._progress(self._given, None if self._total < 0 else self._total)


class Bar:
    """A progress bar on stderr; lines without a terminal, once a second."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._last = -1.0
        self._terminal = sys.stderr.isatty()
        self._text = ""

    def __call__(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` are done."""
        now = time.monotonic()
        if done != total and now - self._last < (_PAUSE if self._terminal else 1.0):
            return
        self._last = now
        seconds = now - self._begin
        rate = f"{done / seconds:,.0f}/s" if seconds > 0 and done else ""
        if total:
            filled = 30 * done // total
            self._text = f"[{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {rate}"
        else:
            self._text = f"{done} {rate}"
        end = "" if self._terminal else "\n"
        start = "\r\x1b[K" if self._terminal else ""
        print(f"{start}{self._text}", end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the line."""
        if self._terminal and self._text:
            print(file=sys.stderr, flush=True)
