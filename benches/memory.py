"""The table of memory per blocked tasklet: each number comes from a fresh process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import go
import peers

NAME = "blocked"
BLOCKED = Path(__file__).parent / "blocked.py"
SMALL_STACK = 64 * 1024
TIMEOUT = 900


@dataclass(frozen=True)
class Row:
    label: str
    peer: str
    needs: str | None = None
    stack_size: int | None = None
    most: int = 100_000


ROWS = [
    Row("ours", "ours", "stackless", most=1_000_000),
    Row(f"ours, {SMALL_STACK // 1024} KiB stacks", "ours", "stackless", SMALL_STACK, 1_000_000),
    Row("greenlet", "greenlet", "greenlet"),
    Row("gevent", "gevent", "gevent"),
    Row("asyncio", "asyncio", most=1_000_000),
    Row("threads", "threads", most=10_000),
    Row("Go", "go", "go"),
]


def measure(row: Row, count: int) -> dict[str, Any]:
    """Return bytes and seconds, or the problem."""
    if row.peer == "go":
        if problem := go.problem():
            return {"problem": problem}
        rss, tables, create, wake = go.run("blocked", count)
        return {
            "rss": rss / count,
            "page_tables": tables / count,
            "total": rss,
            "create": create,
            "wake": wake,
        }
    if peers.missing(row.needs):
        return {"problem": f"skipped: {row.needs} is not installed"}
    command = [sys.executable, str(BLOCKED), row.peer, str(count)]
    if row.stack_size:
        command += ["--stack-size", str(row.stack_size)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"problem": f"failed: not done after {TIMEOUT} s"}
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"problem": f"failed with status {done.returncode}: {reason}"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def print_header(count: int) -> None:
    print(f"\nbytes per blocked tasklet, two Python frames deep, {count:,} of them  [{NAME}]")
    print(
        f"  {'':20} {'resident':>9} {'page tables':>12} {'both':>7}   all, MB  create, s  wake, s"
    )


def print_row(label: str, found: dict[str, Any]) -> None:
    if "problem" in found:
        print(f"  {label:20} {found['problem']}")
        return
    rss, tables = found["rss"], found["page_tables"]
    print(
        f"  {label:20} {rss:9.0f} {tables:12.0f} {rss + tables:7.0f} {found['total'] / 1e6:9.0f} "
        f"{found['create']:10.2f} {found['wake']:8.2f}"
    )


def run(quick: bool) -> dict[str, dict[str, Any]]:
    """Measure and print all sizes; without `quick` also a million."""
    results: dict[str, dict[str, Any]] = {}
    for count in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000):
        print_header(count)
        found = results[str(count)] = {}
        for row in ROWS:
            if count <= row.most:
                found[row.label] = measure(row, count)
                print_row(row.label, found[row.label])
                sys.stdout.flush()
    return results
