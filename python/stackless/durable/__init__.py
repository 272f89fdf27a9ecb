"""Workflows that survive crashes: ordinary functions whose tasklets are kept in a database.

@durable.step
def charge(order): ...

@durable.workflow
def process(order):
    receipt = charge(order)            # recorded once
    durable.sleep(timedelta(days=3))   # a row in a table meanwhile
    return receipt

durable.App("orders").run(process, 42, id="order-42")
"""

from __future__ import annotations

from stackless._package.surface import adopt
from stackless.durable.app import App
from stackless.durable.calls import (
    exponential,
    idempotency_key,
    receive,
    sleep,
    step,
    transaction,
    upgrade_point,
    workflow,
)
from stackless.durable.checking import Finding, Findings, check
from stackless.durable.handle import Handle
from stackless.durable.parallel import Child, gather, map, start
from stackless.durable.records import (
    Cancelled,
    Diverged,
    DurableError,
    Info,
    LeaseLost,
    NoSuchWorkflow,
    Step,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowStuck,
    WrongState,
)
from stackless.durable.schedules import Schedule
from stackless.durable.shelf import Shelf
from stackless.durable.snapshots import NotDurable

__all__ = [
    "App",
    "Cancelled",
    "Child",
    "Diverged",
    "DurableError",
    "Finding",
    "Findings",
    "Handle",
    "Info",
    "LeaseLost",
    "NoSuchWorkflow",
    "NotDurable",
    "Schedule",
    "Shelf",
    "Step",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowStuck",
    "WrongState",
    "check",
    "exponential",
    "gather",
    "idempotency_key",
    "map",
    "receive",
    "sleep",
    "start",
    "step",
    "transaction",
    "upgrade_point",
    "workflow",
]

adopt(globals(), "stackless.durable.")


def __dir__() -> list[str]:
    return sorted(__all__)
