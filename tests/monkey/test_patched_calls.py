"""The patched standard modules in use: sockets, TLS, select, asyncio, HTTP."""

import asyncio
import errno
import gc
import http.client
import os
import select
import selectors
import socket
import socketserver
import ssl
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import stackless
from receiving import receiving
from stackless import monkey

sys.path.append(str(Path(__file__).parents[1] / "sockets"))
import certificates  # noqa: E402

pytestmark = pytest.mark.usefixtures("patched")


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


# ---------------------------------------------------------------------- sockets


def test_sockets_are_the_standard_ones(pair):
    """The class itself is the standard one, and so are the objects that it makes."""
    assert type(pair[0]) is socket.socket
    assert not isinstance(pair[0], monkey.original("socket", "socket"))
    assert repr(pair[0]).startswith("<socket.socket fd=")


CALLS = receiving(4) | {"makefile": lambda s: s.makefile("rb", 0).read(4)}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("timeout", [None, 5.1])
def test_receiving(pair, ticks, name, timeout):
    """The tasklet waits; flags and timeout do not change."""
    near, far = pair
    near.settimeout(timeout)
    waiting = stackless.run_tasklet(CALLS[name], near)
    time.sleep(0.005)
    assert waiting.alive and ticks.number > 1
    far.sendall(b"data")
    [got] = stackless.run_all()
    assert got in (b"data", 4, (b"data", None), (4, None)) or got[0] in (b"data", 4)
    assert near.gettimeout() == timeout
    assert os.get_blocking(near.fileno()) is (timeout is None)


@pytest.mark.parametrize("name", CALLS)
def test_timeouts(pair, ticks, name):
    near, _ = pair
    near.settimeout(0.011)
    for _ in range(3):
        with pytest.raises(TimeoutError, match="timed out"):
            CALLS[name](near)
        assert near.gettimeout() == 0.011
    assert ticks.number > 1


def test_sending(pair, ticks):
    """sendall, sendmsg and sendfile, with more data than the buffers hold."""
    near, far = pair
    data = os.urandom(1_000_000)

    def sends():
        near.sendall(data)
        sent = 0
        while sent < len(data):
            sent += near.sendmsg([memoryview(data)[sent:]])
        near.shutdown(socket.SHUT_WR)

    stackless.tasklet(sends)()
    received = b""
    while more := far.recv(65536):
        received += more
    assert received == data * 2


def test_sendfile(pair, tmp_path):
    data = os.urandom(1_000_000)
    (tmp_path / "data").write_bytes(data)

    def sends():
        with (tmp_path / "data").open("rb") as file:
            return pair[0].sendfile(file)

    stackless.run_tasklet(sends)
    received = b""
    while len(received) < len(data):
        received += pair[1].recv(65536)
    assert received == data and stackless.run_all() == [len(data)]


def test_datagrams(ticks):
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        stackless.run_tasklet(one.recvfrom, 100)
        stackless.schedule()
        two.sendto(b"x", one.getsockname())
        [(data, address)] = stackless.run_all()
        assert data == b"x" and address[1] == two.getsockname()[1]


