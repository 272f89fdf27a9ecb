"""Spans of OpenTelemetry for workflows and steps."""

import subprocess
import sys

import orders
import pytest
import stackless
from serving_thread import working
from stackless import durable

pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")

from opentelemetry import trace  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)


@durable.step
def current(number):
    """Return the numbers of the current span before and after others have run."""
    before = trace.get_current_span().get_span_context().span_id
    stackless.sleep(0.05)
    return before, trace.get_current_span().get_span_context().span_id


@durable.workflow
def two_at_once(number):
    return current(number)


@durable.transaction
def writes(connection):
    return 1


@durable.workflow
def in_parallel():
    found = durable.map(current, [1, 2])
    return found, writes()


@pytest.fixture(scope="module")
def exporter():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter):
    exporter.clear()

    def found(id, name=None):
        every = [each for each in exporter.get_finished_spans() if name in (None, each.name)]
        return [each for each in every if each.attributes["durable.workflow.id"] == id]

    return found


def test_a_workflow_is_one_trace(app, spans):
    with working(app):
        app.start(orders.plain, 1, 2, pause=0.3, id="one").result(60)
    workflows = spans("one", "orders:plain")
    steps = spans("one", "orders:charge") + spans("one", "orders:ship")
    assert [each.attributes["durable.workflow.ended"] for each in workflows] == [False, True]
    assert [each.attributes["durable.step.number"] for each in steps] == [1, 3, 4]
    assert len({each.context.trace_id for each in workflows + steps}) == 1
    parents = [each.context.span_id for each in workflows]
    assert [parents.index(each.parent.span_id) for each in steps] == [0, 1, 1]


def test_failed_steps_and_retries(app, spans):
    with working(app):
        app.start(orders.retried, 2, id="retried").result(60)
        with pytest.raises(LookupError):
            app.start(orders.failing_with, "broken", id="bad").result(60)
    tries = spans("retried", "orders:unreliable")
    assert [each.attributes["durable.step.try"] for each in tries] == [1, 2, 3]
    assert [each.status.is_ok for each in tries] == [False, False, True]
    (step,) = spans("bad", "orders:failing")
    (workflow,) = spans("bad", "orders:failing_with")
    for span in (step, workflow):
        assert span.status.description == "LookupError: broken"
        assert [event.name for event in span.events] == ["exception"]


def test_each_step_has_its_own_current_span(app, spans):
    with working(app):
        handles = [app.start(two_at_once, number, id=f"{number}") for number in range(5)]
        results = [handle.result(60) for handle in handles]
    (*found,) = [spans(f"{number}", f"{__name__}:current") for number in range(5)]
    for (span,), (before, after) in zip(found, results, strict=True):
        assert span.context.span_id == before == after


def test_parallel_steps_and_transactions(app, spans):
    with working(app):
        app.start(in_parallel, id="parallel").result(60)
    (workflow,) = spans("parallel", f"{__name__}:in_parallel")
    steps = [each for each in spans("parallel") if each is not workflow]
    assert sorted(each.attributes["durable.step.number"] for each in steps) == [2, 3, 4]
    assert {each.parent.span_id for each in steps} == {workflow.context.span_id}


def test_it_works_without_opentelemetry(tmp_path):
    program = (
        "import sys; sys.modules['opentelemetry'] = None; sys.path.insert(0, 'tests/durable')\n"
        "from stackless import durable; import orders\n"
        "print(durable.App().run(orders.plain, 1, 2)[0])"
    )
    path = orders.__file__.rpartition("/tests/")[0]
    program = program.replace("tests/durable", f"{path}/tests/durable")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("4\n", "")
