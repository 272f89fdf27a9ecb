"""Blocking code on top of an event loop: a page is read like a file, the loop calls back.

`Connection` is what the event loop knows: what arrives goes into a channel, and the end closes it.
`urlopen` returns a file whose `read()` just iterates over the channel. One tasklet pumps the loop;
it waits in it only when everybody else does.

    python examples/talk/async_http.py
"""

import selectors
import socket
from urllib.parse import urlsplit

import stackless
from local_server import web_server

loop = selectors.DefaultSelector()


class Connection:
    """Sends a request when the loop says so, and passes on what comes back."""

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
        self.read_channel.close()  # ends the iteration of whoever reads


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
    """The event loop, a turn at a time, as long as it has something to wait for."""
    while loop.get_map():
        timeout = 30 if stackless.getruncount() == 2 else 0
        for key, _ in loop.select(timeout):
            key.data()
        stackless.schedule()


def fetch(url: str) -> None:
    print(urlopen(url).read().decode())


if __name__ == "__main__":
    with web_server() as address:
        # The one that was asked first answers last.
        for number, seconds in enumerate([0.4, 0.2, 0.0], 1):
            stackless.tasklet(fetch)(f"{address}/{number}?seconds={seconds}")
        stackless.tasklet(pump)()
        while stackless.getruncount() > 1:
            stackless.schedule()
