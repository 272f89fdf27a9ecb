"""stackless.servers: a tasklet for each connection of the standard library's servers."""

import errno
import functools
import gc
import http.server
import io
import os
import socket as stock
import socketserver
import threading

import pytest
import stackless
from child_process import assert_child
from stackless import _stackless, servers, socket, sync


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"hello " + self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Quiet:
    """Records errors instead of printing them."""

    def handle_error(self, request, client_address):
        import sys

        vars(self).setdefault("errors", []).append(sys.exc_info()[1])


@pytest.fixture
def serve():
    """Starts servers in tasklets, and ends them."""
    started = []

    def start(kind, handler, address=("127.0.0.1", 0)):
        server = kind(address, handler)
        started.append((server, stackless.tasklet(server.serve_forever)(0.01)))
        stackless.schedule()
        return server

    yield start
    for server, t in started:
        server.shutdown()
        assert not t.alive
        server.server_close()
    stackless.run()


def ask(address, line=b"hello\n", family=socket.AF_INET):
    with socket.socket(family) as s:
        s.connect(address)
        s.sendall(line)
        s.shutdown(stock.SHUT_WR)
        with s.makefile("rb") as file:
            return file.read()


def get(file, connection, path=b"/"):
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    assert file.readline().startswith(b"HTTP/1.1 200 ")
    size = 0
    while (line := file.readline().lower()) != b"\r\n":
        if line.startswith(b"content-length:"):
            size = int(line.split()[1])
    return file.read(size)


# ---------------------------------------------------------------------- serving


def test_many_at_once(serve):
    """All connections are open at the same time."""
    server = serve(servers.TaskletTCPServer, Echo)
    assert type(server.socket) is socket.socket
    ready = []

    def client(n):
        with socket.create_connection(server.server_address) as s, s.makefile("rb") as file:
            s.sendall(b"first %d\n" % n)
            first = file.readline()
            ready.append(n)
            while len(ready) < 100:
                stackless.sleep(0.001)
            s.sendall(b"second\n")
            return first, file.readline()

    for n in range(100):
        stackless.run_tasklet(client, n)
    assert stackless.run_all() == [(b"FIRST %d\n" % n, b"SECOND\n") for n in range(100)]


def test_http(serve):
    """Several requests on one connection, with others between."""
    server = serve(servers.TaskletHTTPServer, Hello)

    def client(n):
        with socket.create_connection(server.server_address) as s, s.makefile("rb") as file:
            return [get(file, s, b"/%d/%d" % (n, i)) for i in range(5)]

    for n in range(20):
        stackless.run_tasklet(client, n)
    found = stackless.run_all()
    assert found == [[b"hello /%d/%d" % (n, i) for i in range(5)] for n in range(20)]


def test_http_with_the_standard_client(serve):
    """urllib in a thread that has no tasklets."""
    import urllib.request

    server = serve(servers.TaskletHTTPServer, Hello)
    url = f"http://127.0.0.1:{server.server_port}/path"

    def fetch():
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read()

    assert stackless.to_thread(fetch) == b"hello /path"


def test_idle_connection_can_be_parked(serve):
    """A connection that is kept alive, before and after a request."""
    server = serve(servers.TaskletHTTPServer, Hello)
    before = set(all_tasklets())
    with socket.create_connection(server.server_address) as s, s.makefile("rb") as file:
        for n in range(3):
            stackless.sleep(0.005)
            [t] = set(all_tasklets()) - before
            assert t.paused and _stackless._why_not_parked(t) is None
            _stackless._park(t)
            assert get(file, s, b"/%d" % n) == b"hello /%d" % n
    stackless.run_tasklet(stackless.sleep, 0.005)
    stackless.run_all()
    assert not t.alive


def all_tasklets():
    import gc

    return [o for o in gc.get_objects() if isinstance(o, stackless.tasklet) and o.alive]


