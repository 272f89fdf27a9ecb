"""Workflows as text for the terminal."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from stackless.durable.look import View
from stackless.durable.records import RUNNING, SLEEPING, WAITING, Info, Step
from stackless.durable.schedules import Schedule
from stackless.durable.store.listing import Row

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """Return a time in one or two units: "3 d 4 h"."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds >= 1e-5 else "0 s"
    if seconds < 10:
        return f"{seconds:.3g} s"
    left = int(seconds)
    parts: list[str] = []
    for size, name in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def moment(time: float) -> str:
    """Return a time since the epoch as local date and time."""
    try:
        return datetime.datetime.fromtimestamp(time).isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return f"{time:.0f} s after 1970"


def relative(time: float, now: float) -> str:
    """Return "in 3 d" or "3 d ago"."""
    return f"in {duration(time - now)}" if time > now else f"{duration(now - time)} ago"


def waits_for(info: Info | Row, now: float) -> str:
    """Return what a workflow waits for."""
    until = "" if info.due is None else relative(info.due, now)
    if info.status == WAITING and info.awaits is not None:
        return f"child {info.awaits!r}" + (f", timeout {until}" if until else "")
    if info.status == WAITING:
        return f"message {info.topic!r}" + (f", timeout {until}" if until else "")
    if info.status == SLEEPING:
        return until
    if info.status == RUNNING:
        return ""
    return until if info.due is not None and info.due > now else ""


def step_name(step: Step) -> str:
    """Return what is shown of a step, or of what else is recorded."""
    return step.name if step.kind == "step" else f"{step.kind} {step.name}".rstrip()


def table(rows: list[Row], now: float) -> str:
    """Return a line for each workflow, below their names."""
    lines = [("id", "status", "steps", "function", "updated", "waits for")]
    for each in rows:
        updated = relative(each.updated, now)
        what = (each.id, each.status, f"{each.steps}", each.function, updated, waits_for(each, now))
        lines.append(what)
    return _columns(lines)


def schedules(found: list[Schedule], now: float) -> str:
    """Return a line for each schedule."""
    lines = [("name", "times", "zone", "function", "next")]
    for each in found:
        due = f"{moment(each.due)} ({relative(each.due, now)})"
        lines.append((each.name, each.cron, each.timezone, each.function, due))
    return _columns(lines)


def _columns(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = [zip(row, widths, strict=True) for row in lines]
    return "\n".join("  ".join(f"{text:{n}}" for text, n in row).rstrip() for row in cells)


def whole(view: View, now: float) -> str:
    """Return all that is known of a workflow."""
    info = view.info
    waits = waits_for(info, now)
    lines = [
        f"workflow {info.id}: {info.function}",
        f"status   {info.status}" + (f" ({waits})" if waits else ""),
        f"started  {moment(info.created)}",
        f"updated  {moment(info.updated)} ({relative(info.updated, now)})",
        f"python   {info.needs or 'any'}",
        f"called   {view.arguments}",
    ]
    if info.parent is not None:
        lines.append(f"child of {info.parent}")
    for message in view.messages:
        lines.append(f"message  {message.topic!r}, {relative(message.sent, now)}: {message.value}")
    if not view.verified and view.unread is None:
        lines.append("(there is no key here: the signature is not checked, the source not shown)")
    if view.unread is not None:
        lines += ["", f"The snapshot cannot be read: {view.unread}"]
    if view.stack:
        lines += ["", "Stack of the last snapshot, the innermost call last:"]
        for each in view.stack:
            lines.append(f'  File "{each.file}", line {each.line}, in {each.function}')
            if each.source:
                note = "   # the file has changed since" if each.changed else ""
                lines.append(f"    {each.source}{note}")
            lines += [f"      {name} = {value}" for name, value in each.variables.items()]
    if view.steps:
        lines += ["", "Steps:"]
        width = len(f"{view.steps[-1].number}")
        for step in view.steps:
            took = duration(step.ended - step.began)
            lines.append(
                f"  {step.number:{width}}  {step_name(step)}, {moment(step.began)}, {took}"
            )
            if step.error is not None:
                lines.append(f"  {'':{width}}  raised {step.error}")
    if view.result is not None:
        lines += ["", f"Result: {view.result}"]
    if info.error is not None:
        lines += ["", "Error:", *(f"  {line}" for line in info.error.rstrip().splitlines())]
    return "\n".join(lines)
