"""A call that need not wait does not switch: libraries make such calls while they hold a lock."""

import select
import selectors
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest
import stackless
from stackless import select as our_select
from stackless import selectors as our_selectors
from stackless import socket as our_socket

sys.path.append(str(Path(__file__).parents[1] / "sockets"))
import certificates  # noqa: E402

CALLS = 200


pytestmark = pytest.mark.usefixtures("patched_module")


def switches_of(call):
    """The number of turns of another runnable tasklet while a tasklet made this call many times."""
    turns = 0

    def other():
        nonlocal turns
        while True:
            turns += 1
            stackless.schedule()

    def calls():
        for _ in range(CALLS):
            call()

    other = stackless.tasklet(other)()
    stackless.schedule()
    turns = 0
    caller = stackless.tasklet(calls)()
    caller.run()
    mine = turns
    other.kill()
    assert not caller.alive
    return mine


@pytest.fixture(params=[socket, our_socket], ids=["standard", "ours"])
def pair(request):
    near, far = request.param.socketpair()
    with near, far:
        yield near, far


def ignoring(call):
    def made():
        try:
            return call()
        except (BlockingIOError, ssl.SSLWantReadError):
            return None

    return made


def selector(module, kind, file):
    made = getattr(module, kind)()
    made.register(file, selectors.EVENT_READ)
    return lambda: made.select(0)


def polled(made, file):
    made.register(file, select.POLLIN)
    return lambda: made.poll(0)


ASKING = {
    "select": lambda f: lambda: select.select([f], [], [], 0),
    "select with no files": lambda f: lambda: select.select([], [], [], 0),
    "poll": lambda f: polled(select.poll(), f),
    "epoll": lambda f: polled(select.epoll(), f),
    "our select": lambda f: lambda: our_select.select([f], [], [], 0),
    "our poll": lambda f: polled(our_select.poll(), f),
    "our epoll": lambda f: polled(our_select.epoll(), f),
    **{
        f"{module.__name__}.{kind}": lambda f, m=module, k=kind: selector(m, k, f)
        for module in (selectors, our_selectors)
        for kind in ("SelectSelector", "PollSelector", "EpollSelector")
    },
}


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("asking", list(ASKING))
def test_asking(pair, asking, ready):
    """With a timeout of 0."""
    if ready:
        pair[1].sendall(b"x")
    assert switches_of(ASKING[asking](pair[0])) == 0


NON_BLOCKING = {
    "recv": lambda near: near.recv(1),
    "recv_into": lambda near: near.recv_into(bytearray(1)),
    "recvfrom": lambda near: near.recvfrom(1),
    "recvfrom_into": lambda near: near.recvfrom_into(bytearray(1)),
    "recvmsg": lambda near: near.recvmsg(1),
    "recvmsg_into": lambda near: near.recvmsg_into([bytearray(1)]),
    "send": lambda near: near.send(b"x"),
    "sendall": lambda near: near.sendall(b"x"),
    "sendmsg": lambda near: near.sendmsg([b"x"]),
}


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("name", list(NON_BLOCKING))
def test_non_blocking_sockets(pair, name, ready):
    near, far = pair
    near.setblocking(False)
    if ready:
        far.sendall(b"x" * CALLS)
    assert switches_of(ignoring(lambda: NON_BLOCKING[name](near))) == 0


@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("timeout", [None, 10])
def test_flag_of_the_call(pair, timeout, ready):
    near, far = pair
    near.settimeout(timeout)
    if ready:
        far.sendall(b"x" * CALLS * 5)
    flag = socket.MSG_DONTWAIT
    for call in (
        lambda: near.recv(1, flag),
        lambda: near.recv_into(bytearray(1), 0, flag),
        lambda: near.recvfrom(1, flag),
        lambda: near.recvmsg(1, 0, flag),
        lambda: near.send(b"x", flag),
        lambda: near.sendall(b"x", flag),
        lambda: near.sendmsg([b"x"], [], flag),
    ):
        assert switches_of(ignoring(call)) == 0


def test_non_blocking_accept_and_connect(pair):
    kind = type(pair[0])
    with kind() as listener, kind() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(500)
        listener.setblocking(False)
        assert switches_of(ignoring(listener.accept)) == 0
        client.setblocking(False)
        assert switches_of(lambda: client.connect_ex(listener.getsockname())) == 0


@pytest.mark.parametrize("timeout", [None, 10])
def test_standard_sockets_that_are_ready(timeout):
    """The callers do not know about tasklets, and may hold a lock."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(timeout)
        far.sendall(b"x" * CALLS * 3)
        for name in ("recv", "recv_into", "recvmsg", "send", "sendall", "sendmsg"):
            assert switches_of(lambda name=name: NON_BLOCKING[name](near)) == 0
            if name.startswith("send"):
                far.recv(CALLS)
    with socket.create_server(("127.0.0.1", 0), backlog=CALLS) as listener:
        listener.settimeout(timeout)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(CALLS)]
        assert switches_of(lambda: listener.accept()[0].close()) == 0
        for client in clients:
            client.close()


def test_tls_that_is_ready(tmp_path):
    authority, own = certificates.make(tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(own)
    asking = ssl.create_default_context(cafile=authority)
    near, far = socket.socketpair()

    def shake_hands():
        return serving.wrap_socket(far, server_side=True)

    server = stackless.run_tasklet(shake_hands)
    client = asking.wrap_socket(near, server_hostname="localhost")
    stackless.run_all()
    with client, server.join() as server:
        server.sendall(b"x" * CALLS)
        assert client.recv(1) == b"x"
        assert switches_of(lambda: client.send(b"x")) == 0
        server.sendall(b"x" * CALLS)
        assert switches_of(lambda: client.recv(1)) == 0
        client.setblocking(False)
        server.sendall(b"x" * CALLS)
        assert switches_of(ignoring(lambda: client.recv(1))) == 0


def test_lock_around_select():
    """Two tasklets that each run `with lock` do not block one another for ever."""
    near, far = socket.socketpair()
    lock = threading.Lock()
    done = []

    def asks():
        for _ in range(CALLS):
            with lock:
                select.select([near], [], [], 0)
            stackless.schedule()
        done.append(1)

    with near, far:
        for _ in range(2):
            stackless.run_tasklet(asks)
        limit = threading.Timer(20, lambda: lock.locked() and lock.release())
        limit.start()
        try:
            stackless.run_all()
        finally:
            limit.cancel()
    assert len(done) == 2


def test_lock_that_is_tried():
    """Neither acquire(False) nor release() of the lock of a logging handler switches."""
    import logging

    handler = logging.NullHandler.__mro__[1]()
    handler.createLock()
    assert switches_of(lambda: handler.lock.acquire(False) and handler.lock.release()) == 0
    holder = stackless.tasklet(lambda: (handler.lock.acquire(), time.sleep(0.05)))()
    stackless.schedule()
    assert switches_of(lambda: handler.lock.acquire(False)) == 0
    assert switches_of(lambda: handler.lock.acquire(timeout=0)) == 0
    stackless.run()
    assert not holder.alive
