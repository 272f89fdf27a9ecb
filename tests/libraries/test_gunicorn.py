"""gunicorn with the worker of `stackless.integrations.gunicorn`."""

import contextlib
import http.client
import signal
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import servers

sys.path.append(str(Path(__file__).parents[1] / "sockets"))
import certificates  # noqa: E402

pytest.importorskip("gunicorn")

APPLICATION = """
import contextvars, threading, time
name = contextvars.ContextVar("name")
local = threading.local()
running = most = 0

def application(environ, start_response):
    global running, most
    name.set(environ["PATH_INFO"])
    local.name = environ["PATH_INFO"]
    running += 1
    most = max(most, running)
    try:
        time.sleep(float(environ["QUERY_STRING"] or 0))
        body = f"{name.get()} {local.name} {most} {threading.active_count()}".encode()
    finally:
        running -= 1
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@contextlib.contextmanager
def gunicorn(folder, *options):
    """Run it with one worker process; gives the port and the process."""
    (folder / "app.py").write_text(APPLICATION)
    port = servers.free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options]
    command += ["--worker-class", "stackless.integrations.gunicorn.TaskletWorker"]
    log = folder / "log"
    command += ["--log-file", str(log), "--no-control-socket", "app:application"]
    server = subprocess.Popen(command, cwd=folder)
    try:
        servers.wait_for(port, server, log.read_text)
        yield port, server
    finally:
        server.terminate()
        server.wait(30)


def connect(port):
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30))


def ask(connection, path):
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def get(port, path):
    with connect(port) as connection:
        return ask(connection, path)


def test_many_requests_at_once(tmp_path):
    """On one thread, each with its own context and threading.local."""
    with gunicorn(tmp_path) as (port, _), ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda n: get(port, f"/{n}?0.5"), range(100)))
    for number, (status, body) in enumerate(answers):
        assert status == 200 and body.split()[:2] == [f"/{number}"] * 2
    most, threads = zip(*(map(int, body.split()[2:]) for _, body in answers), strict=True)
    assert max(most) > 50 and max(threads) == 1


def test_connections_are_kept_for_a_time(tmp_path):
    """Several requests on a connection; it is closed when it is idle for too long."""
    with gunicorn(tmp_path, "--keep-alive", "1") as (port, _):
        with connect(port) as connection:
            for _ in range(3):
                assert ask(connection, "/kept")[0] == 200
            started = time.monotonic()
            assert connection.sock.recv(1) == b""
            assert 0.5 < time.monotonic() - started < 20


def test_number_of_connections(tmp_path):
    """More connections than allowed wait until others are closed."""
    with (
        gunicorn(tmp_path, "--worker-connections", "2") as (port, _),
        ThreadPoolExecutor(6) as pool,
    ):
        bodies = [body for _, body in pool.map(lambda _: get(port, "/?0.1"), range(6))]
    assert max(int(body.split()[2]) for body in bodies) == 2


@pytest.mark.parametrize(("patience", "status"), [("30", 200), ("1", None)])
def test_stopping(tmp_path, patience, status):
    """SIGTERM lets a request end, for at most the graceful timeout."""
    with gunicorn(tmp_path, "--graceful-timeout", patience) as (port, server):
        answers = []

        def work():
            try:
                answers.append(get(port, "/?2.5")[0])
            except (http.client.HTTPException, OSError):
                answers.append(None)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.5)
        server.send_signal(signal.SIGTERM)
        thread.join()
        assert server.wait(30) == 0
    assert answers == [status]
    with pytest.raises(OSError):
        get(port, "/")


def test_worker_is_replaced_after_its_number_of_requests(tmp_path):
    """Without a lost request."""
    with gunicorn(tmp_path, "--max-requests", "5") as (port, _):
        for _ in range(20):
            assert get(port, "/")[0] == 200
        assert (tmp_path / "log").read_text().count("Booting worker") > 1


def test_tls(tmp_path):
    """Handshakes in the tasklet of the connection: one that never comes delays no other."""
    authority, server = certificates.make(tmp_path)
    context = ssl.create_default_context(cafile=authority)
    options = ["--certfile", str(server), "--keyfile", str(server)]
    with gunicorn(tmp_path, *options) as (port, _), connect(port) as silent:
        silent.connect()
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        with contextlib.closing(connection):
            assert ask(connection, "/tls")[0] == 200
