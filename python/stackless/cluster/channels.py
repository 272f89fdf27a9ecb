"""Channels of the cluster: their handles, and their homes.

A channel lives on one host, its home, where senders and receivers meet. A sender without a buffer
waits there until a receiver has confirmed that it has the value. With a buffer of `capacity` values
each host that sends may have that many values on their way or in the buffer: it sends without
waiting, and gets the places back as values are received.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from stackless.cluster.asking import ask, begin, current_host, wait
from stackless.cluster.records import Caller
from stackless.cluster.tasklets import current_task
from stackless.cluster.values import Encoded
from stackless.cluster.waiting import LOCAL, Request

if TYPE_CHECKING:
    from stackless.cluster.host import Host

_T = TypeVar("_T")
_CLOSED = "Send/receive operation on a closed channel"


class _Entry(NamedTuple):
    """A value in a channel: who waits for its receipt, or the host that gets its place back."""

    payload: Encoded
    sender: Caller | None
    host: int


class _Home:
    """A channel whose home this host is."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.entries: deque[_Entry] = deque()
        self.receivers: deque[Caller] = deque()
        #: Handed over, and not confirmed yet.
        self.handed: dict[Caller, _Entry] = {}
        #: Hosts that put values into the buffer. A channel that was closed is kept until each has
        #: confirmed that nothing more is on the way.
        self.putters: set[int] = set()
        self.closing = False


class _Window:
    """The places in a channel's buffer that this host may use."""

    def __init__(self, capacity: int) -> None:
        #: One item for each place; taking one is atomic, so that any thread can.
        self.places = deque([None] * capacity)
        self.waiting: deque[tuple[Caller, Encoded]] = deque()
        #: True when the home knows that this host sends: it will say when the channel is closed.
        self.known = False
        self.asked = False
        self.closing = False


