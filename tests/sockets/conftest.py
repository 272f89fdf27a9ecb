"""For all tests of sockets: two of ours that are connected."""

import pytest
from stackless import socket


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far
