"""The memory that idle connections cost a server: many that stay open after one HTTP request each.

The servers of `ours`, `gevent` and `threads` run the request handler of the standard http.server;
those of asyncio and uvloop are written for streams (net/http_servers.py). Each runs in its own
process. This program reads its resident memory, which does not include the memory of the kernel for
a connection. `stacks` is ours without parking. The memory is read when it no longer shrinks: an
idle thread parks its waiting tasklets after some time.

    python benches/idle_connections.py [--count N]
"""

import argparse
import os
import resource
import socket
import subprocess
import sys
import time

import serving
from process_memory import memory

sys.path.insert(0, str(serving.HERE))

import http_servers  # noqa: E402

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

#: Settings that keep the stacks of waiting tasklets.
NO_PARKING = {"STACKLESS_PARK_ABOVE": "1000000", "STACKLESS_PARK_AFTER": "inf"}


def ask(connection: socket.socket) -> None:
    """One request, and its answer to the end."""
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\n" + http_servers.BODY):
        more = connection.recv(4096)
        if not more:
            raise SystemExit("the server has closed a connection")
        answer += more


def memory_at_rest(pid: int) -> tuple[int, int]:
    """Bytes of resident memory and of page tables, when the memory has stopped shrinking."""
    now = memory(pid)
    while True:
        before = now
        time.sleep(2.5)
        now = memory(pid)
        if now[0] >= before[0]:
            return now


def measure(command: serving.Command, count: int, settings: dict[str, str]) -> dict[str, float]:
    environment = os.environ | settings
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:
        try:
            assert server.stdout is not None
            address = "127.0.0.1", int(server.stdout.readline())
            for _ in range(100):
                with socket.create_connection(address) as connection:
                    ask(connection)
            rss0, pte0 = memory_at_rest(server.pid)
            busy = serving.used(server.pid)
            connections = []
            for _ in range(count):
                connections.append(socket.create_connection(address))
                ask(connections[-1])
            busy = serving.used(server.pid) - busy
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
    needs = {peer: needs for peer, (_, needs) in http_servers.IDLE.items()}
    servers = {
        peer.partition(",")[0]: (command, {})
        for peer, command in serving.python_servers("http_servers.py", needs).items()
    }
    if "ours" in servers:
        servers["stacks"] = servers["ours"][0], NO_PARKING
    print(f"{count:,} idle connections, CPython {sys.version.split()[0]}")
    print(f"{'':10}{'bytes each':>12}{'page tables':>13}{'µs to accept and answer':>26}")
    for peer, (command, settings) in servers.items():
        found = measure(command, count, settings)
        print(
            f"{peer:10}{found['rss']:>12,.0f}{found['page_tables']:>13,.0f}{found['processor']:>26.0f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=8000)
    main(parser.parse_args().count)
