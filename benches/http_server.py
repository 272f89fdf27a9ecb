"""The processor time that an HTTP server takes for a request, compared with others in one run.

python benches/http_server.py [--seconds S] [--rounds N] [--connections N]
"""

import io
import os
import sys
import time

import serving

sys.path.insert(0, str(serving.HERE))

import http_servers  # noqa: E402

#: Minimum factors of the processor time of others to ours.
REQUIRED = {
    "threads, closing": 1.4,
    "gevent, closing": 1.4,
    "threads": 1.4,
    "gevent": 1.4,
    "uvloop, httptools": 0.8,
}


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"


class Alone(http_servers.Keeping):
    """A handler whose requests are in memory, and whose answers are dropped."""

    count = 20_000

    def setup(self) -> None:
        self.rfile = io.BufferedReader(io.BytesIO(REQUEST * self.count))
        self.wfile = open(os.devnull, "wb")

    def finish(self) -> None:
        self.wfile.close()


def handler_alone(rounds: int) -> float:
    """Return the microseconds that the standard handler takes for a request, without a server."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        Alone(None, ("127.0.0.1", 0), None)  # type: ignore[arg-type]
        taken.append((time.process_time() - start) / Alone.count * 1e6)
    return min(taken)


def main() -> None:
    given = serving.arguments(__doc__)
    for what, servers, message in (
        ("http.server, a connection for each request", http_servers.CLOSING, "http-once"),
        ("http.server, connections are kept", http_servers.KEEPING, "http"),
        ("a parser in C", http_servers.PARSER, "http"),
    ):
        needs = {peer: needs for peer, (_, needs) in servers.items()}
        commands = serving.python_servers("http_servers.py", needs)
        title = f"HTTP, {what}, {given.connections} at once"
        work = serving.Work(given.connections, message, given.seconds)
        serving.table(title, commands, work, given.rounds, REQUIRED)
    print(f"\nthe handler of http.server alone, no socket: {handler_alone(given.rounds):.1f} us")


if __name__ == "__main__":
    main()