def test_unix_and_datagrams(serve, tmp_path):
    """The other servers."""

    class Answer(socketserver.DatagramRequestHandler):
        def handle(self):
            stackless.sleep(0.001)
            self.wfile.write(self.rfile.read().upper())

    path = str(tmp_path / "stream")
    serve(servers.TaskletUnixStreamServer, Echo, path)
    assert ask(path, b"unix\n", socket.AF_UNIX) == b"UNIX\n"
    server = serve(servers.TaskletUDPServer, Answer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for n in range(5):
            s.sendto(b"datagram %d" % n, server.server_address)
        assert sorted(s.recv(100) for _ in range(5)) == [b"DATAGRAM %d" % n for n in range(5)]
    path = str(tmp_path / "datagrams")
    serve(servers.TaskletUnixDatagramServer, Answer, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "client"))
        s.sendto(b"unix", path)
        assert s.recv(100) == b"UNIX"


def test_own_servers(serve):
    """The mix-in is put before a user's class, whose overriding methods are called."""

    class Own(Quiet, servers.TaskletMixIn, socketserver.TCPServer):
        allow_reuse_address = True
        log = ()

        def verify_request(self, request, client_address):
            self.log += ("verify",)
            return self.log.count("verify") > 1

        def service_actions(self):
            self.log += ("actions",)

    server = serve(Own, Echo)
    assert ask(server.server_address) == b""  # not accepted
    stackless.sleep(0.01)
    assert ask(server.server_address) == b"HELLO\n"
    assert set(server.log) == {"verify", "actions"}


def handler_function(request, client_address, server):
    request.recv(100)
    request.sendall(b"function")


class Meta(type):
    def __call__(cls, *arguments):
        return super().__call__(*arguments)


class WithMeta(Echo, metaclass=Meta):
    pass


class WithNew(Echo):
    def __new__(cls, *arguments):
        made = super().__new__(cls)
        made.line = b"new "
        return made

    def handle(self):
        self.wfile.write(self.line + self.rfile.readline())


class WithName(Echo):
    def __init__(self, *arguments, name):
        self.name = name
        super().__init__(*arguments)

    def handle(self):
        self.wfile.write(self.name + self.rfile.readline())


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (handler_function, b"function"),
        (WithMeta, b"HELLO\n"),
        (WithNew, b"new hello\n"),
        (functools.partial(WithName, name=b"partial "), b"partial hello\n"),
        (functools.partial(handler_function), b"function"),
    ],
)
def test_kinds_of_handlers(serve, handler, answer):
    """Any callable can be a handler."""
    server = serve(servers.TaskletTCPServer, handler)
    assert ask(server.server_address) == answer


def test_handler_with_a_timeout(serve):
    """The handler's own attribute ends an idle connection."""

    class Impatient(Hello):
        timeout = 0.01

    server = serve(servers.TaskletHTTPServer, Impatient)
    with socket.create_connection(server.server_address) as s:
        assert s.recv(1) == b""


def test_in_a_thread():
    """serve_forever() in its own thread, ended from this one."""
    with servers.TaskletTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for n in range(10):
            stackless.run_tasklet(ask, server.server_address, b"%d\n" % n)
        assert stackless.run_all() == [b"%d\n" % n for n in range(10)]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("daemons", [False, True])
def test_thread_ends_before_the_handlers(daemons):
    """The handlers are stopped with their thread; server_close() closes their connections."""

    class Server(servers.TaskletTCPServer):
        daemon_tasklets = daemons

    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        clients = [socket.create_connection(server.server_address) for _ in range(3)]
        for client in clients:
            client.sendall(b"one\n")
            assert client.recv(10) == b"ONE\n"
        server.shutdown()
        thread.join()
        del thread
        gc.collect()  # an unclosed socket warns, and a warning fails the test
    for client in clients:
        client.settimeout(30)
        with client:
            assert client.recv(10) == b""


def test_thread_lets_the_handlers_finish():
    began = threading.Event()

    class Slow(socketserver.StreamRequestHandler):
        def handle(self):
            began.set()
            stackless.sleep(0.01)
            self.wfile.write(b"done")

    with servers.TaskletTCPServer(("127.0.0.1", 0), Slow) as server:

        def serve():
            server.serve_forever()
            stackless.run()

        thread = threading.Thread(target=serve)
        thread.start()
        with socket.create_connection(server.server_address) as client:
            assert began.wait(30)
            server.shutdown()
            assert client.recv(10) == b"done"
        thread.join()


