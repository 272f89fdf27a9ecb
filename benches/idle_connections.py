"""What an idle connection costs a server: many that are kept alive after one HTTP request each.

The servers of `ours`, `gevent` and `threads` run the request handler of the standard http.server;
those of asyncio and uvloop are written for streams. Each runs in a process of its own, whose memory
is looked at from outside: resident bytes for a connection, without what the kernel keeps for it.
`stacks` is ours without parking. Memory is looked at when it has stopped shrinking: ours parks
those who wait once it has time.

    python benches/idle_connections.py [--count N]
"""

import argparse
import asyncio
import http.server
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import peers

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
BODY = b"hello"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        pass


# ---------------------------------------------------------------------- servers


def ours() -> None:
    from stackless.servers import TaskletHTTPServer

    serve(TaskletHTTPServer)


def gevents() -> None:
    from gevent import monkey

    monkey.patch_all()
    serve(http.server.ThreadingHTTPServer)


def threads() -> None:
    import threading

    threading.stack_size(256 * 1024)
    serve(http.server.ThreadingHTTPServer)


def serve(kind: type[http.server.HTTPServer]) -> None:
    """Tell the port, and serve."""
    kind.request_queue_size = 1024
    with kind(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


async def streams() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            headers = {}
            while (line := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


PEERS: dict[str, tuple[Callable[[], None], str | None]] = {
    "ours": (ours, "stackless"),
    "stacks": (ours, "stackless"),
    "gevent": (gevents, "gevent"),
    "asyncio": (lambda: asyncio.run(streams()), None),
    "uvloop": (lambda: peers.uvloop.run(streams()), "uvloop"),
    "threads": (threads, None),
}


# ---------------------------------------------------------------------- clients


def ask(connection: socket.socket) -> None:
    """One request, and its answer to the end."""
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\n" + BODY):
        more = connection.recv(4096)
        if not more:
            raise SystemExit("a connection was closed")
        answer += more


def memory(pid: int) -> tuple[int, int]:
    """Bytes of resident memory and of page tables."""
    with open(f"/proc/{pid}/status") as status:
        sizes = dict(line.split(":", 1) for line in status)
    rss, pte = (int(sizes[name].split()[0]) * 1024 for name in ("VmRSS", "VmPTE"))
    return rss, pte


def memory_at_rest(pid: int) -> tuple[int, int]:
    """The same when it shrinks no more."""
    now = memory(pid)
    while True:
        before = now
        time.sleep(2.5)
        now = memory(pid)
        if now[0] >= before[0]:
            return now


def processor(pid: int) -> float:
    """Seconds that a process has used."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(peer: str, count: int) -> dict[str, float]:
    environment = dict(os.environ)
    if peer == "stacks":
        environment |= {"STACKLESS_PARK_ABOVE": "1000000", "STACKLESS_PARK_AFTER": "inf"}
    command = [sys.executable, __file__, "--serve", peer]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        try:
            assert server.stdout is not None
            address = "127.0.0.1", int(server.stdout.readline())
            for _ in range(100):
                with socket.create_connection(address) as connection:
                    ask(connection)
            rss0, pte0 = memory_at_rest(server.pid)
            busy = processor(server.pid)
            connections = []
            for _ in range(count):
                connections.append(socket.create_connection(address))
                ask(connections[-1])
            busy = processor(server.pid) - busy
            rss, pte = memory_at_rest(server.pid)
            for connection in connections:
                ask(connection)  # all are still served
                connection.close()
        finally:
            server.kill()
    return {
        "rss": (rss - rss0) / count,
        "page_tables": (pte - pte0) / count,
        "processor": busy / count * 1e6,
    }


def main(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, hard - 100)
    print(f"{count:,} idle connections, CPython {sys.version.split()[0]}")
    print(f"{'':10}{'bytes each':>12}{'page tables':>13}{'µs to accept and answer':>26}")
    for peer, (_, needs) in PEERS.items():
        if peers.missing(needs):
            continue
        found = measure(peer, count)
        print(
            f"{peer:10}{found['rss']:>12,.0f}{found['page_tables']:>13,.0f}{found['processor']:>26.0f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--serve", choices=PEERS, help="be this server")
    arguments = parser.parse_args()
    if arguments.serve:
        PEERS[arguments.serve][0]()
    else:
        main(arguments.count)
