"""Spans of OpenTelemetry for workflows and steps, if `opentelemetry-api` is installed.

All spans of a workflow belong to one trace, whose number follows from the workflow's id: so they
are found together, whichever processes and days they are of. There is a span for each time that a
workflow is in a worker, and below it one for each try of a step, which is the current span of the
step's function. Without OpenTelemetry nothing is done.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from stackless.durable.records import Cancelled, Claim

if TYPE_CHECKING:
    from stackless.durable.driving import Drive

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]

#: Whether OpenTelemetry is there.
INSTALLED = trace is not None
_NAME = "stackless.durable"
#: The spans of workflows that are in this process, by id.
_spans: dict[str, Any] = {}


@contextlib.contextmanager
def workflow(drive: Drive, claim: Claim) -> Iterator[None]:
    """Have a span for a workflow that is in this worker meanwhile."""
    if trace is None:
        yield
        return
    digest = hashlib.blake2b(claim.id.encode(), digest_size=24).digest()
    of_workflow = trace.SpanContext(
        int.from_bytes(digest[:16], "big") or 1,
        int.from_bytes(digest[16:], "big") or 1,
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    span = trace.get_tracer(_NAME).start_span(
        claim.function,
        context=trace.set_span_in_context(trace.NonRecordingSpan(of_workflow)),
        attributes={"durable.workflow.id": claim.id, "durable.workflow.steps": claim.steps},
    )
    _spans[claim.id] = span
    try:
        yield
        error = drive.error
        if isinstance(error, Exception):
            _failed(span, error)
        span.set_attribute("durable.workflow.ended", drive.over)
        span.set_attribute("durable.workflow.cancelled", isinstance(error, Cancelled))
    finally:
        if _spans.get(claim.id) is span:
            del _spans[claim.id]
        span.end()


def step(
    function: Callable[..., Any], name: str, workflow: str, number: int, tries: Callable[[], int]
) -> Callable[..., Any]:
    """Return what does the same as the function of a step, with a span for each call.

    `tries` returns how many there were before.
    """
    above = _spans.get(workflow)
    if trace is None or (above is not None and not above.is_recording()):
        return function  # there is no SDK, or this workflow is not sampled

    def call(*args: Any, **kwargs: Any) -> Any:
        span = trace.get_tracer(_NAME).start_span(
            name,
            context=None if above is None else trace.set_span_in_context(above),
            attributes={
                "durable.workflow.id": workflow,
                "durable.step.number": number,
                "durable.step.try": tries() + 1,
            },
        )
        with trace.use_span(span, end_on_exit=True):  # records an exception
            return function(*args, **kwargs)

    def in_context(*args: Any, **kwargs: Any) -> Any:
        # A context of its own: what is current in one tasklet is not in the others of this thread.
        return contextvars.copy_context().run(call, *args, **kwargs)

    return in_context


def _failed(span: Any, error: BaseException) -> None:
    span.record_exception(error)
    span.set_status(trace.Status(trace.StatusCode.ERROR, f"{type(error).__name__}: {error}"))
