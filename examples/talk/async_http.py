"""Blocking code on top of an event loop: a page is read like a file, the loop calls back.

The event loop calls a `Connection`, which sends the received bytes into a channel, and closes that
at the end. `urlopen` returns a file whose `read()` iterates over the channel. One tasklet runs the
loop; it waits in the loop only when all other tasklets wait.

    python examples/talk/async_http.py
"""

import selectors
import socket
from urllib.parse import urlsplit

import stackless
from local_server import web_server

loop = selectors.DefaultSelector()


class Connection:
    """Sends a request when the loop calls it, and passes the answer on."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.read_channel = stackless.channel()
        self.request = request
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex((host, port))
        loop.register(self.socket, selectors.EVENT_WRITE, self.handle_write)

    def handle_write(self) -> None:
        self.socket.sendall(self.request)
        loop.modify(self.socket, selectors.EVENT_READ, self.handle_read)

    def handle_read(self) -> None:
        data = self.socket.recv(4096)
        if data:
            self.read_channel.send(data)
        else:
            self.handle_close()

    def handle_close(self) -> None:
        loop.unregister(self.socket)
        self.socket.close()
        self.read_channel.close()  # ends the iteration of the reader


class Page:
    """The file that `urlopen` returns."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def read(self) -> bytes:
        answer = b"".join(self.connection.read_channel)
        _headers, _, body = answer.partition(b"\r\n\r\n")
        return body


def urlopen(url: str) -> Page:
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    target = f"{parts.path}?{parts.query}"
    request = f"GET {target} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
    return Page(Connection(host, parts.port or 80, request))


def pump() -> None:
    """Run the event loop, one turn at a time, as long as it has something to wait for."""
    while loop.get_map():
        timeout = 30 if stackless.getruncount() == 2 else 0
        for key, _ in loop.select(timeout):
            key.data()
        stackless.schedule()


def fetch(url: str) -> None:
    print(urlopen(url).read().decode())


if __name__ == "__main__":
    with web_server() as address:
        # The first request gets its answer last.
        for number, seconds in enumerate([0.4, 0.2, 0.0], 1):
            stackless.tasklet(fetch)(f"{address}/{number}?seconds={seconds}")
        stackless.tasklet(pump)()
        while stackless.getruncount() > 1:
            stackless.schedule()
