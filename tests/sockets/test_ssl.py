"""stackless.ssl: connections between tasklets of this process and with plain threads."""

import contextlib
import functools
import gc
import http.client
import http.server
import os
import socket as stock_socket
import ssl as stock
import threading
import time

import certificates
import pytest
import stackless
from child_process import assert_child
from stackless import monkey, servers, socket, ssl

SLOW = 0.05


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def client_context(paths):
    return ssl.create_default_context(cafile=paths[0])


@pytest.fixture(scope="module")
def server_context(paths):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(paths[1])
    return context


@pytest.fixture
def server(server_context):
    """An echo server in a tasklet; the handshake is in the tasklet of each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            stackless.tasklet(echo)(connection)

    def echo(connection):
        try:
            with server_context.wrap_socket(connection, server_side=True) as secure:
                while data := secure.recv(4096):
                    secure.sendall(data)
        except (stock.SSLError, ConnectionError):
            pass  # the client closed the connection

    accepting = stackless.tasklet(serve)()
    accepting.daemon = True
    yield listener.getsockname()
    listener.close()
    stackless.run()


@pytest.fixture
def pair(client_context, server_context):
    """Both ends of a connection."""
    near, far = socket.socketpair()
    shaking = stackless.tasklet(server_context.wrap_socket)
    shaking._keep_result()
    shaking(far, server_side=True)
    with client_context.wrap_socket(near, server_hostname="localhost") as client:
        with shaking.join() as there:
            yield client, there


def connect(address, context, **options):
    plain = socket.create_connection(address, **options)
    return context.wrap_socket(plain, server_hostname="localhost")


# ---------------------------------------------------------------------- the module


def test_has_all_names():
    assert [name for name in dir(stock) if not hasattr(ssl, name)] == []
    assert ssl.SSLError is stock.SSLError
    with pytest.raises(AttributeError):
        getattr(ssl, "nonsense")  # noqa: B009


def test_is_a_standard_one(pair, client_context):
    """For isinstance; the classes are ours, also those of contexts that functions make."""
    near, _ = pair
    assert type(near) is ssl.SSLSocket
    assert isinstance(near, stock.SSLSocket) and isinstance(near, socket.socket)
    assert isinstance(client_context, stock.SSLContext)
    for make in (
        ssl.create_default_context,
        ssl._create_unverified_context,
        ssl._create_stdlib_context,
        ssl._create_default_https_context,
    ):
        assert type(make()) is ssl.SSLContext


# ---------------------------------------------------------------------- exchange


@pytest.mark.parametrize("size", [1, 20_000, 3_000_000])
def test_echo(server, client_context, size):
    """One tasklet writes while another reads: more data than all buffers hold."""
    data = os.urandom(size)

    def client():
        with connect(server, client_context) as secure:
            sender = stackless.tasklet(secure.sendall)(data)
            received = bytearray()
            while len(received) < size:
                received += secure.recv(size)
            sender.join()
            return bytes(received)

    stackless.run_tasklet(client)
    assert stackless.run_all() == [data]


def test_many_connections(server, client_context):
    def client(n):
        with connect(server, client_context) as secure:
            secure.sendall(b"%d" % n)
            return secure.recv(100)

    for n in range(30):
        stackless.run_tasklet(client, n)
    assert stackless.run_all() == [b"%d" % n for n in range(30)]


def test_read_write_recv_into(pair):
    near, far = pair
    buffer = bytearray(10)
    waiting = stackless.run_tasklet(far.read, 10, buffer)
    stackless.schedule()
    assert waiting.alive
    assert near.write(b"abc") == 3
    assert stackless.run_all() == [3] and buffer[:3] == b"abc"
    stackless.run_tasklet(far.recv_into, buffer)
    assert near.send(b"defg") == 4
    assert stackless.run_all() == [4] and buffer[:4] == b"defg"
    assert near.pending() == 0 and near.version().startswith("TLS")


def test_makefile(pair):
    near, far = pair
    with near.makefile("w", encoding="ascii") as out, far.makefile(encoding="ascii") as lines:
        stackless.run_tasklet(lines.readline)
        out.write("one\n")
        out.flush()
        assert stackless.run_all() == ["one\n"]


def test_unwrap(pair):
    """Both ends end TLS; the plain sockets continue to work."""
    near, far = pair
    stackless.run_tasklet(far.unwrap)
    plain = near.unwrap()
    [other] = stackless.run_all()
    plain.sendall(b"plain")
    assert other.recv(10) == b"plain"


def test_sendfile(pair, tmp_path):
    data = os.urandom(200_000)
    (tmp_path / "data").write_bytes(data)

    def sends():
        with (tmp_path / "data").open("rb") as file:
            return pair[0].sendfile(file)

    stackless.run_tasklet(sends)
    received = b""
    while len(received) < len(data):
        received += pair[1].recv(100_000)
    assert received == data
    assert stackless.run_all() == [len(data)]


def test_server_certificate(server, paths):
    """ssl.get_server_certificate(), checked against the authority."""
    got = ssl.get_server_certificate(("localhost", server[1]), ca_certs=paths[0])
    assert got.strip() in paths[1].read_text()


def test_wrong_name_is_refused(server, client_context):
    with pytest.raises(stock.SSLCertVerificationError), socket.create_connection(server) as plain:
        client_context.wrap_socket(plain, server_hostname="elsewhere")


def test_wraps_standard_sockets(server, client_context):
    plain = stock_socket.create_connection(server)
    with client_context.wrap_socket(plain, server_hostname="localhost") as secure:
        secure.sendall(b"x")
        assert secure.recv(1) == b"x"


def test_connect_after_wrapping(server, client_context):
    with client_context.wrap_socket(socket.socket(), server_hostname="localhost") as secure:
        secure.connect(server)
        secure.sendall(b"x")
        assert secure.recv(1) == b"x"


def test_accept_shakes_hands(client_context, server_context):
    """accept() of a listener that was wrapped does the handshake."""
    plain = socket.create_server(("127.0.0.1", 0))
    with server_context.wrap_socket(plain, server_side=True) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                assert type(connection) is ssl.SSLSocket
                connection.sendall(connection.recv(10))

        stackless.run_tasklet(serve)
        with connect(listener.getsockname(), client_context) as secure:
            secure.sendall(b"x")
            assert secure.recv(1) == b"x"
        stackless.run_all()


def test_with_a_plain_thread(server_context, paths):
    """A standard client in a thread, which blocks there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        context = stock.create_default_context(cafile=paths[0])

        def client():
            with stock_socket.create_connection(listener.getsockname()) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as secure:
                    time.sleep(SLOW)
                    secure.sendall(b"x")
                    answers.append(secure.recv(1))

        answers = []
        thread = threading.Thread(target=client)
        thread.start()
        turns = 0

        def count():
            nonlocal turns
            while thread.is_alive():
                turns += 1
                stackless.sleep(0.001)

        stackless.tasklet(count)()
        connection, _ = listener.accept()
        with server_context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(secure.recv(1).upper())
        stackless.run()
        thread.join()
    assert answers == [b"X"]
    assert turns > 5


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"page {self.path}".encode())

    def log_message(self, format, *args):
        pass


