"""When snapshots are taken, recovery with recorded results, upgrades of Python, lingering."""

import logging
import threading
import time

import families
import orders
import pytest
from durable_waits import until, wait_for
from serving_thread import working
from stackless import durable
from stackless.durable import app as durable_app
from stackless.durable import snapshots as snapshots_of_workflows


@pytest.fixture(autouse=True)
def _fresh():
    families.gates.clear()
    families.broken.clear()


def snapshots(app):
    """Count the snapshots that are written from here on."""
    found = []
    write = app._store.save_all

    def save_all(saves):
        found.extend(each for each in saves if each.snapshot is not None)
        return write(saves)

    app._store.save_all = save_all
    return found


def written_by(app, id, python):
    """Let a workflow look as if another Python had written its snapshot."""
    app._store._write(
        lambda to: to.run("UPDATE durable_workflows SET python = ? WHERE id = ?", python, id)
    ).result()


# ------------------------------------------------------------------ snapshot="wait"


def test_snapshots_only_where_it_waits(app):
    found = snapshots(app)
    assert app.run(families.at_waits, 5) == 2 * (10 + 60)
    assert [each.status for each in found] == ["sleeping"]
    assert len(orders.done) == 10


def stopped_between_two_steps(app):
    """Return the handle of a workflow whose worker stopped behind its last snapshot."""
    gate = families.gates["stop"] = threading.Event()
    with working(app):
        handle = app.start(families.changes_its_mind, "stop", id="one")
        wait_for(lambda: ("gated", "stop") in orders.done)
        app.stop()
        gate.set()
    return handle


def test_recovery_hands_over_recorded_results(app):
    """It is stopped between two steps behind its last snapshot; these are not done again."""
    handle = stopped_between_two_steps(app)
    assert handle.status() == "ready" and handle._info().snapshot is None
    assert app.run(families.changes_its_mind, id="one") is None
    assert orders.done == [("double", 1), ("gated", "stop")]


def test_code_that_does_something_else_has_diverged(app):
    handle = stopped_between_two_steps(app)
    families.broken.add("stop")
    with pytest.raises(durable.Diverged, match="families:undo as request 1.*families:double"):
        app.run(families.changes_its_mind, id="one")
    assert handle.status() == "stuck" and ("undo", "stop") not in orders.done
    families.broken.clear()
    handle.retry()
    assert app.run(families.changes_its_mind, id="one") is None


def test_a_variable_that_cannot_be_pickled_between_waits(app):
    assert app.run(lock_between_waits) == 2


@durable.workflow(snapshot="wait")
def lock_between_waits():
    lock = threading.Lock()
    found = families.double(1)
    del lock
    durable.sleep(0.01)
    return found


# ------------------------------------------------------------------ what cannot be pickled


def test_it_is_known_before_the_step_runs(app):
    with pytest.raises(durable.NotDurable, match=r"locals\['lock'\]"):
        app.run(families.holds_a_lock, 1)
    assert orders.done == []


def test_a_result_of_a_step_that_cannot_be_pickled(app):
    with pytest.raises(durable.NotDurable, match="result of the step test_policies:lock"):
        app.run(gets_a_lock, id="one")
    (step,) = app.handle("one").steps()
    assert "NotDurable" in step.error


@durable.step
def lock():
    return threading.Lock()


@durable.workflow
def gets_a_lock():
    lock()


# ------------------------------------------------------------------ other Pythons


def test_a_workflow_of_another_python_is_listed(app):
    with working(app):
        handle = app.start(families.held, "one")
        until(handle, "waiting")
        assert app.workflows(stuck=True) == []
    written_by(app, handle.id, "cpython 3.9 3425 x86_64")
    (info,) = app.workflows(stuck=True)
    assert info.id == handle.id and info.needs == "CPython 3.9 on x86_64"
    handle.send("one", 1)
    with working(app):
        time.sleep(0.3)
        assert handle.status() == "waiting"


def test_a_workflow_that_has_not_begun_may_be_run_by_any_python(app, monkeypatch):
    monkeypatch.setattr(durable_app, "this_python", lambda: "cpython 3.99 9999 x86_64")
    handle = app.start(orders.empty, 5)
    monkeypatch.undo()
    with working(app):
        assert handle.result(60) == 5


def test_replay_where_the_snapshot_cannot_be_loaded(app, monkeypatch):
    from stackless import pickling
    from stackless.durable import driving

    families.broken.add("replayed")
    with working(app):
        handle = app.start(families.replayed, 4)
        until(handle, "waiting")
    assert handle._info().python == ""
    families.broken.clear()
    orders.done.clear()
    loads = driving.stackless.loads

    def refuse(blob, **options):
        if "code_store" in options:
            raise pickling.CodeVersionError("another Python")
        return loads(blob, **options)

    monkeypatch.setattr(driving.stackless, "loads", refuse)
    handle.send("more", "end")
    with working(app):
        assert handle.result(60) == ("replayed", 8, "end")
    assert orders.done == []


# ------------------------------------------------------------------ large snapshots, lingering


def test_a_large_snapshot_is_logged_once_with_its_variables(app, caplog):
    snapshots_of_workflows.warned.clear()
    with caplog.at_level(logging.WARNING, "stackless.durable"):
        app.run(families.large)
        app.run(families.large)
    (record,) = caplog.records
    text = record.getMessage()
    assert "families:large" in text and "snapshot_limit=2,000" in text
    assert "variables: big in large" in text and "request" not in text


def test_a_short_wait_in_memory(url):
    app = durable.App("tests", url, key=b"a key of the tests", linger=20.0)
    try:
        found = snapshots(app)
        assert app.run(orders.plain, 1, 2, (), 0.05) == (4, [])
        assert [each.status for each in found] == ["running"]
        with working(app):
            handle = app.start(families.held, "one")
            until(handle, "running")
            time.sleep(0.05)
            handle.send("one", 1)
            assert handle.result(60) is None
            cancelled = app.start(families.held, "two")
            until(cancelled, "running")
            cancelled.cancel()
            until(cancelled, "cancelled")
    finally:
        app.close()


def test_a_long_back_off_is_a_row(app, later, worker):
    handle = app.start(waits_for_retry)
    until(handle, "sleeping")
    assert handle.where()[-1].function == "waits_for_retry"
    later(20)
    assert handle.result(60) == 2
    assert len(orders.done) == 2


@durable.step(retries=3, backoff=lambda retry: 20.0)
def second_time():
    orders.note("second_time")
    if len(orders.done) < 2:
        raise LookupError
    return len(orders.done)


@durable.workflow
def waits_for_retry():
    return second_time()


def test_wrong_policies():
    for wrong in (
        {"snapshot": "never"},
        {"snapshot": "wait", "history": True},
        {"snapshot_limit": 0},
    ):
        with pytest.raises(ValueError):
            durable.workflow(**wrong)(families.add)
