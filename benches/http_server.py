"""What an HTTP server takes of the processor for a request, beside others in the same run.

python benches/http_server.py [--seconds S] [--rounds N] [--connections N]
"""

import argparse
import sys

import serving

sys.path.insert(0, str(serving.HERE))

import http_servers  # noqa: E402

#: So many times as much processor time as ours, at least.
REQUIRED = {"threads": 1.4, "gevent": 1.4, "uvloop, httptools": 0.8}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=100)
    given = parser.parse_args()
    work = serving.Work(given.connections, "http", given.seconds)
    for what, servers in (
        ("the handler of http.server", http_servers.STANDARD),
        ("a parser in C", http_servers.PARSER),
    ):
        needs = {peer: needs for peer, (_, needs) in servers.items()}
        commands = serving.python_servers("http_servers.py", needs)
        title = f"HTTP, {what}, {given.connections} connections"
        serving.table(title, commands, work, given.rounds, REQUIRED)


if __name__ == "__main__":
    main()