def test_https(client_context, server_context):
    """A tasklet for each connection; a client that sends nothing does not delay the others."""
    with servers.TaskletHTTPServer(("127.0.0.1", 0), Page) as server:
        server.socket = server_context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        serving = stackless.tasklet(server.serve_forever)()
        serving.daemon = True
        silent = socket.create_connection(server.server_address)

        def fetch(n):
            client = http.client.HTTPSConnection(
                "localhost", server.server_port, context=client_context
            )
            client.request("GET", f"/{n}")
            with contextlib.closing(client), client.getresponse() as answer:
                return answer.read()

        with monkey.patched("socket"):
            for n in range(10):
                stackless.run_tasklet(fetch, n)
            assert stackless.run_all() == [b"page /%d" % n for n in range(10)]
        silent.close()
        server.shutdown()
    stackless.run()


# ---------------------------------------------------------------------- waiting


def counting(test):
    """The test must let another tasklet run meanwhile."""

    @functools.wraps(test)
    def counted(**fixtures):
        turns = 0

        def count():
            nonlocal turns
            while True:
                turns += 1
                stackless.sleep(0.001)

        counter = stackless.tasklet(count)()
        counter.daemon = True
        try:
            test(**fixtures)
        finally:
            counter.kill()
        assert turns > 3

    return counted


@counting
def test_timeout_of_a_read(pair):
    near, far = pair
    near.settimeout(0.02)
    with pytest.raises(stock_socket.timeout, match="read operation timed out"):
        near.recv(1)
    far.sendall(b"x")
    assert near.recv(1) == b"x"
    assert near.gettimeout() == 0.02


@counting
def test_timeout_of_a_write(pair):
    """The peer does not read."""
    near, _ = pair
    near.settimeout(0.02)
    with pytest.raises(TimeoutError, match="write operation timed out"):
        near.sendall(bytes(10_000_000))


@counting
def test_timeout_in_a_handshake(client_context):
    """The peer accepts, and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(TimeoutError, match="handshake operation timed out"):
            connect(listener.getsockname(), client_context, timeout=0.02)


@counting
def test_timeout_in_mid_handshake(client_context, server_context):
    """The peer sends only the first byte of its answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"\x16")
                connection.recv(1)

        stackless.tasklet(serve)()
        with pytest.raises(TimeoutError, match="handshake operation timed out"):
            connect(listener.getsockname(), client_context, timeout=0.02)
    stackless.run()


@counting
def test_limit_of_a_block(pair):
    """with stackless.timeout() around the wait of a handshake, or any other."""
    with pytest.raises(stackless.TimeoutError), stackless.timeout(0.02):
        pair[0].recv(1)
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"


