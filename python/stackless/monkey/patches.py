"""The patches of `stackless.monkey`: for each part a list of (owner, name, replacement)."""

from __future__ import annotations

import _queue
import _socket
import functools
import logging
import queue
import select
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from stackless import select as tasklet_select
from stackless import socket as tasklet_socket
from stackless._io import socket_methods, tls_methods
from stackless._stackless import (
    _cooperates,
    _descriptor_closed,
    _give_way,
    _standard_methods,
    _standard_sleep,
)
from stackless.monkey import drivers, files, polling, signals
from stackless.monkey.multiprocess import exit_before_tasklets, of_multiprocessing
from stackless.monkey.processes import of_os
from stackless.monkey.repair import repair
from stackless.monkey.threads import after_patching, of_threading
from stackless.monkey.waiting import Patch
from stackless.sync import RLock, SimpleQueue

#: All replacements made so far, by identity, with the standard function that they call. Other code
#: may have kept a replacement and may set it again.
_made: dict[int, tuple[Any, Any]] = {}


def _standard(owner: Any, name: str) -> Any:
    found = getattr(owner, name)
    while id(found) in _made:
        found = _made[id(found)][1]
    return found


def scoped(owner: Any, name: str, waiting: Any) -> Patch:
    """Return the patch of a call: `waiting` where tasklets can switch, else the standard one."""
    standard = _standard(owner, name)

    @functools.wraps(standard)
    def call(*arguments: Any, **named: Any) -> Any:
        if not _cooperates():
            return standard(*arguments, **named)
        _give_way()
        return waiting(*arguments, **named)

    # It is pickled by name.
    call.__module__ = owner.__module__ if isinstance(owner, type) else owner.__name__
    _made[id(call)] = call, standard
    return owner, name, call


# ---------------------------------------------------------------------- time and sockets


def of_time() -> list[Patch]:
    standard = _standard(time, "sleep")
    sleep = _standard_sleep(standard)
    _made[id(sleep)] = sleep, standard
    return [(time, "sleep", sleep)]


_METHODS = (
    "connect",
    "connect_ex",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "sendto",
    "sendmsg",
    "_sendfile_use_sendfile",
)
_FUNCTIONS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo")


def _accept(kind: Any) -> Patch:
    standard = _standard(kind, "_accept")

    @functools.wraps(standard)
    def _accept(self: Any) -> Any:
        if _cooperates():
            _give_way()
            return socket_methods._accept(self)
        if self.gettimeout() is None:
            # Another thread may take the connection first; this one must not block in the system,
            # where its tasklets could not run.
            return socket_methods.accept_in_thread(self)
        return standard(self)

    _made[id(_accept)] = _accept, standard
    return kind, "_accept", _accept


def _tell(closing: Any) -> None:
    if closing.fileno() >= 0:
        _descriptor_closed(closing.fileno())


def of_socket() -> list[Patch]:
    kind = socket.socket
    real_close = vars(kind)["_real_close"]

    @functools.wraps(real_close)
    def _real_close(self: Any, *arguments: Any) -> None:
        _tell(self)
        real_close(self, *arguments)

    standard_detach = vars(kind)["detach"]

    @functools.wraps(standard_detach)
    def detach(self: Any) -> Any:
        _tell(self)
        return standard_detach(self)

    return [
        *((kind, name, new) for name, new in _standard_methods(_socket.socket, kind).items()),
        _accept(kind),
        *(scoped(kind, name, getattr(socket_methods, name)) for name in _METHODS),
        (kind, "_real_close", _real_close),
        (kind, "detach", detach),
        *(scoped(socket, name, getattr(tasklet_socket, name)) for name in _FUNCTIONS),
    ]


def of_ssl() -> list[Patch]:
    kind = ssl.SSLSocket
    _standard_methods(_socket.socket, socket.socket)  # whose descriptors are waited for
    methods = tls_methods.methods(kind, _cooperates) | tls_methods.timeouts(kind)
    return [(kind, name, new) for name, new in methods.items()]


# ---------------------------------------------------------------------- select and selectors


_Poll: Any = tasklet_select.poll
_Epoll: Any = tasklet_select.epoll


class _Names(type):
    """The metaclass of patched classes: isinstance() holds for objects of the standard class."""

    standard: Any

    def __instancecheck__(cls, o: object) -> bool:
        return super().__instancecheck__(o) or isinstance(o, cls.standard)