def test_handle_request():
    """One request at a time, or none in time."""

    class Server(servers.TaskletTCPServer):
        timeout = 0.01
        timed_out = 0

        def handle_timeout(self):
            self.timed_out += 1

    with Server(("127.0.0.1", 0), Echo) as server:
        server.handle_request()
        assert server.timed_out == 1
        t = stackless.run_tasklet(ask, server.server_address)
        stackless.schedule()
        server.handle_request()
        assert t.join() == b"HELLO\n"
        stackless.run_all()
        assert server.timed_out == 1


# ---------------------------------------------------------------------- errors


def test_errors_of_handlers(serve):
    """handle_error() is called for each; the others are served."""

    class Faulty(Echo):
        def handle(self):
            line = self.rfile.readline()
            if line == b"exit\n":
                raise SystemExit(3)
            if line == b"killed\n":
                stackless.current.kill()
            self.wfile.write(b"%d" % (1 / int(line)))

    class Server(Quiet, servers.TaskletTCPServer):
        pass

    server = serve(Server, Faulty)
    for line in b"0\n", b"1\n", b"x\n", b"exit\n", b"killed\n", b"1\n":
        stackless.run_tasklet(ask, server.server_address, line)
    assert stackless.run_all() == [b"", b"1", b"", b"", b"", b"1"]
    assert [type(error) for error in server.errors] == [ZeroDivisionError, ValueError]


def test_errors_are_printed(serve, capsys):
    """By the standard handle_error()."""

    def fails(request, client_address, server):
        raise LookupError("lost")

    server = serve(servers.TaskletTCPServer, fails)
    ask(server.server_address)
    assert "LookupError: lost" in capsys.readouterr().err


def test_reset_connections(serve):
    """Errors of the handlers, not of the server."""

    class Server(Quiet, servers.TaskletTCPServer):
        pass

    server = serve(Server, Echo)
    for _ in range(20):
        s = socket.create_connection(server.server_address)
        s.send(b"line\n" * 1000)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    assert ask(server.server_address) == b"HELLO\n"
    assert {type(error) for error in server.errors} <= {ConnectionResetError, BrokenPipeError}


def test_no_more_descriptors():
    """accept() fails with EMFILE: it is tried again from time to time, until one is free."""
    assert_child(
        """
        import os, resource, socketserver, stackless
        from stackless import servers, socket
        class Hello(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.sendall(b"hello")
        class Server(servers.TaskletTCPServer):
            tries = 0
            def get_request(self):
                self.tries += 1
                return super().get_request()
        server = Server(("127.0.0.1", 0), Hello)
        t = stackless.tasklet(server.serve_forever)()
        stackless.sleep(0.01)
        clients = [socket.create_connection(server.server_address) for _ in range(3)]
        assert [c.recv(10) for c in clients] == [b"hello"] * 3
        late = socket.socket()
        highest = max(int(n) for n in os.listdir("/proc/self/fd"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = [os.dup(0) for _ in range(5)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 1, hard))
        before = server.tries
        late.connect(server.server_address)
        stackless.sleep(0.3)
        print(1 <= server.tries - before < 30)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        print(late.recv(10))
        server.shutdown()
        """,
        prints="True b'hello'",
    )


