"""``python -m stackless cluster``: what the tasklets of a cluster do, on all its hosts."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter

from stackless._package.command import Parser, interval
from stackless.cluster.client import Cluster, engine
from stackless.cluster.records import ClusterError, TaskletRow

_PROGRAM = "python -m stackless cluster"
_EPILOG = """\
ADDRESS is that of Dask's scheduler, such as tcp://host:8786; certificates for tls:// are taken from
Dask's configuration, a key of the cluster from STACKLESS_CLUSTER_KEY.

exit status: 0, 1 if there is no cluster at the address or it refuses, 2 for wrong usage."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=_PROGRAM,
        description="Show what the tasklets of a cluster do.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ps = commands.add_parser("ps", help="list the tasklets of all hosts")
    ps.add_argument("--json", action="store_true", help="a list of objects")
    explain = commands.add_parser("explain", help="show who waits for whom")
    top = commands.add_parser("top", help="show repeatedly which tasklets are switched to most")
    top.add_argument("-i", "--interval", type=interval, default=2.0, metavar="SECONDS")
    top.add_argument("-n", "--lines", type=int, default=20, help="how many tasklets (20)")
    top.add_argument("--once", action="store_true", help="show one table and end")
    for each in ps, explain, top:
        each.add_argument(
            *("--timeout", "-t"),
            type=interval,
            default=10.0,
            metavar="SECONDS",
            help="how long to try to connect (10)",
        )
        each.add_argument("address", metavar="ADDRESS")
    return parser


def main(argv: list[str]) -> int:
    """Run one command; returns its exit status."""
    given = _parser().parse_args(argv)
    try:
        with _connect(given.address, f"{given.command}-{os.getpid()}", given.timeout) as cluster:
            if given.command == "ps":
                _ps(cluster, given.json)
            elif given.command == "explain":
                print(cluster.explain())
            else:
                _top(cluster, given)
    except (ClusterError, OSError, ImportError, ValueError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _connect(address: str, name: str, timeout: float) -> Cluster:
    connection = engine()(address, None, None, (), None, name, 30.0, timeout, start=False)
    return Cluster(connection.host.cluster, connection)


def _ps(cluster: Cluster, as_json: bool) -> None:
    rows = cluster.ps()
    if as_json:
        print(json.dumps([each._asdict() for each in rows]))
        return
    hosts = Counter(each.host for each in rows)
    names = [each.name for each in cluster.workers()]
    print(f"{len(rows)} tasklets on {len(names)} workers")
    for name in names:
        print(f"    {name}: {hosts[name]}")
    if rows:
        print()
        print(_table(rows))


def _table(rows: list[TaskletRow]) -> str:
    header = TaskletRow("HOST", "ID", "NAME", "STATE", "POSITION", "OWNER", 0, 0)
    lines = [header, *rows]
    widths = [max(len(str(line[n])) for line in lines) for n in range(3)]
    return "\n".join(
        " ".join(
            [
                *(str(line[n]).ljust(widths[n]) for n in range(3)),
                f"{line.state}, at {line.position}" if line.position else line.state,
            ]
        ).replace("STATE, at POSITION", "STATE")
        for line in lines
    )


def _top(cluster: Cluster, given: argparse.Namespace) -> None:
    before = _switches(cluster)
    while True:
        time.sleep(given.interval)
        rows = cluster.ps(count=True)
        gained = {each.id: each.switches - before.get(each.id, 0) for each in rows}
        rows.sort(key=lambda each: (-gained[each.id], each.id))
        if not given.once and sys.stdout.isatty():
            print("\x1b[H\x1b[2J", end="")
        hosts = Counter(each.host for each in rows)
        shares = ", ".join(f"{each.name} {hosts[each.name]}" for each in cluster.workers())
        print(f"{len(rows)} tasklets: {shares}")
        print(f"{'SWITCHES/s':>10} HOST ID NAME STATE")
        for row in rows[: given.lines]:
            rate = max(gained[row.id], 0) / given.interval
            print(f"{rate:10,.0f} {row.host} {row.id} {row.name} {row.state}")
        sys.stdout.flush()
        if given.once:
            return
        before = {each.id: each.switches for each in rows}


def _switches(cluster: Cluster) -> dict[str, int]:
    return {each.id: each.switches for each in cluster.ps(count=True)}
