"""Fixtures for the tests of sockets: a connected pair of our sockets, an echo server, a pipe."""

import pytest
import stackless
from echo import echo
from stackless import socket
from waits_for_files import Pipe


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def server():
    """An echo server in a tasklet, until it is closed."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            stackless.tasklet(echo)(connection)

    accepting = stackless.tasklet(serve)()
    accepting.daemon = True
    yield listener.getsockname()
    listener.close()
    stackless.run()
