"""Snapshots of workflows: how they are pickled, with the code apart, and what is said of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, MutableMapping
from typing import Any

import stackless
from stackless.durable.records import DurableError
from stackless.durable.requests import Request, WorkflowTasklet
from stackless.durable.store.sql import Store

_log = logging.getLogger("stackless.durable")

#: How many variables the warning of a large snapshot names.
_MOST = 5
_HERE = os.path.dirname(__file__)
#: Functions of which a large snapshot was logged by this process.
warned: set[str] = set()


class NotDurable(DurableError):
    """A variable of a workflow cannot be pickled, so that the call cannot be recorded."""


class Code(MutableMapping[bytes, bytes]):
    """The code store of one snapshot: what the database has not is gathered for the transaction."""

    def __init__(self, store: Store, known: set[bytes]) -> None:
        self._store = store
        self._known = known
        self.new: dict[bytes, bytes] = {}
        #: All that the snapshot needs.
        self.used: set[bytes] = set()

    def __contains__(self, digest: object) -> bool:
        assert isinstance(digest, bytes)
        self.used.add(digest)
        return digest in self._known or digest in self.new

    def __getitem__(self, digest: bytes) -> bytes:
        data = self._store.code(digest)
        if data is None:
            raise KeyError(digest)
        return data

    def __setitem__(self, digest: bytes, data: bytes) -> None:
        self.new[digest] = data

    def __delitem__(self, digest: bytes) -> None:
        raise TypeError("code is not deleted")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.new)

    def __len__(self) -> int:
        return len(self.new)


def why_not(tasklet: WorkflowTasklet, request: Request, error: Exception) -> NotDurable:
    """Return the error of a workflow that cannot be pickled: with the variables, and remedies."""
    found = stackless.why_not_picklable((tasklet, request))
    text = "\n".join(map(str, found)) or f"{type(error).__name__}: {error}"
    return NotDurable(f"the workflow cannot be saved at {request.kind} {request.name}:\n{text}")


def warn(id: str, function: str, size: int, limit: int, tasklet: WorkflowTasklet) -> None:
    """Log once that a snapshot is large, with the local variables that make it so."""
    if function in warned:
        return
    warned.add(function)
    sizes = sorted(_sizes(tasklet), reverse=True)[:_MOST]
    names = ", ".join(f"{name} in {place} ({each:,} bytes)" for each, place, name in sizes)
    _log.warning(
        "a snapshot of the workflow %r (%s) has %s bytes, more than snapshot_limit=%s; its largest"
        " variables: %s",
        *(id, function, f"{size:,}", f"{limit:,}", names or "none"),
    )


def _sizes(tasklet: WorkflowTasklet) -> Iterator[tuple[int, str, str]]:
    frame: Any = tasklet.frame
    while frame is not None:
        place = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
        ours = os.path.dirname(frame.f_code.co_filename) == _HERE
        for name, value in () if ours else frame.f_locals.items():
            try:
                yield len(stackless.dumps(value, same_program=True)), place, name
            except Exception:
                continue  # such as an iterator that is in use: part of the whole only
        frame = frame.f_back
