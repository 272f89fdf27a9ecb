"""Other threads use a socket while tasklets wait for it: its timeout and flags do not change."""

import os
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest
import stackless
from receiving import receiving
from stackless import monkey
from stackless import socket as our_socket

sys.path.append(str(Path(__file__).parents[1] / "sockets"))
import certificates  # noqa: E402

pytestmark = pytest.mark.usefixtures("patched_module")


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    stackless.run_all()


class Watch:
    """A thread that reads a socket's timeout and flags all the time."""

    def __init__(self, watched):
        self.seen = set()
        self.watched = watched
        self.stopped = False
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while True:
            self.seen.add((self.watched.gettimeout(), self.watched.timeout))
            self.seen.add((self.watched.getblocking(),))
            if self.stopped:
                break

    def __enter__(self):
        self.old = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopped = True
        self.thread.join()
        sys.setswitchinterval(self.old)


@pytest.fixture(params=[None, 5.0])
def timeout(request):
    return request.param


def assert_unchanged(watch, timeout):
    assert watch.seen == {(timeout, timeout), (True,)}


WAITING = receiving(1)


@pytest.mark.parametrize("name", list(WAITING))
def test_receiving(name, timeout):
    """The calls of the C part see the timeout that was set, also while the tasklet waits."""
    near, far = socket.socketpair()
    near.settimeout(timeout)
    seen = set()

    def look(frame, event, argument):
        if event in ("c_call", "c_return"):
            seen.add(near.gettimeout())

    def receives():
        sys.setprofile(look)
        for _ in range(3):
            WAITING[name](near)
        sys.setprofile(None)

    with near, far:
        t = stackless.run_tasklet(receives)
        for _ in range(3):
            stackless.schedule()
            seen.add(near.gettimeout())
            far.send(b"x")
        t.join()
    assert seen == {timeout}


def test_sending(timeout, tmp_path):
    (tmp_path / "file").write_bytes(bytes(300_000))
    near, far = socket.socketpair()
    near.settimeout(timeout)
    with near, far, (tmp_path / "file").open("rb") as file, Watch(near) as watch:

        def sends():
            for _ in range(10):
                near.sendmsg([bytes(300_000)])
                file.seek(0)
                near.sendfile(file)
            near.shutdown(socket.SHUT_WR)

        t = stackless.run_tasklet(sends)
        while far.recv(100_000):
            pass
        t.join()
    assert_unchanged(watch, timeout)


def test_connecting_and_accepting(timeout):
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        listener.settimeout(timeout)
        made = []

        def accepts():
            for _ in range(200):
                made.append(listener.accept()[0])

        with Watch(listener) as watch:
            t = stackless.run_tasklet(accepts)
            for _ in range(200):
                with socket.socket() as client:
                    client.settimeout(timeout)
                    client.connect(listener.getsockname())
                    assert client.gettimeout() == timeout
                stackless.schedule()
            t.join()
        for connection in made:
            connection.close()
    assert_unchanged(watch, timeout)


def test_flags_of_a_blocking_listener():
    """Other processes share the flags: they are not changed, not even for a moment."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    seen, stopped = set(), []

    def look():
        while not stopped:
            seen.add(os.get_blocking(listener.fileno()))

    def accepts():
        for _ in range(200):
            listener.accept()[0].close()

    thread = threading.Thread(target=look)
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        t = stackless.run_tasklet(accepts)
        for _ in range(200):
            socket.create_connection(listener.getsockname()).close()
            stackless.schedule()
        t.join()
    finally:
        stopped.append(1)
        thread.join()
        sys.setswitchinterval(old)
        listener.close()
    assert seen == {True}


def test_refused_connection_leaves_the_timeout(timeout):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with socket.socket() as client:
            client.settimeout(timeout)

            def connects():
                with pytest.raises(ConnectionRefusedError):
                    client.connect(free.getsockname())

            stackless.run_tasklet(connects)
            stackless.run_all()
            assert client.gettimeout() == timeout
            assert os.get_blocking(client.fileno()) is (timeout is None)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    authority, own = certificates.make(tmp_path_factory.mktemp("tls"))
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(own)
    return serving, ssl.create_default_context(cafile=authority)


@pytest.fixture
def secure(contexts):
    serving, asking = contexts
    near, far = socket.socketpair()
    server = stackless.run_tasklet(lambda: serving.wrap_socket(far, server_side=True))
    client = asking.wrap_socket(near, server_hostname="localhost")
    stackless.run_all()
    with client, server.join() as server:
        yield client, server


def test_tls(secure, timeout):
    client, server = secure
    client.settimeout(timeout)
    with Watch(client) as watch:

        def talks():
            for _ in range(100):
                client.sendall(b"question")
                assert client.recv(100) == b"answer"

        t = stackless.run_tasklet(talks)
        for _ in range(100):
            assert server.recv(100) == b"question"
            server.sendall(b"answer")
        t.join()
    assert_unchanged(watch, timeout)
    assert os.get_blocking(client.fileno()) is (timeout is None)


def test_tls_in_a_thread_without_tasklets(secure, timeout):
    """It blocks in that thread as usual, also when tasklets have used the connection before."""
    client, server = secure
    client.settimeout(timeout)
    stackless.run_tasklet(server.sendall, b"x")
    assert client.recv(1) == b"x"
    found = []
    thread = threading.Thread(target=lambda: found.append(client.recv(1)))
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    server.sendall(b"y")
    thread.join()
    assert found == [b"y"]
    client.settimeout(0.02)
    caught = []

    def in_vain():
        try:
            client.recv(1)
        except TimeoutError as error:
            caught.append(str(error))

    thread = threading.Thread(target=in_vain)
    thread.start()
    thread.join()
    assert caught == ["The read operation timed out"]


def test_tls_timeouts_are_kept(secure):
    client, server = secure

    def uses():
        server.sendall(b"x")
        return client.recv(1)

    for timeout in (None, 1.5, 0.0, None, 7.1):
        client.settimeout(timeout)
        assert client.gettimeout() == client.timeout == timeout
        assert client.getblocking() is (timeout != 0)
        if timeout != 0:
            stackless.run_tasklet(uses)
            assert stackless.run_all() == [b"x"]
        assert client.gettimeout() == client.timeout == timeout
        assert os.get_blocking(client.fileno()) is (timeout is None)
    client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(1)
    client.setblocking(True)
    assert client.gettimeout() is None
    with pytest.raises(TypeError):
        client.settimeout("x")
    with pytest.raises(ValueError):
        client.settimeout(-1)


@pytest.mark.parametrize("end", ["unwrap", "shutdown", "detach"])
def test_without_tls_again(secure, end, timeout):
    """The C part of the socket has the socket's timeout, too."""
    client, server = secure
    client.settimeout(timeout)
    stackless.run_tasklet(server.sendall, b"x")
    assert client.recv(1) == b"x"
    if end == "unwrap":
        stackless.run_tasklet(server.unwrap)
        client.unwrap()
        stackless.run_all()
    elif end == "shutdown":
        client.shutdown(socket.SHUT_WR)
    else:
        with socket.socket(fileno=client.detach()) as plain:
            assert os.get_blocking(plain.fileno()) is (timeout is None)
        return
    inner = socket.socket.__base__
    assert inner.gettimeout(client) == client.gettimeout() == timeout


