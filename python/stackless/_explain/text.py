"""Snapshots as text: dumps, tables and trees."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from stackless._explain.data import Process, TaskletInfo

_ORDER = [
    "running",
    "runnable",
    "in run()",
    "sending",
    "receiving",
    "iterating",
    "in alt()",
    "joining",
    "waiting",
    "reading",
    "writing",
    "sleeping",
    "in to_thread()",
    "paused",
    "not started",
    "thread ended",
]


def _rank(info: TaskletInfo) -> int:
    return _ORDER.index(info.state) if info.state in _ORDER else len(_ORDER)


def thread_name(process: Process, thread: int) -> str:
    if thread == 0:
        return "a thread that has ended"
    return f"{process.threads.get(thread, 'thread')} ({thread})"


def grouped(tasklets: Iterable[TaskletInfo]) -> list[list[TaskletInfo]]:
    """Group tasklets that do the same at the same place; by state, the largest groups first."""
    groups: dict[tuple[object, ...], list[TaskletInfo]] = defaultdict(list)
    for info in tasklets:
        key = (
            info.thread,
            info.name,
            info.state,
            info.started,
            info.channel,
            info.detail if info.state == "waiting" else "",
            info.stack,
        )
        groups[key].append(info)
    return sorted(groups.values(), key=lambda group: (_rank(group[0]), -len(group)))


def _who(group: list[TaskletInfo]) -> str:
    first = group[0]
    name = f" {first.name!r}" if first.name and first.name != "main" else ""
    if len(group) == 1:
        return "main" if first.name == "main" else f"tasklet {first.serial}{name}"
    shown = ", ".join(str(info.serial) for info in group[:5]) + (", ..." * (len(group) > 5))
    return f"{len(group)} tasklets{name} ({shown})"


def seconds(age: float) -> str:
    return f"{age:.3f} s" if age < 10 else f"{age:.0f} s"


def _reason(group: list[TaskletInfo]) -> str:
    """The reason that all of a group have; else their state: the times differ, or the files."""
    first = group[0]
    same = all(info.reason == first.reason for info in group)
    return first.reason if same or first.channel else first.state


def _ages(group: list[TaskletInfo]) -> str:
    known = [info.age for info in group if info.age is not None]
    if not known:
        return ""
    low, high = seconds(min(known)), seconds(max(known))
    return f", for {low}" if low == high else f", for {low} to {high}"


def header(process: Process) -> str:
    count, threads = len(process.tasklets), len({info.thread for info in process.tasklets})
    return (
        f"process {process.pid} ({process.program}): {count} tasklet{'s' * (count != 1)} "
        f"in {threads} thread{'s' * (threads != 1)} ({process.remark})"
    )


def dump(process: Process) -> Iterator[str]:
    """Yield the lines of a dump: every tasklet with its stack."""
    yield header(process)
    by_thread = defaultdict(list)
    for info in process.tasklets:
        by_thread[info.thread].append(info)
    for thread, members in by_thread.items():
        yield ""
        yield f"{thread_name(process, thread)}:"
        for group in grouped(members):
            yield ""
            yield f"{_who(group)}: {_reason(group)}{_ages(group)}"
            if not group[0].whole:
                yield "  ... (outer calls are not shown)"
            for call in group[0].stack:
                yield f'  File "{call.file}", line {call.line}, in {call.function}'


def _place(info: TaskletInfo) -> str:
    if not info.stack:
        return ""
    call = info.stack[-1]
    return f"{os.path.basename(call.file)}:{call.line} {call.function}"


def _target(info: TaskletInfo) -> str:
    if info.channel is None:
        return info.detail
    name = info.channel.name or f"{info.channel.address:#x}"
    return f"{name}, {info.detail}" if info.detail else name


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table with aligned columns; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def ps(process: Process) -> Iterator[str]:
    """Yield one line for each tasklet."""
    yield header(process)
    rows = [("ID", "THREAD", "STATE", "WAITS FOR", "AGE", "SWITCHES", "NAME", "AT")]
    for info in process.tasklets:
        rows.append(
            (
                str(info.serial),
                process.threads.get(info.thread, str(info.thread)),
                info.state,
                _target(info),
                "-" if info.age is None else seconds(info.age),
                str(info.switches) if process.ages else "-",
                info.name,
                _place(info),
            )
        )
    yield from table(rows)


def ps_grouped(process: Process) -> Iterator[str]:
    """Yield one line for each group of tasklets that do the same."""
    yield header(process)
    rows = [("COUNT", "THREAD", "STATE", "WAITS FOR", "NAME", "AT")]
    for group in grouped(process.tasklets):
        info = group[0]
        thread = process.threads.get(info.thread, str(info.thread))
        target = _target(info) if info.channel or len({i.detail for i in group}) == 1 else ""
        rows.append((str(len(group)), thread, info.state, target, info.name, _place(info)))
    yield from table(rows)


_Tree = list[tuple[str, "_Tree"]]


def _draw(tree: _Tree, indent: str = "") -> Iterator[str]:
    for number, (text, below) in enumerate(tree, 1):
        last = number == len(tree)
        yield f"{indent}{'└─ ' if last else '├─ '}{text}"
        yield from _draw(below, indent + ("   " if last else "│  "))


def _leaves(members: list[TaskletInfo], full: bool) -> _Tree:
    leaves: _Tree = []
    for group in grouped(members):
        for part in [[info] for info in group] if full else [group]:
            info = part[0]
            at = f" at {_place(info)}" if info.stack else ""
            what = (
                "" if info.channel or info.state != "runnable" or info.started else ", not started"
            )
            leaves.append((f"{_who(part)}{what}{at}", []))
    return leaves


def pstree(process: Process, full: bool = False) -> Iterator[str]:
    """Yield a tree: threads, below them states and channels, below them the tasklets."""
    yield header(process)
    threads: _Tree = []
    by_thread = defaultdict(list)
    for info in process.tasklets:
        by_thread[info.thread].append(info)
    for thread, members in by_thread.items():
        branches: dict[str, list[TaskletInfo]] = defaultdict(list)
        for info in sorted(members, key=_rank):
            told = info.channel is not None or info.state == "waiting"
            branches[info.reason if told else info.state].append(info)
        tree: _Tree = []
        for title, inside in branches.items():
            count = f": {len(inside)}" if len(inside) > 1 else ""
            tree.append((f"{title}{count}", _leaves(inside, full)))
        threads.append((thread_name(process, thread), tree))
    yield from _draw(threads)


def top(before: Process, after: Process, elapsed: float, rows: int) -> Iterator[str]:
    """Yield the tasklets with the most switches between two snapshots, `elapsed` seconds apart."""
    old = {info.serial: info.switches for info in before.tasklets}
    rates = [((info.switches - old.get(info.serial, 0)) / elapsed, info) for info in after.tasklets]
    total = sum(rate for rate, _ in rates)
    states: dict[str, int] = defaultdict(int)
    for info in after.tasklets:
        states[info.state] += 1
    yield header(after)
    yield ", ".join(f"{states[state]} {state}" for state in _ORDER if states[state])
    yield f"{total:.0f} switches per second, those to tasklets that have ended since not counted"
    lines = [("ID", "SWITCHES/S", "STATE", "AGE", "NAME", "AT")]
    rates.sort(key=lambda pair: (-pair[0], pair[1].serial))
    for rate, info in rates[:rows]:
        age = "-" if info.age is None else seconds(info.age)
        place = _place(info)
        lines.append((str(info.serial), f"{rate:.1f}", info.state, age, info.name, place))
    yield from table(lines)
