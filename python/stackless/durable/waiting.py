"""Waiting for a future in a tasklet."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from stackless import sync

T = TypeVar("T")


def wait_for(future: Future[T]) -> T:
    """Return a future's result; only the calling tasklet waits."""
    if not future.done():
        done = sync.Event()
        future.add_done_callback(lambda _: done.set())
        done.wait()
    return future.result()
