"""Connection handlers and run_tasklet(): each call has a copy of the context."""

import contextvars
import decimal
import socketserver
import urllib.request
from http.server import BaseHTTPRequestHandler

import pytest
import stackless
from stackless import monkey, servers, socket

request = contextvars.ContextVar("request", default="nothing")


class Remembers(BaseHTTPRequestHandler):
    """Answers with what it has put into the context before it waited."""

    def do_GET(self):
        before = request.get()
        request.set(self.path)
        decimal.setcontext(decimal.Context(prec=5 + int(self.path[1:])))
        stackless.sleep(0.01)
        found = f"{before} {request.get()} {decimal.getcontext().prec}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(found.encode())

    def log_message(self, *arguments):
        pass


class Line(socketserver.StreamRequestHandler):
    def handle(self):
        request.set(self.rfile.readline())
        stackless.sleep(0.01)
        self.wfile.write(request.get())


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, answers = self.request
        request.set(data)
        stackless.sleep(0.01)
        answers.sendto(request.get(), self.client_address)


@pytest.fixture
def serve():
    started = []

    def start(kind, handler):
        server = kind(("127.0.0.1", 0), handler)
        started.append(server)
        stackless.tasklet(server.serve_forever)(0.01)
        stackless.schedule()
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()
    stackless.run()


def test_http(serve):
    """Each handler begins with the context of the tasklet that serves."""
    before = request.set("serving")
    server = serve(servers.TaskletHTTPServer, Remembers)
    url = f"http://127.0.0.1:{server.server_port}/"

    def client(number):
        with urllib.request.urlopen(f"{url}{number}") as answer:
            return answer.read().decode()

    with monkey.patched():
        for number in range(20):
            stackless.run_tasklet(client, number)
        assert stackless.run_all() == [f"serving /{n} {5 + n}" for n in range(20)]
    assert request.get() == "serving"
    request.reset(before)


def test_streams_and_datagrams(serve):
    streams = serve(servers.TaskletTCPServer, Line).server_address
    datagrams = serve(servers.TaskletUDPServer, Datagram).server_address

    def by_stream(line):
        with socket.create_connection(streams) as s:
            s.sendall(line)
            return s.recv(100)

    def by_datagram(line):
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.sendto(line, datagrams)
            return s.recv(100)

    lines = [b"%d\n" % n for n in range(20)]
    for line in lines:
        stackless.run_tasklet(by_stream, line)
        stackless.run_tasklet(by_datagram, line)
    assert stackless.run_all() == [line for line in lines for _ in range(2)]
    assert request.get() == "nothing"


def test_handle_request():
    with servers.TaskletTCPServer(("127.0.0.1", 0), Line) as server:
        with socket.create_connection(server.server_address) as s:
            s.sendall(b"x\n")
            server.handle_request()
            assert s.recv(10) == b"x\n"
    assert request.get() == "nothing"


def test_run_tasklet():
    """It starts with the caller's context, and keeps its own changes; a plain tasklet shares it."""

    def changes(value):
        found = request.get()
        request.set(value)
        stackless.sleep(0.001)
        return found, request.get()

    def caller():
        request.set("caller")
        for value in "ab":
            stackless.run_tasklet(changes, value)
        request.set("changed later")
        assert stackless.run_all() == [("caller", "a"), ("caller", "b")]
        assert request.get() == "changed later"
        stackless.tasklet(changes)("c")
        stackless.run()
        assert request.get() == "c"

    stackless.tasklet(caller).set_context(contextvars.Context())().join()
    assert request.get() == "nothing"


def test_to_thread():
    def changes(value):
        found = request.get()
        request.set(value)
        return found

    def caller():
        request.set("caller")
        for value in "ab":
            stackless.run_tasklet(stackless.to_thread, changes, value)
        assert stackless.run_all() == ["caller"] * 2
        assert request.get() == "caller"

    stackless.tasklet(caller).set_context(contextvars.Context())().join()
