"""The thread that answers questions about its process: see explain.serve()."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from typing import Any

from stackless import _stackless
from stackless._explain import here
from stackless._explain import socket as place

#: Maximum seconds that a slice may hold the interpreter.
SLICE = 0.0005
#: Seconds after which a client that does not read the answer is disconnected.
PATIENCE = 10
#: Maximum length of a question in bytes.
LONGEST = 1000


class Server:
    """A thread that listens from the constructor on, until stop(). Raises OSError."""

    def __init__(self) -> None:
        directory = place.own_directory()
        place.remove_stale(directory)
        self.path = place.path_of(directory, os.getpid())
        self._pid = os.getpid()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connections: set[socket.socket] = set()
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)  # left behind by an earlier process with this id
            os.fchmod(self._listener.fileno(), 0o600)  # the file gets this mode
            self._listener.bind(self.path)
            self._listener.listen()
        except BaseException:
            self._listener.close()
            raise
        self._waker, self._wake = socket.socketpair()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="stackless explain", daemon=True)
        self._thread._stackless_native = True  # type: ignore[attr-defined]
        self._thread.start()
        self._ready.wait()
        atexit.register(self.unlink)

    def stop(self) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self._wake.close()
        atexit.unregister(self.unlink)
        self.unlink()

    def unlink(self) -> None:
        if self._pid == os.getpid():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def abandon(self) -> None:
        """Close everything in a forked child: the parent continues to answer, not the child."""
        _stackless._explain_servant(False)
        for connection in (self._listener, self._waker, self._wake, *self._connections):
            connection.close()

    def _serve(self) -> None:
        # Signals are for the other threads, which may sleep in a system call.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        _stackless._explain_servant(True)
        self._ready.set()
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._waker in ready:
                    break
                for connection in ready:
                    assert isinstance(connection, socket.socket)
                    if connection is self._listener:
                        self._accept(selector)
                    elif not self._answer(connection):
                        selector.unregister(connection)
                        self._drop(connection)
        for connection in [*self._connections]:
            self._drop(connection)
        self._listener.close()
        self._waker.close()
        _stackless._explain_servant(False)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # The client has gone, or there are no descriptors left: do not try again at once.
            time.sleep(0.1)
            return
        connection.settimeout(PATIENCE)
        self._connections.add(connection)
        if place.peer(connection)[1] != os.geteuid():
            with contextlib.suppress(OSError):
                _send(connection, {"error": "only the user that this process belongs to may ask"})
            self._drop(connection)
            return
        selector.register(connection, selectors.EVENT_READ)

    def _drop(self, connection: socket.socket) -> None:
        here.keep_ages_for(connection, False)
        self._connections.discard(connection)
        connection.close()

    def _answer(self, connection: socket.socket) -> bool:
        """Answer one question. Returns False if the connection has ended."""
        try:
            # A question is short, and is sent at once.
            question = connection.recv(LONGEST)
            if not question:
                return False
            if question == b"count\n":
                here.keep_ages_for(connection, True)
                _send(connection, {"counting": True})
            elif question == b"snapshot\n":
                _send_snapshot(connection)
            else:
                _send(connection, {"error": "no such question"})
                return False
        except OSError:
            return False
        return True


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _send_snapshot(connection: socket.socket) -> None:
    _send(
        connection,
        {
            "pid": os.getpid(),
            "program": here.program(),
            "python": sys.version.split()[0],
            "threads": here.thread_names(),
            "ages": here.keeps_ages(),
        },
    )
    begun = time.perf_counter()
    at, slices, longest = 0, 0, 0.0
    while True:
        slice_begun = time.perf_counter()
        part = _stackless._explain_slice(at, SLICE)
        longest = max(longest, time.perf_counter() - slice_begun)
        slices += 1
        connection.sendall(part + b"\n")
        # The slice begins with the number of the next one; the JSON is not parsed here.
        following = part[len(b'{"next":') : part.index(b",")]
        if following == b"null":
            break
        at = int(following)
    elapsed = time.perf_counter() - begun
    _send(connection, {"slices": slices, "seconds": elapsed, "longest": longest})