def test_tls_connection_outlives_the_patches(secure, timeout):
    client, server = secure
    client.settimeout(timeout)
    stackless.run_tasklet(server.sendall, b"x")
    assert client.recv(1) == b"x"
    monkey.unpatch_all()
    try:
        assert client.gettimeout() == timeout
        thread = threading.Timer(0.02, server.sendall, [b"y"])
        thread.start()
        assert client.recv(1) == b"y"
        thread.join()
    finally:
        monkey.patch_all()


def test_ssl_alone_can_be_patched(contexts):
    """The sockets are not patched."""
    serving, asking = contexts
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as near:
            far, _ = listener.accept()
            monkey.unpatch_socket()
            try:
                server = stackless.run_tasklet(lambda: serving.wrap_socket(far, server_side=True))
                with asking.wrap_socket(near, server_hostname="localhost") as client:
                    stackless.run_all()
                    with server.join() as server:
                        stackless.run_tasklet(server.sendall, b"x")
                        assert client.recv(1) == b"x"
            finally:
                monkey.patch_socket()


# ---------------------------------------------------------------------- one listener, many threads


@pytest.mark.parametrize("kind", [socket, our_socket], ids=["standard", "ours"])
@pytest.mark.parametrize("tasklets", [False, True])
def test_one_listener(kind, tasklets, timeout):
    """The threads that lose the race for a connection wait as before: no error, and no thread
    sleeps while its tasklets could run."""
    listener = kind.create_server(("127.0.0.1", 0), backlog=500)
    listener.settimeout(timeout)
    served, errors, ticks, stop = [], [], {}, []

    def accepts():
        while not stop:
            try:
                connection, _ = listener.accept()
                if stop:
                    connection.close()
                    break
                served.append(1)
                connection.sendall(b"x")
                connection.close()
            except TimeoutError:
                pass
            except BaseException as error:
                errors.append(repr(error))

    def ticker(number):
        while not stop:
            stackless.sleep(0.002)
            ticks[number] = ticks.get(number, 0) + 1

    def body(number):
        for _ in range(2):
            stackless.tasklet(accepts)()
        stackless.tasklet(ticker)(number).join()
        stackless.run()

    threads = [threading.Thread(target=body, args=(n,)) for n in range(4)]
    if not tasklets and kind is socket:
        threads[1:] = [threading.Thread(target=accepts) for _ in range(3)]
    for thread in threads:
        thread.start()
    plain = monkey.original("socket", "socket")
    standing = []
    for _ in range(100):
        clients = [plain() for _ in range(4)]
        for client in clients:
            client.connect(listener.getsockname())
        for client in clients:
            client.settimeout(10)
            assert client.recv(1) == b"x"
            client.close()
        before = dict(ticks)
        for _ in range(200):
            time.sleep(0.005)
            if all(ticks[n] > before.get(n, 0) for n in ticks):
                break
        else:
            standing.append([n for n in ticks if ticks[n] == before.get(n, 0)])
    stop.append(1)
    for thread in threads:
        while thread.is_alive():
            with plain() as client:
                client.connect(listener.getsockname())
            thread.join(0.01)
    listener.close()
    assert not errors and not standing
    assert len(served) >= 400
