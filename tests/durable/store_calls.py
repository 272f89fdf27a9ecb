"""Short forms of what tests ask of a store."""

import os

from stackless.durable.records import Snapshot, Start, Worker
from stackless.durable.store.processes import process_began, this_machine


def worker(id="w", *, app="app", python="py", pid=None, machine=None):
    pid = os.getpid() if pid is None else pid
    return Worker(id, app, machine or this_machine(), pid, process_began(pid) or 1, python)


def joined(store, *args, lease=30.0, **options):
    made = worker(*args, **options)
    store.join(made, lease).result()
    return made


def start(store, id, *, app="app", python="py"):
    return store.start(Start(id, app, "module:function", b"arguments"), python).result()


def claimed(store, who, count=10):
    return store.claim(who, count).result()


def saved(data):
    """A snapshot before the first request."""
    return Snapshot(data, 1, b"")
