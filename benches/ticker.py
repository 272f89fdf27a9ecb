"""How late a ticker of 5 ms wakes while 200 clients do TLS handshakes, and no thread ever sleeps.

The clients use the standard modules, patched: the server is in another process. Each peer runs in a
process of its own, in turns; the best of a few rounds counts.

    python benches/ticker.py [--clients N] [--seconds S] [--rounds N]
"""

import argparse
import json
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import own_process
import peers

PERIOD = 0.005


def serve(directory: str) -> None:
    """Accept, do the handshake and answer one byte, in threads."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/certificate.pem", f"{directory}/key.pem")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with context.wrap_socket(self.request, server_side=True) as connection:
                    connection.sendall(connection.recv(1))
            except OSError:
                pass

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 1000
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


class Work:
    """What both kinds of peers run: `sleep` and `start` are theirs."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.late: list[float] = []
        self.handshakes = 0
        self.context = ssl.create_default_context(cafile=f"{given.directory}/certificate.pem")
        self.context.check_hostname = False

    def client(self) -> None:
        while time.monotonic() < self.end:
            address = ("127.0.0.1", self.given.port)
            with socket.create_connection(address) as connection:
                with self.context.wrap_socket(connection) as tls:
                    tls.sendall(b"x")
                    tls.recv(1)
            self.handshakes += 1

    def ticker(self) -> None:
        while (begun := time.monotonic()) < self.end:
            self.sleep(PERIOD)
            self.late.append(time.monotonic() - begun - PERIOD)

    def run(self, start: Callable[..., Any], wait: Callable[[list[Any]], Any]) -> dict[str, float]:
        self.sleep = time.sleep
        self.end = time.monotonic() + self.given.seconds
        began = time.process_time()
        running = [start(self.client) for _ in range(self.given.clients)]
        running.append(start(self.ticker))
        wait(running)
        used = time.process_time() - began
        ordered = sorted(self.late)
        return {
            "longest": ordered[-1] * 1e3,
            "99 of 100": ordered[len(ordered) * 99 // 100] * 1e3,
            "median": ordered[len(ordered) // 2] * 1e3,
            "processor time of a handshake": used / self.handshakes * 1e3,
        }


def ours(given: argparse.Namespace) -> dict[str, float]:
    from stackless import monkey

    monkey.patch_all()
    return Work(given).run(
        lambda function: peers.stackless.tasklet(function)(), lambda _: peers.stackless.run()
    )


def gevents(given: argparse.Namespace) -> dict[str, float]:
    from gevent import monkey

    monkey.patch_all()
    return Work(given).run(peers.gevent.spawn, peers.gevent.joinall)


def threads(given: argparse.Namespace) -> dict[str, float]:
    def start(function: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=function)
        thread.start()
        return thread

    return Work(given).run(start, lambda all_threads: [each.join() for each in all_threads])


PEERS = {"ours": (ours, "stackless"), "gevent": (gevents, "gevent"), "threads": (threads, None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=[*PEERS, "server"], help=argparse.SUPPRESS)
    parser.add_argument("--directory", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer == "server":
        return serve(given.directory)
    if given.peer:
        print(json.dumps(PEERS[given.peer][0](given)))
        return None

    with tempfile.TemporaryDirectory() as directory:
        make_certificate(Path(directory))
        command = [sys.executable, __file__, "--peer", "server", "--directory", directory]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdin is not None and server.stdout is not None
            arguments = ["--clients", str(given.clients), "--seconds", str(given.seconds)]
            arguments += ["--directory", directory, "--port", server.stdout.readline().strip()]
            found = own_process.best(__file__, PEERS, arguments, given.rounds)
            server.stdin.close()
    print(f"{'milliseconds':<34}" + "".join(f"{name:>10}" for name in found))
    for name in found["ours"]:
        print(f"{name:<34}" + "".join(f"{figures[name]:10.2f}" for figures in found.values()))
    if "gevent" in found:
        ratio = found["ours"]["longest"] / found["gevent"]["longest"]
        print(f"longest: {ratio:.2f} x gevent, required <= 1.0")
    return None


def make_certificate(directory: Path) -> None:
    names = ["-keyout", directory / "key.pem", "-out", directory / "certificate.pem"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*made, *names, "-days", "1"], check=True, capture_output=True)


if __name__ == "__main__":
    main()