class Channels:
    """The part of a host that has channels, and sends to those of other hosts."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self._homes: dict[int, _Home] = {}
        self._windows: dict[tuple[int, int], _Window] = {}
        host.calls.update(
            channel=self._make,
            send=self._send,
            receive=self._receive,
            put=self._put_waiting,
            close=self._close,
            balance=self._balance,
            join_channel=self._join,
        )
        host.orders.update(
            value=self._value,
            taken=self._taken,
            returned=self._returned,
            part=self._part,
            place=self._place,
            closing=self._closing,
        )
        host.withdrawals.update(
            send=self._withdraw_send, receive=self._withdraw_receive, put=self._withdraw_put
        )
        host.returns.update(receive=self._return)

    # ------------------------------------------------------------------ the home

    def make(self, capacity: int) -> int:
        """Make a channel whose home is here; returns its number. From any thread."""
        number = next(self._numbers)
        self._homes[number] = _Home(capacity)
        return number

    def _make(self, caller: Caller, capacity: int) -> int:
        return self.make(capacity)

    def _home(self, number: int) -> _Home:
        home = self._homes.get(number)
        if home is None:
            raise ValueError(_CLOSED)
        return home

    def _send(self, caller: Caller, number: int, payload: Encoded) -> Any:
        home = self._home(number)
        if home.closing and not home.receivers:
            raise ValueError(_CLOSED)
        self._enter(home, _Entry(tuple(payload), caller, caller.host))
        return self._host.LATER

    def _join(self, caller: Caller, number: int) -> bool:
        """A host is about to send into the buffer. Returns False if the channel is closed."""
        home = self._homes.get(number)
        if home is None or home.closing:
            return False
        home.putters.add(caller.host)
        return True

    def _value(self, sender: int, number: int, payload: Encoded) -> None:
        """A value for the buffer."""
        home = self._homes.get(number)
        if home is not None:
            self._enter(home, _Entry(tuple(payload), None, sender))

    def _part(self, sender: int, number: int) -> None:
        """A host sends nothing more into the buffer, as the channel is closed."""
        home = self._homes.get(number)
        if home is not None:
            home.putters.discard(sender)
            self._clean(number, home)

    def _enter(self, home: _Home, entry: _Entry) -> None:
        if home.receivers:
            self._hand(home, entry, home.receivers.popleft())
        else:
            home.entries.append(entry)

    def _hand(self, home: _Home, entry: _Entry, receiver: Caller) -> None:
        home.handed[receiver] = entry
        self._host.answer(receiver, entry.payload)

    def _receive(self, caller: Caller, number: int) -> Any:
        home = self._homes.get(number)
        if home is None:
            return None
        if home.entries:
            self._hand(home, home.entries.popleft(), caller)
            return self._host.LATER
        if home.closing:
            return None
        home.receivers.append(caller)
        return self._host.LATER

    def _taken(self, sender: int, number: int, host: int, request: int) -> None:
        """A receiver has the value: its sender continues, or gets its place back."""
        home = self._homes.get(number)
        entry = home.handed.pop(Caller(host, request), None) if home else None
        if home is None or entry is None:
            return
        if entry.sender is not None:
            self._host.answer(entry.sender, None)
        else:
            self._order(entry.host, ("place", self._host.id, number))
        self._clean(number, home)

    def _returned(self, sender: int, number: int, host: int, request: int) -> None:
        """A receiver has ended before it could take the value: it is the first one again."""
        home = self._homes.get(number)
        entry = home.handed.pop(Caller(host, request), None) if home else None
        if home is None or entry is None:
            return
        if home.receivers:
            self._hand(home, entry, home.receivers.popleft())
        else:
            home.entries.appendleft(entry)

    def _close(self, caller: Caller, number: int) -> None:
        home = self._homes.get(number)
        if home is None or home.closing:
            return
        home.closing = True
        for receiver in home.receivers:
            self._host.answer(receiver, None)
        home.receivers.clear()
        for host in list(home.putters):
            self._order(host, ("closing", self._host.id, number))
        self._clean(number, home)

    def _clean(self, number: int, home: _Home) -> None:
        """Forget a channel that was closed, and is empty."""
        if home.closing and not (home.entries or home.handed or home.putters):
            self._homes.pop(number, None)

    def _balance(self, caller: Caller, number: int) -> list[Any]:
        home = self._homes.get(number)
        if home is None:
            return [0, True]
        return [len(home.entries) - len(home.receivers), home.closing]

    def _withdraw_send(self, caller: Caller, number: int, *rest: Any) -> bool:
        home = self._homes.get(number)
        for entry in home.entries if home else ():
            if entry.sender == caller:
                assert home is not None
                home.entries.remove(entry)
                self._clean(number, home)
                return True
        return False

    def _withdraw_receive(self, caller: Caller, number: int) -> bool:
        home = self._homes.get(number)
        if home is None or caller not in home.receivers:
            return False
        home.receivers.remove(caller)
        return True

    def lost(self, host: int) -> None:
        """A host was lost: what waits there waits no more."""
        for key in [each for each in self._windows if each[0] == host]:
            for caller, _ in self._windows.pop(key).waiting:
                self._host.fail(caller, self._host.loss(host))
        for number, home in list(self._homes.items()):
            home.putters.discard(host)
            home.receivers = deque(each for each in home.receivers if each.host != host)
            gone = [each for each in home.entries if each.sender and each.sender.host == host]
            for entry in gone:
                home.entries.remove(entry)
            for receiver in [each for each in home.handed if each.host == host]:
                entry = home.handed.pop(receiver)
                if entry.sender is None:
                    self._order(entry.host, ("place", self._host.id, number))
                elif entry.sender.host != host:
                    self._host.fail(entry.sender, self._host.loss(host))
            self._clean(number, home)

    # ------------------------------------------------------------------ senders with a buffer

    def _window(self, home: int, number: int, capacity: int) -> _Window:
        found = self._windows.get((home, number))
        return found or self._windows.setdefault((home, number), _Window(capacity))

    def put(self, home: int, number: int, capacity: int, payload: Encoded) -> bool:
        """Send a value into the buffer; False if there is no room. From any thread."""
        window = self._window(home, number, capacity)
        if window.closing:
            raise ValueError(_CLOSED)
        if not window.known:
            return False
        if home not in self._host.hosts:
            raise self._host.loss(home)
        try:
            window.places.pop()
        except IndexError:
            return False
        self._order(home, ("value", number, payload))
        task = current_task()
        if task is not None and home != self._host.id:
            task.sent_to.add(home)
        return True

    def _put_waiting(
        self, caller: Caller, home: int, number: int, capacity: int, payload: Encoded
    ) -> Any:
        if self.put(home, number, capacity, payload):
            return None
        window = self._window(home, number, capacity)
        window.waiting.append((caller, payload))
        if not window.asked:
            window.asked = True
            self._host.helper(self._introduce, window, home, number)
        return self._host.LATER

    def _introduce(self, window: _Window, home: int, number: int) -> None:
        """Tell the home of a channel that this host sends, and send what waits for that."""
        cluster = self._host.cluster
        try:
            if not ask(cluster, home, "join_channel", number, about="looking for a channel"):
                window.closing = True
                raise ValueError(_CLOSED)
        except Exception as error:
            self._windows.pop((home, number), None)
            while window.waiting:
                self._host.fail(window.waiting.popleft()[0], error)
            return
        window.known = True
        while window.waiting and window.places:
            window.places.pop()
            self._send_waiting(window, home, number)

    def _send_waiting(self, window: _Window, home: int, number: int) -> None:
        caller, payload = window.waiting.popleft()
        self._order(home, ("value", number, payload))
        self._host.answer(caller, None)

    def _withdraw_put(self, caller: Caller, home: int, number: int, *rest: Any) -> bool:
        window = self._windows.get((home, number))
        for each in window.waiting if window else ():
            if each[0] == caller:
                assert window is not None
                window.waiting.remove(each)
                return True
        return False

    def _place(self, sender: int, home: int, number: int) -> None:
        """A place in the buffer of a channel is free again."""
        window = self._windows.get((home, number))
        if window is None:
            return
        if window.waiting:
            self._send_waiting(window, home, number)
        else:
            window.places.append(None)

    def _closing(self, sender: int, home: int, number: int) -> None:
        """A channel was closed: nothing more is put into its buffer."""
        window = self._windows.pop((home, number), None)
        if window is None:
            return
        window.closing = True
        for caller, _ in window.waiting:
            self._host.fail(caller, ValueError(_CLOSED))
        window.waiting.clear()
        self._order(home, ("part", number))

    # ------------------------------------------------------------------ receivers

    def take(self, request: Request, home: int) -> None:
        """Confirm that the caller has the value. From any thread."""
        self._order(home, ("taken", request.arguments[0], request.host, request.number))

    def _return(self, request: Request) -> None:
        if request.value is not None:
            message = "returned", request.arguments[0], request.host, request.number
            self._order(request.target, message)

    def _order(self, to: int, message: tuple[Any, ...]) -> None:
        if to == self._host.id and self._host.in_thread():
            self._host.orders[message[0]](to, *message[1:])
        else:
            self._host.send(to, message)


class Channel(Generic[_T]):
    """A channel of the cluster, made by `Cluster.channel()`. It can be pickled, and sent to others.

    All methods may be called on every host, in tasklets and in threads. A value that is received is
    always a copy. `HostLost` is raised by all of them if the home of the channel is lost.
    """

    __slots__ = ("_capacity", "_cluster", "_home", "_number")

    def __init__(self, cluster: str, home: int, number: int, capacity: int) -> None:
        self._cluster = cluster
        self._home = home
        self._number = number
        self._capacity = capacity

    def __reduce__(self) -> Any:
        return Channel, (self._cluster, self._home, self._number, self._capacity)

    def __repr__(self) -> str:
        return f"<cluster channel {self._home}.{self._number}, capacity {self._capacity}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Channel) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self._cluster, self._home, self._number))

    @property
    def capacity(self) -> int:
        """How many values each host may have in the buffer; 0 for a channel without one."""
        return self._capacity

    @property
    def home(self) -> str:
        """The name of the host where senders and receivers meet."""
        return current_host(self._cluster).name_of(self._home)

    @property
    def balance(self) -> int:
        """Number of values and senders that wait if positive, of receivers if negative."""
        return int(self._look()[0])

    @property
    def closed(self) -> bool:
        """True after close(), if no value is left."""
        balance, closing = self._look()
        return bool(closing) and balance <= 0

    def _look(self) -> tuple[int, bool]:
        found = ask(self._cluster, self._home, "balance", self._number, about=f"looking at {self}")
        return found[0], found[1]

    def send(self, value: _T, /, *, timeout: float | None = None) -> None:
        """Send a value. Without a buffer wait until a receiver has it, otherwise until there is
        room.

        timeout: in seconds; then TimeoutError, and the value was not sent. Raises ValueError if the
        channel is closed, and what pickling raises.
        """
        payload = current_host(self._cluster).codec.encode(value)
        del value
        arguments: tuple[Any, ...]
        if self._capacity == 0:
            arguments = self._home, "send", self._number, payload
        elif current_host(self._cluster).channels.put(
            self._home, self._number, self._capacity, payload
        ):
            return
        else:
            arguments = LOCAL, "put", self._home, self._number, self._capacity, payload
        del payload
        request = begin(self._cluster, arguments, f"sending to {self!r}", timeout)
        del arguments
        wait(self._cluster, request)

    def receive(self, *, timeout: float | None = None) -> _T:
        """Wait for a value, and return it.

        timeout: in seconds; then TimeoutError. Raises ValueError if the channel is closed, also
        while this waits, and UnpicklingError if the value cannot be loaded here.
        """
        found: bool
        value: _T
        found, value = self._take(timeout)
        if not found:
            raise ValueError(_CLOSED)
        return value

    def _take(self, timeout: float | None) -> tuple[bool, Any]:
        arguments = self._home, "receive", self._number
        request = begin(self._cluster, arguments, f"receiving from {self!r}", timeout)
        payload = wait(self._cluster, request)
        if payload is None:
            return False, None
        host = current_host(self._cluster)
        host.channels.take(request, self._home)
        return True, host.codec.decode(tuple(payload))

    def close(self) -> None:
        """End the channel: values that were sent can still be received, then loops over it end."""
        ask(self._cluster, self._home, "close", self._number, about=f"closing {self!r}")

    def __iter__(self) -> Iterator[_T]:
        """Receive until the channel is closed."""
        # A generator, as a tasklet could not be pickled inside of a method __next__.
        while True:
            found, value = self._take(None)
            if not found:
                return
            yield value
