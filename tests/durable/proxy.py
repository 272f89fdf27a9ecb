"""A proxy on loopback between a program and a server, which cuts connections when it is told to."""

import contextlib
import socket
import threading


class Proxy:
    """Passes connections on to a port.

    `cut()` closes all of them. `at_commit`: what happens to the next COMMIT. "before": it does not
    reach the server, and the connection is cut; "after": its answer does not reach the client.
    `refusing`: new connections are closed at once.
    """

    def __init__(self, port):
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.at_commit = None
        self.refusing = False
        #: How often a COMMIT was lost.
        self.lost = 0
        self._pairs = []
        self._abandoned = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        # A thread that waits in accept() keeps the socket open.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._pairs += self._abandoned
        self._abandoned = []
        self.cut()

    def cut(self):
        """Cut all connections."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._cut(pair)

    def abandon(self):
        """Cut all connections, so that the server does not notice it."""
        self._abandoned += self._pairs
        self._pairs = []
        for client, _ in self._abandoned:
            with contextlib.suppress(OSError):  # it has ended before
                client.shutdown(socket.SHUT_RDWR)

    def _cut(self, pair):
        for each in () if pair in self._abandoned else pair:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = (
                    None if self.refusing else socket.create_connection(("127.0.0.1", self._to))
                )
            except OSError:
                server = None
            if server is None:
                client.close()
                continue
            pair = client, server
            self._pairs.append(pair)
            lost = threading.Event()
            for take in (self._requests, self._answers):
                threading.Thread(target=take, args=(pair, lost), daemon=True).start()

    def _requests(self, pair, lost):
        client, server = pair
        with contextlib.suppress(OSError), client:
            while data := client.recv(1 << 16):
                if self.at_commit and b"COMMIT" in data:
                    when, self.at_commit = self.at_commit, None
                    self.lost += 1
                    if when == "before":
                        break
                    lost.set()  # before the server can answer
                server.sendall(data)
        self._cut(pair)

    def _answers(self, pair, lost):
        client, server = pair
        with contextlib.suppress(OSError), server:
            while data := server.recv(1 << 16):
                if lost.is_set():
                    break
                client.sendall(data)
        self._cut(pair)