class poll(_Poll):  # type: ignore[misc]
    """A set of files to wait for, each with its events."""

    __slots__ = ()

    def poll(self, timeout: float | None = None, /) -> Any:
        """Wait for events; return a list of (descriptor, events)."""
        if _cooperates():
            _give_way()
            return super().poll(timeout)
        return self._poll.poll(timeout)


class epoll(_Epoll, metaclass=_Names):  # type: ignore[misc]
    """The system's interest list for files."""

    __slots__ = ()
    standard = select.epoll

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> Any:
        """Wait for events; return a list of at most `maxevents` pairs (descriptor, events)."""
        if _cooperates():
            _give_way()
            return super().poll(timeout, maxevents)
        return self._epoll.poll(timeout, maxevents)


poll.__module__ = epoll.__module__ = "select"


def _waiting_select(kind: Any, standard: Any) -> Callable[..., Any]:
    """Return the method `select` of a class of selectors, for all kinds of system objects."""

    def select(self: Any, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return standard(self, timeout)
        return standard(self, 0) or tasklet_select._wait_for_any(
            _wanted(self), timeout, lambda: standard(self, 0)
        )

    return select


def _wanted(selector: Any) -> dict[int, int]:
    """Return what to wait for with an epoll object: events by descriptor."""
    if isinstance(selector, selectors.EpollSelector):
        return {selector.fileno(): select.EPOLLIN}
    return {
        key.fd: (key.events & selectors.EVENT_READ and select.EPOLLIN)
        | (key.events & selectors.EVENT_WRITE and select.EPOLLOUT)
        for key in selector.get_map().values()
    }


def of_select() -> list[Patch]:
    classes = {selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector}
    owners = {next(c for c in kind.__mro__ if "select" in vars(c)) for kind in classes}
    return [
        scoped(select, "select", tasklet_select.select),
        (select, "poll", poll),
        (select, "epoll", epoll),
        *(
            scoped(kind, "select", _waiting_select(kind, vars(kind)["select"]))
            for kind in sorted(owners, key=lambda kind: kind.__name__)
        ),
    ]


# ---------------------------------------------------------------------- logging


class HandlerLock(RLock):
    """The lock of a handler. A program that forks in a handler releases it in the child as well."""

    def _at_fork_reinit(self) -> None:
        if not self._is_owned():
            super()._at_fork_reinit()


def of_logging() -> list[Patch]:
    kind = logging.Handler
    create = vars(kind)["createLock"]

    @functools.wraps(create)
    def createLock(self: Any) -> None:
        create(self)
        if self.lock is not None:
            self.lock = HandlerLock()

    for reference in list(logging._handlerList):  # type: ignore[attr-defined]
        handler = reference()
        lock = getattr(handler, "lock", None)
        if handler is not None and lock is not None and not isinstance(lock, HandlerLock):
            if not lock._is_owned() and lock.acquire(blocking=False):
                handler.lock = HandlerLock()
                lock.release()
    return [(kind, "createLock", createLock)]


# ---------------------------------------------------------------------- queues


def of_queue() -> list[Patch]:
    return [
        (_queue, "SimpleQueue", SimpleQueue),
        (queue, "SimpleQueue", SimpleQueue),
        *polling.of_queue(),
    ]


def _repair_threading() -> None:
    repair()
    after_patching()


#: What else is to be done once a part is patched.
AFTER_PATCHING: dict[str, Callable[[], None]] = {
    "select": drivers.tell,
    "threading": _repair_threading,
    "signal": signals.wrap_handlers,
    "multiprocessing": exit_before_tasklets,
    "files": files.use_workers,
}

#: What else is to be done when a part is no longer patched.
AFTERWARDS: dict[str, Callable[[], None]] = {
    "ssl": tls_methods.restore_all,
    "select": drivers.leave,
    "signal": signals.unwrap_handlers,
    "files": files.use_no_workers,
}

PARTS: dict[str, Callable[[], list[Patch]]] = {
    "time": of_time,
    "socket": of_socket,
    "ssl": of_ssl,
    "select": of_select,
    "logging": of_logging,
    "threading": lambda: [*of_threading(), *polling.of_threading()],
    "queue": of_queue,
    "os": lambda: [*of_os(), *polling.of_os(), *files.of_files()],
    "signal": signals.of_signal,
    "multiprocessing": of_multiprocessing,
    "files": files.of_regular_files,
}
