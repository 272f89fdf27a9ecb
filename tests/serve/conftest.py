"""A server in a thread of its own, and raw connections to it."""

import contextlib
import logging
import socket
import threading

import pytest

pytest.importorskip("httptools")

from stackless.integrations import wsgi  # noqa: E402


class Records(logging.Handler):
    """Keeps what the server logs."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(self.format(record))


class Served:
    """A running server: `ask()` sends bytes and returns all that comes until it closes."""

    def __init__(self, server, records):
        self.server = server
        self.logged = records.texts
        host, _, port = server.addresses[0].rpartition(":")
        self.address = (host, int(port))

    def connect(self):
        return socket.create_connection(self.address, 30)

    def ask(self, data, pause=None):
        """`pause` is called between two parts, if `data` is a list of parts."""
        parts = [data] if isinstance(data, bytes) else data
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
                if pause:
                    pause()
            return read_all(connection)

    def get(self, path=b"/", *fields):
        head = b"".join(field + b"\r\n" for field in fields)
        return self.ask(
            b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\n"
        )


def read_all(connection):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            data += part
    return data


@pytest.fixture
def serve():
    """serve(app, **options) starts a server; it is stopped at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(app, **options):
            log, records = logging.Logger("test", logging.DEBUG), Records()
            log.addHandler(records)
            options.setdefault("bind", "127.0.0.1:0")
            server = wsgi.Server(app, log=log, **options)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            served = Served(server, records)
            served.thread = thread
            return served

        yield start
