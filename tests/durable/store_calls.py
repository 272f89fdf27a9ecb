"""Short forms of what tests ask of a store."""

import os

from stackless.durable.records import Record, Snapshot, Start, Step, Worker
from stackless.durable.store.processes import process_began, this_machine


def worker(id="w", *, app="app", python="py", pid=None, machine=None):
    pid = os.getpid() if pid is None else pid
    return Worker(id, app, machine or this_machine(), pid, process_began(pid) or 1, python)


def joined(store, *args, lease=30.0, **options):
    made = worker(*args, **options)
    store.join(made, lease).result()
    return made


def start(store, id, *, app="app", python="py"):
    return begin(store, id, app=app, python=python).result()


def begin(store, id, *, app="app", python="py", arguments=b"arguments"):
    """Start a workflow; return the future."""
    return store.start(Start(id, app, "module:function", arguments), python)


def snapshot(data, position=1):
    return Snapshot(data, position, b"")


def step(number, **what):
    """The record of a step."""
    return Record(Step(number, "module:step", 1.0, 2.0, None, "step"), **what)


def claimed(store, who, count=10):
    return store.claim(who, count).result()