def test_sockets_that_cannot_be_waited_for():
    """TypeError."""

    class Other(stock.socket):
        pass

    with servers.TaskletTCPServer(("127.0.0.1", 0), Echo, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = Other()
        for call in (server.serve_forever, server.handle_request, server.server_bind):
            with pytest.raises(TypeError, match="Other"):
                call()


def test_interrupt():
    """Ctrl-C in a server that main runs, with a connection open; also SIGTERM's handler."""
    assert_child(
        """
        import http.server, os, signal, stackless, threading
        from stackless import servers, socket
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: print("terminated", flush=True))
        def kills():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        class Handler(http.server.SimpleHTTPRequestHandler):
            def handle(self):
                threading.Timer(0.05, kills).start()
                super().handle()
        with servers.TaskletHTTPServer(("127.0.0.1", 0), Handler) as server:
            s = socket.create_connection(server.server_address)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("interrupted")
            s.close()
        stackless.run()
        """,
        prints="terminated interrupted",
    )


# ---------------------------------------------------------------------- shutdown and closing


def test_shutdown_from_everywhere():
    """From a handler, a thread, main; before it began, by serve_forever itself, and twice."""
    ended = []

    class Stops(socketserver.BaseRequestHandler):
        def handle(self):
            self.server.shutdown()
            ended.append("handler")

    class Server(servers.TaskletTCPServer):
        stop = False

        def service_actions(self):
            if self.stop:
                self.shutdown()

    with Server(("127.0.0.1", 0), Stops) as server:
        server.shutdown()
        server.serve_forever()  # ends at once
        t = stackless.tasklet(server.serve_forever)()
        stackless.schedule()
        ask(server.server_address)
        assert ended == ["handler"] and not t.alive
        t = stackless.tasklet(server.serve_forever)(30)
        stackless.schedule()
        stackless.to_thread(server.shutdown)
        assert not t.alive
        t = stackless.tasklet(server.serve_forever)(30)
        stackless.schedule()
        with pytest.raises(RuntimeError, match="runs already"):
            server.serve_forever()
        for _ in range(3):
            stackless.run_tasklet(server.shutdown)
        stackless.run_all()
        assert not t.alive
        server.stop = True
        server.serve_forever(0.001)


@pytest.mark.parametrize("daemons", [False, True])
@pytest.mark.parametrize("block", [False, True])
def test_close_waits(daemons, block):
    """It waits for the tasklets that are not daemons."""
    begun, finished, release = [], [], sync.Event()

    class Slow(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1)
            begun.append(1)
            release.wait()
            finished.append(1)

    class Server(servers.TaskletTCPServer):
        daemon_tasklets = daemons
        block_on_close = block

    server = Server(("127.0.0.1", 0), Slow)
    t = stackless.tasklet(server.serve_forever)()
    clients = [socket.create_connection(server.server_address) for _ in range(3)]
    for s in clients:
        s.send(b"x")
    while len(begun) < 3:
        stackless.sleep(0.001)
    server.shutdown()
    if waits := block and not daemons:
        stackless.tasklet(release.set)()  # runs in server_close()
    server.server_close()
    assert finished == ([1, 1, 1] if waits else [])
    assert not t.alive and server.fileno() == -1
    release.set()
    stackless.run()
    assert finished == [1, 1, 1]
    for s in clients:
        assert s.recv(1) == b""
        s.close()


def test_close_while_it_serves():
    """serve_forever() ends."""
    server = servers.TaskletTCPServer(("127.0.0.1", 0), Echo)
    t = stackless.tasklet(server.serve_forever)(30)
    stackless.schedule()
    server.server_close()
    stackless.run()
    assert not t.alive


def test_descriptors_return_to_the_start(serve):
    """After connections that end in every way."""
    server = serve(servers.TaskletHTTPServer, Hello)

    def client(n):
        with socket.create_connection(server.server_address) as s, s.makefile("rb") as file:
            if n % 3:
                assert get(file, s) == b"hello /"
            if n % 2:
                s.sendall(b"GET / HTTP")

    def once():
        for n in range(30):
            stackless.run_tasklet(client, n)
        stackless.run_all()
        for _ in range(500):
            if len(all_tasklets()) == before:
                break
            stackless.sleep(0.01)
        return len(os.listdir("/proc/self/fd"))

    before = len(all_tasklets())
    assert once() == once()


def test_wrong_address():
    """The usual exception, and nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    with servers.TaskletTCPServer(("127.0.0.1", 0), Echo) as server:
        with pytest.raises(OSError) as caught:
            servers.TaskletTCPServer(server.server_address, Echo)
        assert caught.value.errno == errno.EADDRINUSE
    assert len(os.listdir("/proc/self/fd")) == before
    assert issubclass(servers.TaskletHTTPServer, http.server.HTTPServer)
    assert not isinstance(server, io.IOBase)
