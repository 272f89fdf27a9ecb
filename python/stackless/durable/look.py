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
from stackless.durable.listing import Row
from stackless.durable.records import Info, Step
from stackless.durable.store.sql import Store
from stackless.durable.worker import Code

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
class View:
    """A workflow."""

    info: Info
    steps: list[Step]
    #: Outermost first; empty before its first snapshot.
    stack: list[Frame]
    #: Why there is no stack, if it cannot be read.
    unread: str | None
    #: Its arguments, if it has not begun.
    arguments: str | None
    #: What it has returned or raised.
    result: str | None
    #: The signature of the snapshot was checked.
    verified: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can represent."""
        return {
            **summary(self.info),
            "created": self.info.created,
            "error": self.info.error,
            "arguments": self.arguments,
            "result": self.result,
            "verified": self.verified,
            "unread": self.unread,
            "stack": [dataclasses.asdict(each) for each in self.stack],
            "recorded": [dataclasses.asdict(each) for each in self.steps],
        }


def summary(info: Info | Row) -> dict[str, Any]:
    """Return what lists of workflows say of one."""
    names = ("id", "function", "status", "steps", "due", "topic", "python", "worker", "updated")
    return {name: getattr(info, name) for name in names}


def look(store: Store, keys: list[bytes] | None, info: Info) -> View:
    """Return what is known of a workflow. `keys`: None leaves signatures unchecked."""
    unread, stack, arguments, verified = None, [], None, False
    try:
        found = _inspect(store, keys, info.snapshot)
    except Exception as error:  # a damaged blob, another key, or code that is missing
        unread = f"{type(error).__name__}: {error}"
    else:
        verified = found.verified
        if info.begun:
            frames = found.tasklets[0].frames if found.tasklets else ()
            written = info.updated if verified else None
            stack = [_frame(each, written) for each in frames if not _is_own(each.file)]
        else:
            arguments = found.text
    result = None
    if info.result is not None:
        try:
            result = _inspect(store, keys, info.result).text
        except Exception as error:
            result = f"<cannot be read: {type(error).__name__}: {error}>"
    steps = [dataclasses.replace(each, error=shown(each.error)) for each in store.steps(info.id)]
    info = dataclasses.replace(info, error=shown(info.error))
    return View(info, steps, stack, unread, arguments, result, verified)


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


def _inspect(store: Store, keys: list[bytes] | None, blob: bytes) -> pickling.BlobContents:
    code = Code(store, set())
    return pickling.inspect(blob, key=keys, max_size=None, code_store=code)


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
