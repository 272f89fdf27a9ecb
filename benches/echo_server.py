"""The processor time that an echo server takes for a message, compared with others in one run.

python benches/echo_server.py [--seconds S] [--rounds N] [--connections N...] [--bytes N...]
"""

import argparse
import sys

import serving

sys.path.insert(0, str(serving.HERE))

import echo_servers  # noqa: E402

#: Minimum factors of the processor time of others to ours; a maximum for ours with patches.
REQUIRED = {
    "patched sockets": -1.1,
    "gevent": 2.0,
    "uvloop streams": 1.4,
    "uvloop protocol": 0.8,
    "Go": 0.8,
    "floor in C": 0.65,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--bytes", type=int, nargs="+", default=[64, 4096])
    parser.add_argument("--calls", action="store_true", help="count system calls, with strace")
    given = parser.parse_args()
    needs = {peer: needs for peer, (_, needs) in echo_servers.PEERS.items()}
    servers = serving.python_servers("echo_servers.py", needs)
    if go := serving.built_by_go("echo"):
        servers["Go"] = ["env", "GOMAXPROCS=1", go]
    servers["floor in C"] = [serving.compiled("floor")]
    for connections in given.connections:
        for size in given.bytes:
            title = f"echo, {connections} connections, {size} bytes"
            work = serving.Work(connections, str(size), given.seconds)
            serving.table(title, servers, work, given.rounds, REQUIRED, given.calls)


if __name__ == "__main__":
    main()
