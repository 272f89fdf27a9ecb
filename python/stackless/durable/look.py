"""What is known of a workflow, for the command line and the page: nothing stored is unpickled.

Values are text, as the redactor of the program (`stackless.set_redactor`) shows them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import linecache
import os
from typing import Any

from stackless import pickling
from stackless._package.redactor import redacted
from stackless.durable import values
from stackless.durable.records import FAILED, Info, Step
from stackless.durable.snapshots import Code
from stackless.durable.store import listing
from stackless.durable.store.listing import Row
from stackless.durable.store.sql import Store

#: Calls of functions in this folder are not shown.
_HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """A call that a workflow is in, outermost first."""

    function: str
    file: str
    line: int
    #: The line, from the file as it is here now; "" if it cannot be read, or if the signature was
    #: not checked: then the blob could name any file.
    source: str
    #: True if the file is newer than the snapshot, so that `source` may be another line.
    changed: bool
    variables: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """A message that was sent to a workflow and not received yet."""

    topic: str
    sent: float
    value: str


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A workflow."""

    info: Info
    steps: list[Step]
    #: Outermost first; empty before its first snapshot.
    stack: list[Frame]
    #: Why there is no stack, if it cannot be read.
    unread: str | None
    #: What it was called with: a tuple, and a dict of named arguments.
    arguments: str | None
    #: Messages that it has not received yet.
    messages: list[Waiting]
    #: What it has returned or raised.
    result: str | None
    #: The signature of the snapshot was checked.
    verified: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can represent."""
        return {
            **summary(self.info),
            "error": self.info.error,
            "arguments": self.arguments,
            "result": self.result,
            "messages": [dataclasses.asdict(each) for each in self.messages],
            "verified": self.verified,
            "unread": self.unread,
            "stack": [dataclasses.asdict(each) for each in self.stack],
            "recorded": [dataclasses.asdict(each) for each in self.steps],
        }


def summary(info: Info | Row) -> dict[str, Any]:
    """Return what lists of workflows say of one."""
    names = "id function status steps due topic awaits parent python worker created updated"
    return {name: getattr(info, name) for name in names.split()}


def look(store: Store, keys: list[bytes] | None, info: Info) -> View:
    """Return what is known of a workflow. `keys`: None leaves signatures unchecked."""

    def text(value: bytes | None) -> str | None:
        try:
            return None if value is None else values.describe(value, keys)
        except Exception as error:  # damaged, or of another key
            return f"<cannot be read: {type(error).__name__}: {error}>"

    unread, stack, verified = None, [], keys is not None
    if info.snapshot is not None:
        try:
            found = pickling.inspect(
                info.snapshot, key=keys, max_size=None, code_store=Code(store, set())
            )
        except Exception as error:  # damaged, of another key, or its code is missing
            unread = f"{type(error).__name__}: {error}"
        else:
            frames = found.tasklets[0].frames if found.tasklets else ()
            written = info.updated if found.verified else None
            stack = [_frame(each, written) for each in frames if not _is_own(each.file)]
    messages = [
        Waiting(topic, sent, text(value) or "")
        for topic, sent, value in listing.messages(store, info.id)
    ]
    return View(
        info=dataclasses.replace(info, error=shown(info.error)),
        steps=[dataclasses.replace(each, error=shown(each.error)) for each in store.steps(info.id)],
        stack=stack,
        unread=unread,
        arguments=_call(text(listing.arguments(store, info.id))),
        messages=messages,
        result=None if info.status == FAILED else text(info.result),
        verified=verified,
    )


def around(frame: Frame, lines: int = 2) -> list[tuple[int, str]]:
    """Return the numbers and lines of the source around the current line of a call."""
    if not frame.source:
        return []
    numbers = range(max(1, frame.line - lines), frame.line + lines + 1)
    found = [(number, linecache.getline(frame.file, number).rstrip()) for number in numbers]
    while found and not found[-1][1]:
        found.pop()
    while found and not found[0][1]:
        del found[0]
    margin = min((len(text) - len(text.lstrip()) for _, text in found if text), default=0)
    return [(number, text[margin:]) for number, text in found]


def shown(text: str | None) -> str | None:
    """Return the text of an error as the redactor shows it."""
    if text is None:
        return None
    said = redacted(text)
    return text if said is None else said


def _call(arguments: str | None) -> str | None:
    """Return a tuple and a dict as text without the dict, if that is empty."""
    if arguments is not None and arguments.endswith(", {})"):
        return arguments[1 : -len(", {})")]
    return arguments


def _is_own(file: str) -> bool:
    return os.path.dirname(file) == _HERE


def _frame(saved: pickling.SavedFrame, written: float | None) -> Frame:
    source, changed = "", False
    if written is not None:
        linecache.checkcache(saved.file)
        source = linecache.getline(saved.file, saved.line).strip()
        with contextlib.suppress(OSError, ValueError):
            changed = os.stat(saved.file).st_mtime > written
    return Frame(saved.function, saved.file, saved.line, source, changed, saved.variables)
