"""Compares our times with those of greenlet, gevent, asyncio, uvloop, threads, generators and Go.

python benches/run.py [--quick] [--rounds N] [--only NAME] [--json FILE]
"""

import argparse
import gc
import json
import os
import platform
import sys
from typing import Any

import go
import memory
import peers
from cases import CASES
from harness import EMPTY_NAME, OURS, Case, Result, print_case, run_case


def print_machine() -> dict[str, Any]:
    """Print and return the machine and the versions that are measured."""
    machine = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "gc": gc.isenabled(),
        "empty call": EMPTY_NAME,
        "versions": peers.versions() | {"go": None if go.problem() else go.version()},
    }
    print(f"Python {machine['python']} on {machine['system']}, {machine['processors']} processors")
    print(f"load at the start: {machine['load']:.2f}")
    print(f"the garbage collector is {'on, as usual' if machine['gc'] else 'off'}")
    print(f"the empty call is {EMPTY_NAME}; ratios are to that of the same round")
    for name, version in peers.versions().items():
        print(f"{name} {version}" if version else f"{name.upper()} IS NOT INSTALLED: skipped below")
    print(f"Go {go.problem() or go.version()}")
    return machine


def parse() -> argparse.Namespace:
    names = [case.name for case in CASES] + [memory.NAME]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short rounds, no million tasklets")
    parser.add_argument("--rounds", type=int, metavar="N", help="9; with --quick 3")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--json", metavar="FILE", help="write all that was measured there, too")
    arguments = parser.parse_args()
    if arguments.rounds is None:
        arguments.rounds = 3 if arguments.quick else 9
    elif arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def wanted(case: Case, only: list[str] | None) -> bool:
    return case.name in only if only else not case.only_on_request


def main() -> int:
    arguments = parse()
    found: dict[str, Any] = {"machine": print_machine(), "cases": {}}
    seconds = 0.01 if arguments.quick else 0.04
    failed = False
    for case in CASES:
        if not wanted(case, arguments.only):
            continue
        if not case.peers:
            print(f"\n{case.title}  [{case.name}]\n  skipped: stackless is not installed")
            continue
        results: dict[str, Result] = run_case(case, arguments.rounds, seconds)
        print_case(case, results)
        sys.stdout.flush()
        found["cases"][case.name] = {name: result.as_json() for name, result in results.items()}
        ours = results.get(OURS)
        failed |= ours is not None and (ours.problem or "").startswith("failed")
    if not arguments.only or memory.NAME in arguments.only:
        found[memory.NAME] = memory.run(arguments.quick)
        failed |= any(
            label.startswith(OURS) and row.get("problem", "").startswith("failed")
            for rows in found[memory.NAME].values()
            for label, row in rows.items()
        )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(found, file, indent=2)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
