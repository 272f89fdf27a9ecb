"""`python -m stackless serve`: worker processes, signals, TLS, Unix sockets, the access log."""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from child_process import run_child

pytest.importorskip("httptools")
sys.path.append(str(Path(__file__).parents[1] / "sockets"))
import certificates  # noqa: E402

PATIENCE = 30
APPLICATION = """
import os, threading, time
VERSION = "one"

def application(environ, start_response):
    path, seconds = environ["PATH_INFO"], float(environ["QUERY_STRING"] or 0)
    if path == "/block":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass
    if path == "/die":
        os._exit(9)
    time.sleep(seconds)
    body = f"{VERSION} {os.getpid()} {threading.active_count()} {environ['wsgi.url_scheme']}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]

def factory():
    return application
"""


class Running:
    """A server that runs as a command; `get(path)` returns the words of the answer."""

    def __init__(self, process, log, address):
        self.process, self.log, self.address = process, log, address

    def open(self):
        if self.address.startswith("unix:"):
            connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.address.removeprefix("unix:"))
        else:
            connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        return contextlib.closing(connection)

    def get(self, path="/", fields=None):
        with self.open() as connection:
            connection.request("GET", path, headers=fields or {})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            return response.read().decode().split()

    def wait(self, what):
        """Wait until `what()` is true."""
        end = time.monotonic() + PATIENCE
        while not (found := what()):
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)
        return found

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def serve(tmp_path):
    """serve(*options) starts the command with the application above, and waits for a worker."""
    (tmp_path / "app.py").write_text(APPLICATION)
    with contextlib.ExitStack() as stack:

        def start(*options, app="app", workers=1):
            command = [sys.executable, "-u", "-m", "stackless", "serve", app, *options]
            command += ["--workers", str(workers)]
            if "--bind" not in options:
                command += ["--bind", "127.0.0.1:0"]
            log = tmp_path / "log"
            with log.open("w") as file:
                process = subprocess.Popen(command, cwd=tmp_path, stderr=file)
            running = Running(process, log, "")

            def ready():
                found = re.search(r"Serving at (?:https?://)?(\S+)", log.read_text())
                running.address = found and found[1]
                return process.poll() is not None or log.read_text().count("serves") >= workers

            stack.callback(process.wait, PATIENCE)
            stack.callback(process.kill)
            running.wait(ready)
            return running

        yield start


def pids(running, count=60):
    return {running.get()[1] for _ in range(count)}