def test_connections(ticks):
    """accept, connect to a host name, and a refused connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = stackless.tasklet(listener.accept)
        accepting._keep_result()
        accepting()
        with socket.create_connection(("localhost", listener.getsockname()[1])) as s:
            connection, address = accepting.join()
            with connection:
                assert type(connection) is socket.socket
                assert address == s.getsockname()
                connection.sendall(b"x")
                assert s.recv(1) == b"x"
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    assert ticks.number > 0


def test_accept_in_time(ticks):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert ticks.number > 1


def test_names(ticks):
    """Names are looked up on worker threads; the results are those of the standard functions."""
    assert socket.getaddrinfo("localhost", 80) == monkey.original("socket", "getaddrinfo")(
        "localhost", 80
    )
    assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
    assert socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)[0] == "127.0.0.1"
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nonsense.invalid", 80)


def test_sockets_change_sides(ticks):
    """A socket is made outside, used in a tasklet, in a thread, and in a tasklet again."""
    monkey.unpatch_all()
    near, far = socket.socketpair()
    monkey.patch_all()
    with near, far:
        stackless.run_tasklet(near.recv, 1)
        stackless.schedule()
        thread = threading.Thread(target=lambda: (time.sleep(0.01), far.sendall(b"ab")))
        thread.start()
        assert stackless.run_all() == [b"a"]
        thread.join()
        got = []
        thread = threading.Thread(target=lambda: got.append(near.recv(1)))
        thread.start()
        thread.join()
        monkey.unpatch_all()
        far.sendall(b"c")
        assert got == [b"b"] and near.recv(1) == b"c"
        monkey.patch_all()


def test_standard_socket_beside_ours(pair):
    """stackless.socket continues to work as before: in main, also when main is alone."""
    from stackless import socket as ours

    near, far = ours.socketpair()
    with near, far:
        near.settimeout(0.001)
        with pytest.raises(TimeoutError):
            near.recvfrom(1)
        stackless.run_tasklet(near.recvfrom, 1)
        near.settimeout(None)
        stackless.schedule()
        far.send(b"x")
        assert stackless.run_all()[0][0] == b"x"


@pytest.mark.parametrize("how", ["close", "detach"])
def test_closed_while_a_tasklet_waits(pair, how):
    near, _ = pair
    codes = []

    def waits():
        try:
            near.recv(1)
        except OSError as error:
            codes.append(error.errno)

    stackless.tasklet(waits)()
    stackless.schedule()
    number = getattr(near, how)()
    if how == "detach":
        os.close(number)
    stackless.run()
    assert codes == [errno.EBADF]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lost", ["dropped", "os.close"])
def test_closed_without_notice(ticks, lost):
    """The number of a descriptor that was waited for is used again: no tasklet waits for ever."""
    near, far = socket.socketpair()
    near.settimeout(0.001)
    with pytest.raises(TimeoutError):
        near.recv(1)
    number = near.fileno()
    if lost == "dropped":
        del near
    else:
        os.close(near.fileno())
    gc.collect()
    pairs = [socket.socketpair() for _ in range(3)]
    [(mine, other)] = [p if p[0].fileno() == number else p[::-1] for p in pairs
                       if number in (p[0].fileno(), p[1].fileno())]  # fmt: skip
    stackless.run_tasklet(mine.recv, 1)
    time.sleep(0.002)
    other.sendall(b"x")
    with stackless.timeout(5):
        assert stackless.run_all() == [b"x"]
    if lost == "os.close":
        near.detach()
    for s in (far, *sum(pairs, ())):
        s.close()


def test_non_blocking(pair):
    near, _ = pair
    near.setblocking(False)

    def tries():
        for call in CALLS.values():
            try:
                assert call(near) is None  # makefile().read()
            except BlockingIOError:
                pass
        return "done"

    stackless.run_tasklet(tries)
    assert stackless.run_all() == ["done"]


# ---------------------------------------------------------------------- TLS


def test_tls(tmp_path, ticks):
    """Standard contexts; client and server are tasklets."""
    authority, own = certificates.make(tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(own)
    asking = ssl.create_default_context(cafile=authority)
    data = os.urandom(500_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with serving.wrap_socket(connection, server_side=True) as secure:
                received = b""
                while len(received) < len(data):
                    received += secure.recv(65536)
                secure.sendall(received)
                secure.unwrap()

        def client():
            with socket.create_connection(listener.getsockname()) as plain:
                with asking.wrap_socket(plain, server_hostname="localhost") as secure:
                    assert type(secure) is ssl.SSLSocket
                    secure.settimeout(10.1)
                    secure.sendall(data)
                    received = b""
                    while len(received) < len(data):
                        received += secure.recv(65536)
                    secure.unwrap()
                    assert secure.gettimeout() == 10.1
                    return received

        stackless.run_tasklet(serve)
        stackless.run_tasklet(client)
        assert stackless.run_all() == [None, data]


def test_tls_timeout(pair, ticks):
    context = ssl.create_default_context()
    pair[0].settimeout(0.02)
    with pytest.raises(TimeoutError, match="handshake operation timed out"):
        context.wrap_socket(pair[0], server_hostname="localhost")
    assert ticks.number > 1


# ---------------------------------------------------------------------- select and selectors


def test_select(pair, ticks):
    near, far = pair
    assert select.select([near], [], [], 0.01) == ([], [], [])
    assert ticks.number > 1
    stackless.run_tasklet(select.select, [near], [], [])
    stackless.schedule()
    far.send(b"x")
    assert stackless.run_all() == [([near], [], [])]


@pytest.mark.parametrize("kind", ["poll", "epoll"])
def test_poll_objects(pair, ticks, kind):
    near, far = pair
    asked = getattr(select, kind)()
    asked.register(near, select.POLLIN)
    assert asked.poll(0.01 if kind == "epoll" else 10) == []
    assert ticks.number > 1
    stackless.run_tasklet(asked.poll)
    stackless.schedule()
    far.send(b"x")
    assert stackless.run_all() == [[(near.fileno(), select.POLLIN)]]
    ticks.tasklet.kill()
    assert asked.poll(0) == [(near.fileno(), select.POLLIN)]
    if kind == "epoll":
        assert isinstance(asked, select.epoll)
        assert isinstance(monkey.original("select", "epoll")(), select.epoll)
        asked.close()


@pytest.mark.parametrize(
    "kind", [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector]
)
def test_selectors(pair, ticks, kind):
    """Including those made before the patch."""
    near, far = pair
    monkey.unpatch_all()
    earlier = kind()
    monkey.patch_all()
    for selector in (earlier, kind()):
        with selector:
            selector.register(near, selectors.EVENT_READ, "data")
            before = ticks.number
            assert selector.select(0.05) == []
            assert ticks.number > before + 1
            assert selector.select(0) == selector.select(-1) == []
            stackless.run_tasklet(selector.select)
            stackless.schedule()
            far.send(b"x")
            [[(key, events)]] = stackless.run_all()
            assert (key.data, events) == ("data", selectors.EVENT_READ)
            near.recv(1)


@pytest.mark.filterwarnings("ignore")
def test_asyncio(ticks):
    """asyncio.run() in a tasklet lets other tasklets run while its event loop waits."""

    async def program():
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        await asyncio.sleep(0.01)
        data = await reader.read(100)
        writer.close()
        return data

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            time.sleep(0.02)
            with connection:
                connection.sendall(b"hello")

        stackless.tasklet(serve)()
        stackless.run_tasklet(asyncio.run, program())
        assert stackless.run_all() == [b"hello"]
    assert ticks.number > 5


# ---------------------------------------------------------------------- library servers and clients


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pause = 0.05

    def do_GET(self):
        for _ in range(10):  # other tasklets have a turn whenever it waits
            time.sleep(self.pause / 10)
        body = f"page {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(HTTPServer):
    """A tasklet for each connection."""

    request_queue_size = 1024

    def process_request(self, request, client_address):
        handling = stackless.tasklet(self.handle_in_tasklet)(request, client_address)
        handling.daemon = True

    def handle_in_tasklet(self, request, client_address):
        try:
            self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)


@pytest.fixture
def web():
    with Server(("127.0.0.1", 0), Answers) as server:
        serving = stackless.tasklet(server.serve_forever)(0.05)
        serving.daemon = True
        yield server.server_port
        server._BaseServer__shutdown_request = True
        while serving.alive:
            time.sleep(0.01)
        stackless.run()


def test_500_pages(web, ticks):
    """urllib, http.client and http.server, unmodified: all requests at once, while others run."""
    open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def fetch(n):
        with open_url(f"http://127.0.0.1:{web}/{n}") as answer:
            return answer.status, answer.read()

    under_way = most = 0

    def counted(n):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return fetch(n)
        finally:
            under_way -= 1

    started = time.monotonic()
    for n in range(500):
        stackless.run_tasklet(counted, n)
    assert stackless.run_all() == [(200, b"page /%d" % n) for n in range(500)]
    one_by_one = 500 * Answers.pause
    assert time.monotonic() - started < one_by_one / 2
    assert most > 100
    assert ticks.number > 10


def test_http_client_keeps_a_connection(web):
    connection = http.client.HTTPConnection("127.0.0.1", web, timeout=10)
    for n in range(3):
        connection.request("GET", f"/{n}")
        assert connection.getresponse().read() == b"page /%d" % n
    connection.close()


def test_plain_threads_are_left_alone(ticks):
    """A threading server answers threads while the tasklets of this thread continue."""

    class Echo(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(self.rfile.readline().upper())

    class Threads(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Threads(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        for n in range(5):
            with socket.create_connection(server.server_address) as s:
                s.sendall(b"line %d\n" % n)
                assert s.makefile("rb").readline() == b"LINE %d\n" % n
        server.shutdown()
        thread.join()
