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
from stackless.durable.app import App, Handle, WorkflowFailed, WorkflowStuck
from stackless.durable.calls import (
    exponential,
    idempotency_key,
    receive,
    sleep,
    step,
    workflow,
)
from stackless.durable.records import DurableError, Info, LeaseLost, NoSuchWorkflow, Step
from stackless.durable.worker import NotDurable

__all__ = [
    "App",
    "DurableError",
    "Handle",
    "Info",
    "LeaseLost",
    "NoSuchWorkflow",
    "NotDurable",
    "Step",
    "WorkflowFailed",
    "WorkflowStuck",
    "exponential",
    "idempotency_key",
    "receive",
    "sleep",
    "step",
    "workflow",
]

adopt(globals(), "stackless.durable.")


def __dir__() -> list[str]:
    return sorted(__all__)