def test_one_byte_at_a_time(client_context, server_context):
    """A slow peer: the handshake waits many times, others run."""
    near, middle = socket.socketpair()
    other, far = socket.socketpair()

    def forward(source, target):
        while data := source.recv(1):
            target.sendall(data)
            if forwarded[0] % 50 == 0:
                stackless.sleep(0.0005)
            forwarded[0] += 1
        target.shutdown(socket.SHUT_WR)

    forwarded = [0]
    for ends in ((middle, other), (other, middle)):
        stackless.tasklet(forward)(*ends).daemon = True

    def serve():
        with server_context.wrap_socket(far, server_side=True) as secure:
            secure.sendall(secure.recv(10))

    stackless.run_tasklet(serve)
    with client_context.wrap_socket(near, server_hostname="localhost") as secure:
        secure.sendall(b"slow")
        assert secure.recv(10) == b"slow"
    stackless.run_all()
    stackless.run()
    assert forwarded[0] > 500
    for s in (middle, other):
        s.close()


def test_non_blocking(pair):
    """SSLWantReadError, as in the standard module."""
    near, far = pair
    near.setblocking(False)
    assert near.gettimeout() == 0
    with pytest.raises(stock.SSLWantReadError):
        near.recv(1)
    far.sendall(b"x")
    assert near.recv(1) == b"x"


def test_non_blocking_handshake(client_context, server):
    """With retries in the test; do_handshake(True) waits nevertheless."""
    for block in (False, True):
        with client_context.wrap_socket(
            socket.create_connection(server),
            server_hostname="localhost",
            do_handshake_on_connect=False,
        ) as secure:
            secure.setblocking(False)
            with pytest.raises(stock.SSLWantReadError):
                secure.do_handshake()
            if block:
                secure.do_handshake(True)
            while not block:
                try:
                    secure.do_handshake()
                    break
                except stock.SSLWantReadError:
                    stackless.sleep(0.001)
            assert secure.gettimeout() == 0
            secure.setblocking(True)
            secure.sendall(b"x")
            assert secure.recv(1) == b"x"


def test_flags_of_the_descriptor_are_the_standard_ones(pair):
    near, far = pair
    for timeout in (None, 0.001, 0, None):
        near.settimeout(timeout)
        assert os.get_blocking(near.fileno()) is (timeout is None)
        if timeout:
            with pytest.raises(TimeoutError):
                near.recv(1)
        assert os.get_blocking(near.fileno()) is (timeout is None)
        assert near.gettimeout() == timeout


def test_closed_while_a_tasklet_waits(pair):
    near, _ = pair
    ended = []

    def waits():
        try:
            near.recv(1)
        except OSError as error:
            ended.append(type(error))

    stackless.tasklet(waits)()
    stackless.schedule()
    near.close()
    stackless.run()
    assert ended == [OSError]


@pytest.mark.filterwarnings("ignore")
def test_killed_in_a_handshake(client_context, server):
    """Nothing is left; the server serves others. (3.12 does not close the socket.)"""
    near, far = socket.socketpair()
    with far:
        shaking = stackless.tasklet(client_context.wrap_socket)(near, server_hostname="localhost")
        stackless.schedule()
        assert shaking.alive
        shaking.kill()
        del shaking, near
        gc.collect()
    with connect(server, client_context) as secure:
        secure.sendall(b"x")
        assert secure.recv(1) == b"x"


def test_nothing_is_left(client_context, server_context):
    """Successful connections, and ones that stop during the handshake, on either side."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    served = 0

    def serve_one(connection, kind):
        try:
            with connection:
                if kind == 0:
                    connection.recv(10_000)  # and closes
                elif kind == 1:
                    connection.sendall(b"\x16")
                    connection.recv(10_000)
                    connection.recv(1)  # no more data arrives
                else:
                    with server_context.wrap_socket(connection, server_side=True) as secure:
                        secure.sendall(secure.recv(100))
        except OSError:
            pass

    def serve():
        nonlocal served
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            stackless.tasklet(serve_one)(connection, served % 3)
            served += 1

    def client():
        try:
            with connect(listener.getsockname(), client_context, timeout=0.1) as secure:
                secure.settimeout(5)
                secure.sendall(b"x")
                return secure.recv(10)
        except OSError as error:
            return type(error)

    def one_round():
        for _ in range(30):
            stackless.run_tasklet(client)
        results = stackless.run_all()
        stackless.sleep(0.01)
        gc.collect()
        return results.count(b"x"), len(os.listdir("/proc/self/fd"))

    stackless.tasklet(serve)().daemon = True
    one_round()
    before = one_round()
    assert before[0] > 0
    assert one_round()[1] <= before[1]
    listener.close()
    stackless.run()


def test_interrupt_in_a_handshake(paths):
    """Ctrl-C in main, which is alone."""
    assert_child(
        """
        import os, signal, sys, threading
        from stackless import socket, ssl
        signal.signal(signal.SIGINT, signal.default_int_handler)
        context = ssl.create_default_context(cafile=sys.argv[1])
        near, far = socket.socketpair()
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            context.wrap_socket(near, server_hostname="localhost")
        except KeyboardInterrupt:
            print("interrupted")
        """,
        args=[paths[0]],
        prints="interrupted",
    )
