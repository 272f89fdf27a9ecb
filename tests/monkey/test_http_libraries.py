"""Unmodified HTTP libraries: many tasklets share one client or session."""

import http.server
import threading

import pytest
import stackless
from stackless import servers

USERS = 100
REQUESTS = 3


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if "wait" in self.path:
            stackless.sleep(0.002)
        body = self.path.encode() * 100
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


pytestmark = pytest.mark.usefixtures("patched_module")


@pytest.fixture
def address():
    """The address of a server in another thread, which has tasklets of its own."""
    with servers.TaskletHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def httpx_client():
    httpx = pytest.importorskip("httpx", reason="httpx is not installed: requirements-dev.txt")
    # Its pool waits in locks of the thread if there are more users than connections.
    return httpx.Client(timeout=30, trust_env=False, limits=httpx.Limits(max_connections=USERS))


def requests_session():
    requests = pytest.importorskip(
        "requests", reason="requests is not installed: requirements-dev.txt"
    )
    session = requests.Session()
    session.trust_env = False
    return session


@pytest.mark.parametrize("path", ["now", "wait"])
@pytest.mark.parametrize("make", [httpx_client, requests_session])
def test_shared(address, make, path):
    with make() as client:

        def user(number):
            for again in range(REQUESTS):
                wanted = f"/{path}/{number}/{again}"
                answer = client.get(address + wanted)
                assert answer.status_code == 200
                assert answer.text == wanted * 100
            return number

        for number in range(USERS):
            stackless.run_tasklet(user, number)
        assert stackless.run_all() == list(range(USERS))