def test_requests_at_once_in_workers(serve):
    """A worker has one thread, and its requests wait at the same time."""
    running = serve(workers=2)
    answers, started = [], time.monotonic()
    threads = [
        threading.Thread(target=lambda: answers.append(running.get("/?0.5"))) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 40 * 0.5 / 2
    assert len(answers) == 40 and {threads for _, _, threads, _ in answers} == {"1"}
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


def test_without_patches(serve):
    """Requests of a worker wait one after the other, if they use what is not patched."""
    running = serve("--no-patch")
    started = time.monotonic()
    threads = [threading.Thread(target=running.get, args=["/?0.3"]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started > 1.1


@pytest.mark.parametrize("app", ["app:application", "app:factory()"])
def test_names_of_applications(serve, app):
    assert serve(app=app).get()[0] == "one"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_graceful_stop(serve, number):
    """Running requests end, idle connections are closed, new ones are refused."""
    running = serve()
    with running.open() as idle, running.open() as busy:
        idle.request("GET", "/")
        idle.getresponse().read()
        busy.request("GET", "/?1.5")
        time.sleep(0.3)
        running.process.send_signal(number)
        assert idle.sock.recv(1) == b""
        response = busy.getresponse()
        assert response.status == 200 and response.headers["Connection"] == "close"
    assert running.process.wait(PATIENCE) == 0
    with pytest.raises(ConnectionError):
        running.get()


def test_request_after_the_stop_on_a_new_connection(serve):
    """A client that connected just before is answered; one that sends nothing is not waited for."""
    running = serve()
    with running.open() as late, running.open() as silent:
        late.connect()
        silent.connect()
        time.sleep(0.3)
        running.process.send_signal(signal.SIGTERM)
        running.wait(lambda: "Stopping" in running.log.read_text())
        time.sleep(0.1)
        late.request("GET", "/")
        assert late.getresponse().status == 200
        assert running.process.wait(PATIENCE / 2) == 0


def test_graceful_stop_has_a_limit(serve):
    """A request that takes too long is given up."""
    running = serve("--graceful-timeout", "0.5")
    with running.open() as connection:
        connection.request("GET", "/?60")
        time.sleep(0.3)
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 20
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            connection.getresponse()
    assert "did not end in time" in running.log.read_text()


def test_second_signal_stops_at_once(serve):
    running = serve()
    with running.open() as connection:
        connection.request("GET", "/?60")
        time.sleep(0.3)
        running.process.send_signal(signal.SIGINT)
        running.wait(lambda: "Stopping" in running.log.read_text())
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0


def test_dead_workers_are_replaced(serve):
    running = serve()
    (before,) = pids(running, 1)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        running.get("/die")
    (after,) = pids(running, 1)
    assert before != after and "ended with status 9" in running.log.read_text()


def test_blocked_workers_are_replaced(serve):
    """One that does nothing but one request for too long is killed."""
    running = serve("--worker-timeout", "1")
    (before,) = pids(running, 1)
    with running.open() as connection:
        connection.request("GET", "/block")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            connection.getresponse()
    assert pids(running, 1) != {before}
    assert "does not answer" in running.log.read_text()


def test_workers_end_with_the_main_process(serve):
    running = serve(workers=2)
    found = pids(running)
    running.process.kill()
    running.wait(lambda: not any(Path("/proc", pid).exists() for pid in found))


def change(running, tmp_path, old, new):
    """Write a new version; its length differs, so that a cached one is not taken for it."""
    text = (tmp_path / "app.py").read_text()
    (tmp_path / "app.py").write_text(text.replace(old, new))


def test_reload(serve, tmp_path):
    """SIGHUP: new code, while clients connect and none is refused; running requests end."""
    running = serve(workers=2)
    versions, errors, stop = [], [], []

    def client():
        while not stop:
            try:
                versions.append(running.get("/?0.01")[0])
            except (OSError, http.client.HTTPException) as error:
                errors.append(error)

    clients = [threading.Thread(target=client) for _ in range(4)]
    slow = threading.Thread(target=lambda: versions.append(running.get("/?1.5")[0] + " slow"))
    for thread in [*clients, slow]:
        thread.start()
    time.sleep(0.3)
    old = pids(running, 20)
    change(running, tmp_path, '"one"', '"second"')
    running.process.send_signal(signal.SIGHUP)
    running.wait(lambda: versions[-1] == "second" and "one" not in versions[-50:])
    slow.join()
    running.wait(lambda: not any(Path("/proc", pid).exists() for pid in old))
    stop.append(True)
    for thread in clients:
        thread.join()
    assert errors == [] and "one slow" in versions
    assert running.stop() == 0


def test_reload_of_broken_code(serve, tmp_path):
    """The old workers go on; the next reload works."""
    running = serve()
    change(running, tmp_path, '"one"', "broken broken")
    running.process.send_signal(signal.SIGHUP)
    running.wait(lambda: "old application go on" in running.log.read_text())
    assert running.get()[0] == "one" and "SyntaxError" in running.log.read_text()
    change(running, tmp_path, "broken broken", '"third version"')
    running.process.send_signal(signal.SIGHUP)
    running.wait(lambda: running.get()[0] == "third")
    assert running.stop() == 0


def test_reload_by_itself(serve, tmp_path):
    running = serve("--reload")
    time.sleep(1.5)  # the files have been looked at once
    change(running, tmp_path, '"one"', '"second"')
    running.wait(lambda: running.get()[0] == "second")


def test_application_that_cannot_be_loaded(serve, tmp_path):
    (tmp_path / "bad.py").write_text("1/0")
    for app, why in (("bad", "ZeroDivisionError"), ("app:no", "no"), ("nowhere", "nowhere")):
        running = serve(app=app, workers=2)
        assert running.process.wait(PATIENCE) == 3
        assert why in running.log.read_text()


def test_unix_socket(serve, tmp_path):
    """A file that was left behind is replaced; it is removed at the end; permissions."""
    path = tmp_path / "socket"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    running = serve("--bind", f"unix:{path}", "--socket-mode", "600")
    assert running.get()[0] == "one"
    assert path.stat().st_mode & 0o777 == 0o600
    second = serve("--bind", f"unix:{path}")
    assert second.process.wait(PATIENCE) == 1
    assert running.stop() == 0
    assert not path.exists()


def test_inherited_socket(tmp_path):
    """As systemd passes one."""
    (tmp_path / "app.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        command = [sys.executable, "-m", "stackless", "serve", "app", "--bind", f"fd:{number}"]
        process = subprocess.Popen(command, cwd=tmp_path, pass_fds=[number])
        try:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
                connection.request("GET", "/")
                assert connection.getresponse().status == 200
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


def test_tls(serve, tmp_path):
    """A handshake that never comes delays no other; errors of TLS harm nothing."""
    authority, pem = certificates.make(tmp_path)
    running = serve("--certfile", str(pem), "--header-timeout", "1")
    host, _, port = running.address.partition(":")
    context = ssl.create_default_context(cafile=str(authority))
    with socket.create_connection((host, port), PATIENCE) as silent:
        with socket.create_connection((host, port), PATIENCE) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            connection = http.client.HTTPSConnection("localhost", int(port), context=context)
            with contextlib.closing(connection):
                for _ in range(3):
                    connection.request("POST", "/", b"x" * 100_000)
                    response = connection.getresponse()
                    assert response.read().decode().split()[3] == "https"
                    connection.close()
        assert silent.recv(1) in (b"", b"\x15")  # an alert of TLS
    assert "Traceback" not in running.log.read_text()


def test_access_log(serve, tmp_path):
    """Common log format; what a client sends cannot make other lines; rotation."""
    path = tmp_path / "access"
    running = serve("--access-log", str(path))
    running.get("/a%20b?0", {"User-Agent": 'x" "y'})
    running.wait(lambda: path.exists() and path.read_text())
    pattern = r"127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
    pattern += r'"GET /a%20b\?0 HTTP/1\.1" 200 \d+\n'
    assert re.fullmatch(pattern, path.read_text())
    path.rename(tmp_path / "old")
    running.get("/rotated?0")
    running.wait(lambda: path.exists() and "rotated" in path.read_text())
    running.stop()
    running = serve("--access-log", str(path), "--access-format", "combined")
    running.get("/", {"User-Agent": 'x" "y\xe9', "Referer": "r"})
    running.stop()
    assert path.read_text().endswith(' "r" "x\\" \\"y\\xe9"\n')


def test_access_log_on_stdout(tmp_path):
    (tmp_path / "app.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        command = [sys.executable, "-m", "stackless", "serve", "app", "--bind", f"fd:{number}"]
        process = subprocess.Popen(
            [*command, "--access-log", "-"],
            cwd=tmp_path, pass_fds=[number], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with socket.create_connection(listener.getsockname()) as connection:
            connection.sendall(b"bad\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
        process.terminate()
        output, _ = process.communicate(timeout=PATIENCE)
    assert re.fullmatch(r'127.0.0.1 - - \[.*\] "- - HTTP/1.1" 400 \d+\n', output)


def test_wrong_options():
    """They are named; the exit status is 2."""
    for options, text in (
        (["--workers", "0"], "workers must be at least 1"),
        (["--keyfile", "k"], "keyfile needs certfile"),
        (["--bind", "8000"], "not an address"),
        (["--socket-mode", "9"], "octal"),
    ):
        command = [sys.executable, "-m", "stackless", "serve", "app", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and text in done.stderr


def test_without_httptools():
    """The message names what to install."""
    child = run_child(
        """
        import sys
        sys.modules["httptools"] = None
        from stackless.__main__ import main
        print(main(["serve", "app"]))
        try:
            from stackless.integrations import wsgi
        except ImportError as error:
            print(error)
        """
    )
    assert child.stdout.startswith("1\n")
    assert "stackless-rs[serve]" in child.stdout and "stackless-rs[serve]" in child.stderr


def test_serve_from_python(tmp_path):
    """The function serves an application object; it returns after SIGTERM."""
    program = """
import signal, socket, sys, threading
from stackless.integrations import wsgi

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from Python"]

handler = signal.getsignal(signal.SIGTERM)
wsgi.serve(app, bind="unix:socket")
print("returned", signal.getsignal(signal.SIGTERM) == handler)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    running = Running(process, tmp_path / "none", f"unix:{tmp_path}/socket")
    end = time.monotonic() + PATIENCE
    while not os.path.exists(tmp_path / "socket") and time.monotonic() < end:
        time.sleep(0.02)
    assert running.get() == ["from", "Python"]
    process.terminate()
    assert process.communicate(timeout=PATIENCE)[0] == "returned True\n"
