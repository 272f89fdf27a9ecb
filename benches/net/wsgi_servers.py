"""WSGI servers, each with one worker process; prints its port when it accepts connections.

    python wsgi_servers.py PEER APP

APP is `hello`, which returns a few bytes, or `data`, which makes 10 kB of JSON for each request.
`../wsgi_servers.py` measures them.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

HELLO = b"hello, load\n"
ROWS = [{"id": n, "name": f"the name of {n}", "price": n * 1.25} for n in range(200)]


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))]
    start_response("200 OK", headers)
    return [HELLO]


def data(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = json.dumps(ROWS).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def _module(name: str, *arguments: str) -> Callable[[int, str], list[str]]:
    """Return what makes the command of a server that is a module; {} is the port."""

    def command(port: int, app: str) -> list[str]:
        options = [argument.format(port) for argument in arguments]
        return [sys.executable, "-m", name, *options, f"wsgi_servers:{app}"]

    return command


def _text(program: str) -> Callable[[int, str], list[str]]:
    def command(port: int, app: str) -> list[str]:
        return [sys.executable, "-c", program, str(port), app]

    return command


_GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{}", "--backlog", "1024", "--keep-alive", "75")
_GUNICORN += ("--log-level", "error", "--no-control-socket", "--worker-class")
_APP = (
    "import sys, wsgi_servers; port = int(sys.argv[1]); app = getattr(wsgi_servers, sys.argv[2])\n"
)

#: What makes the command of each peer, and the packages that it needs.
PEERS: dict[str, tuple[Callable[[int, str], list[str]], tuple[str, ...]]] = {
    "stackless serve": (
        _module("stackless", "serve", "--bind", "127.0.0.1:{}"),
        ("stackless", "httptools"),
    ),
    "gunicorn, gevent": (_module(*_GUNICORN, "gevent"), ("gunicorn", "gevent")),
    "gunicorn, tasklets": (
        _module(*_GUNICORN, "stackless.integrations.gunicorn.TaskletWorker"),
        ("gunicorn", "stackless"),
    ),
    "granian": (
        _module("granian", "--interface", "wsgi", "--port", "{}", "--no-access-log", "--no-ws"),
        ("granian",),
    ),
    "bjoern": (_text(_APP + "import bjoern; bjoern.run(app, '127.0.0.1', port)"), ("bjoern",)),
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tell_when_ready(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.05)
    print(port, flush=True)


if __name__ == "__main__":
    number = _free_port()
    command = PEERS[sys.argv[1]][0](number, sys.argv[2])
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    if os.fork() == 0:
        _tell_when_ready(number)
        os._exit(0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(command[0], command)
