"""What is done to workflows from outside: cancel, pause, retry, fork, migrate, remove."""

import threading
import time

import families
import orders
import pytest
import stackless
from durable_waits import until, wait_for
from serving_thread import working
from stackless import durable


@pytest.fixture(autouse=True)
def _fresh():
    families.gates.clear()
    families.broken.clear()


def names(handle):
    return [each.name.rpartition(":")[2] for each in handle.steps() if each.kind == "step"]


def gate(name):
    families.gates[name] = threading.Event()
    return families.gates[name]


def begun(name):
    wait_for(lambda: ("gated", name) in orders.done)


# ------------------------------------------------------------------ cancel


def test_a_cancelled_workflow_cleans_up_with_steps(app, worker):
    handle = app.start(families.held, "one")
    until(handle, "waiting")
    handle.cancel()
    until(handle, "cancelled")
    assert orders.done == [("undo", "one")] and names(handle) == ["undo"]
    assert [each.error and each.error.partition(":")[0] for each in handle.steps()] == [
        "stackless.durable.Cancelled",
        None,
    ]
    with pytest.raises(durable.WorkflowCancelled):
        handle.result(60)
    with pytest.raises(durable.WrongState, match="cannot be cancelled: it has ended"):
        handle.cancel()
    with pytest.raises(durable.NoSuchWorkflow):
        durable.Handle(app, "nobody").cancel()


def test_children_are_cancelled_with_their_parent(app, worker):
    handle = app.start(families.holds_a_child, "one")
    until(handle, "waiting")
    until(app.handle("one child"), "waiting")  # it begins when its parent waits already
    handle.cancel()
    until(handle, "cancelled")
    until(app.handle("one child"), "cancelled")
    assert sorted(orders.done) == [("undo", "one"), ("undo", "parent of one")]


def test_a_child_that_has_not_begun_is_cancelled_at_once_with_its_parent(app, monkeypatch):
    """It has nothing to clean up, and does not begin to do anything."""
    claim = app._store.claim
    handle = app.start(families.holds_a_child, "one")

    def only_the_parent(worker, count):
        return claim(worker, 1 if handle.status() == "ready" else 0)

    monkeypatch.setattr(app._store, "claim", only_the_parent)
    with working(app):
        until(handle, "waiting")
        assert app.handle("one child").status() == "ready"
        handle.cancel()
        assert app.handle("one child").status() == "cancelled"
        until(handle, "cancelled")
    assert orders.done == [("undo", "parent of one")]


def test_a_child_that_is_cancelled_is_an_error_of_join(app, worker):
    handle = app.start(families.holds_a_child, "one")
    until(handle, "waiting")
    app.handle("one child").cancel()
    with pytest.raises(durable.WorkflowCancelled, match="one child"):
        handle.result(60)


def test_a_workflow_may_refuse(app, worker):
    handle = app.start(families.refuses, "one")
    until(handle, "sleeping")
    handle.cancel()
    assert handle.result(60) == 10


def test_a_step_ends_before_the_cancellation(app, worker):
    first = gate("first")
    handle = app.start(families.two_gates, "first", "second")
    begun("first")
    handle.cancel()
    handle.cancel()
    first.set()
    until(handle, "cancelled")
    assert orders.done == [("gated", "first")]


def test_a_workflow_that_has_not_begun_is_cancelled_at_once(app):
    handle = app.start(families.held, "one")
    handle.cancel()
    assert handle.status() == "cancelled" and orders.done == []


def test_of_parallel_steps_those_that_have_begun_end(app, worker):
    for name in "abc":
        gate(name)
    handle = app.start(parallel_gates, "abcd", 2)
    begun("a")
    begun("b")
    handle.cancel()
    for each in families.gates.values():
        each.set()
    until(handle, "cancelled")
    assert sorted(orders.done) == [("gated", "a"), ("gated", "b"), ("undo", "gathered")]


@durable.workflow
def parallel_gates(names, limit):
    try:
        return durable.map(families.gated, names, limit=limit)
    finally:
        families.undo("gathered")


def test_a_step_that_waits_for_its_next_try_is_cancelled(app, worker):
    handle = app.start(tries_for_days)
    until(handle, "sleeping")
    handle.cancel()
    until(handle, "cancelled")
    assert len(orders.done) == 1


@durable.step(retries=5, backoff=lambda retry: 86400)
def hopeless():
    orders.note("hopeless")
    raise LookupError


@durable.workflow
def tries_for_days():
    hopeless()


def test_a_stuck_workflow_is_cancelled_at_once(app, monkeypatch):
    from stackless.durable import calls

    handle = app.start(orders.empty, 3)
    with monkeypatch.context() as patch:
        patch.delitem(calls.workflows, "orders:empty")
        with working(app):
            until(handle, "stuck")
    handle.cancel()
    assert handle.status() == "cancelled"


# ------------------------------------------------------------------ pause


def test_a_paused_workflow_does_nothing(app, worker):
    first = gate("first")
    handle = app.start(families.two_gates, "first", "second")
    begun("first")
    handle.pause()
    first.set()
    until(handle, "paused")
    time.sleep(0.05)
    assert orders.done == [("gated", "first")]
    handle.resume()
    assert handle.result(60) == ("first", "second")
    assert orders.done == [("gated", "first"), ("gated", "second")]
    with pytest.raises(durable.WrongState, match="ended"):
        handle.pause()


def test_pauses_of_workflows_that_wait(app, later, worker):
    waits, sleeps = app.start(families.held, "one"), app.start(orders.plain, 1, 2, (), 20.0)
    until(waits, "waiting")
    until(sleeps, "sleeping")
    for each in (waits, sleeps):
        each.pause()
        assert each.status() == "paused"
    waits.send("one", 1)
    later(20)
    time.sleep(0.1)
    assert (waits.status(), sleeps.status()) == ("paused", "paused")
    for each in (waits, sleeps):
        each.resume()
    assert waits.result(60) is None and sleeps.result(10) == (4, [])


def test_a_paused_workflow_can_be_cancelled(app, worker):
    handle = app.start(families.held, "one")
    until(handle, "waiting")
    handle.pause()
    handle.cancel()
    until(handle, "cancelled")


def test_resume_needs_a_paused_workflow(app):
    handle = app.start(families.held, "one")
    with pytest.raises(durable.WrongState, match="cannot be resumed: it is ready"):
        handle.resume()


def test_a_pause_survives_its_worker(app):
    gate("first")
    with working(app):
        handle = app.start(families.two_gates, "first", "second")
        begun("first")
        handle.pause()
        families.gates["first"].set()
    assert handle.status() == "paused"


def test_a_pause_between_parallel_steps(app, worker):
    """What is recorded is not done again."""
    for name in "abcd":
        gate(name)
    handle = app.start(parallel_gates, "abcd", 2)
    begun("a")
    begun("b")
    handle.pause()
    for each in families.gates.values():
        each.set()
    until(handle, "paused")
    assert sorted(orders.done) == [("gated", "a"), ("gated", "b")]
    handle.resume()
    assert handle.result(60) == list("abcd")
    assert sorted(orders.done) == [*(("gated", name) for name in "abcd"), ("undo", "gathered")]


# ------------------------------------------------------------------ retry


def test_a_failed_workflow_continues_before_the_failed_step(app):
    families.broken.add("one")
    with pytest.raises(LookupError):
        app.run(families.saga, "one", id="one")
    handle = app.handle("one")
    assert names(handle) == ["double", "double", "flaky", "undo"]
    assert "families.py" in handle.error() and handle.where()[-1].function == "saga"
    families.broken.clear()
    orders.done.clear()
    handle.retry()
    assert handle.error() is None
    assert app.run(families.saga, "one", id="one") == [2, 4, "one"]
    assert orders.done == [("flaky", "one")]
    assert names(handle) == ["double", "double", "flaky"]
    with pytest.raises(durable.WrongState, match="cannot be retried"):
        handle.retry()


def test_a_workflow_that_failed_outside_of_steps(app):
    families.broken.add("one")
    with pytest.raises(ZeroDivisionError):
        app.run(families.broken_code, "one", id="one")
    families.broken.clear()
    app.handle("one").retry()
    assert app.run(families.broken_code, "one", id="one") == 2
    assert orders.done == [("double", 1)]


def test_only_the_failed_ones_of_parallel_steps_are_done_again(app):
    families.broken.update(("b", "d"))
    with pytest.raises(LookupError) as caught:
        app.run(families.gathered_errors, "abcd", False, id="one")
    assert str(caught.value) == "b" and "1 more" in caught.value.__notes__[0]
    families.broken.clear()
    orders.done.clear()
    app.handle("one").retry()
    assert app.run(families.gathered_errors, "abcd", False, id="one") == list("abcd")
    assert orders.done == [("flaky", "b"), ("flaky", "d")]


def test_a_failed_child_and_then_its_parent(app):
    families.broken.add("x")
    with pytest.raises(LookupError):
        app.run(joins, "x", id="one")
    families.broken.clear()
    app.handle("one/1").retry()
    with working(app):
        assert app.handle("one/1").result(60) is None
    app.handle("one").retry()
    assert app.run(joins, "x", id="one") == "joined"
    assert orders.done == [("flaky", "x"), ("flaky", "x")]


@durable.workflow
def joins(name):
    durable.start(families.failing_child, name).join()
    return "joined"


def test_a_failed_workflow_that_is_saved_where_it_waits(app):
    families.broken.add("x")
    with pytest.raises(LookupError):
        app.run(waits_and_fails, "x", id="one")
    families.broken.clear()
    app.handle("one").retry()
    assert app.run(waits_and_fails, "x", id="one") == [2, "x"]
    assert orders.done == [("double", 1), ("flaky", "x"), ("undo", "x"), ("flaky", "x")]


@durable.workflow(snapshot="wait")
def waits_and_fails(name):
    found = [families.double(1)]
    try:
        found.append(families.flaky(name))
    except LookupError:
        durable.sleep(0.01)
        families.undo(name)
        raise
    return found


def test_a_stuck_workflow_is_tried_again(app, monkeypatch):
    from stackless.durable import calls

    app.start(orders.empty, 3, id="one")
    with monkeypatch.context() as patch:
        patch.delitem(calls.workflows, "orders:empty")
        with working(app):
            until(app.handle("one"), "stuck")
    app.handle("one").retry()
    assert app.run(orders.empty, id="one") == 3


# ------------------------------------------------------------------ fork


def test_a_fork_at_each_step(app):
    """With the snapshots of all steps, also of code that is not deterministic."""
    assert app.run(families.kept, 4, id="one") == 12
    for step in range(1, 6):
        orders.done.clear()
        fork = app.fork("one", step, f"fork{step}")
        assert fork.id == f"fork{step}"
        assert app.run(families.kept, id=fork.id) == 12
        assert orders.done == [("double", number) for number in range(step - 1, 4)]
        assert names(fork) == names(app.handle("one"))


def test_a_fork_without_history_gets_the_recorded_results(app):
    app.run(orders.plain, 1, 2, ("a", "b"), id="one")
    orders.done.clear()
    fork = app.handle("one").fork(step=4)
    assert app.run(orders.plain, id=fork.id) == (4, ["A of 1", "B of 1", "end"])
    assert orders.done == [("ship", 1, "B")]


def test_a_fork_of_a_waiting_workflow(app, worker):
    handle = app.start(families.held, "one")
    until(handle, "waiting")
    fork = handle.fork()
    fork.send("one", 1)
    assert fork.result(60) is None
    assert handle.status() == "waiting"


def test_wrong_forks(app):
    app.run(orders.plain, 1, 2, id="one")
    for number in (0, 7):
        with pytest.raises(ValueError, match="steps of 'one'"):
            app.fork("one", number)
    with pytest.raises(durable.WrongState, match="already"):
        app.fork("one", 1, "one")
    with pytest.raises(durable.NoSuchWorkflow):
        app.fork("nobody", 1)
    with pytest.raises(TypeError):
        app.handle("one").fork(id=5)


# ------------------------------------------------------------------ migrate, gc


def test_newer_code_at_an_upgrade_point(app, worker):
    handle = app.start(families.looping, [0])
    until(handle, "waiting")
    assert app.migrate([handle.id], to=families.newer) == 1
    assert handle.status() == "waiting"
    handle.send("next", None)
    assert handle.result(60) == ("newer", [0, 2], 200)
    assert app.workflows()[0].function == "families:newer"
    numbers = [each.number for each in handle.steps()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert app.migrate([handle.id], to=families.newer) == 0
    with pytest.raises(ValueError):
        app.migrate([], to=families.add)


def test_a_failed_workflow_is_migrated_at_once(app):
    families.broken.add("one")
    with pytest.raises(LookupError):
        app.run(families.fails_after_the_point, "one", id="one")
    assert app.migrate(["one"], to=families.newer) == 1
    assert app.run(families.newer, id="one") == ("newer", ["one"], 200)


def test_gc(app):
    handles = [app.start(orders.plain, number, 1, (), id=f"{number}") for number in range(3)]
    sleeping = app.start(orders.plain, 9, 1, (), 3600.0)
    parent = app.start(families.holds_a_child, "p")
    with working(app):
        for each in handles:
            each.result(60)
        until(sleeping, "sleeping")
        until(parent, "waiting")
        parent.pause()
        app.handle("p child").cancel()
        until(app.handle("p child"), "cancelled")
    assert app.gc(older_than=3600) == 0
    assert app.gc(older_than=-1) == 3
    assert {each.id for each in app.workflows()} == {sleeping.id, parent.id, "p child"}
    assert app._store._read("SELECT count(*) FROM durable_steps WHERE workflow = '1'") == [(0,)]


def test_code_that_no_snapshot_needs_is_removed(app, later, monkeypatch):
    from stackless.durable.store import control

    monkeypatch.setattr(control, "CODE_KEPT", -1.0)
    app.run(families.saga, "fine", id="one")
    with working(app):
        handle = app.start(orders.plain, 9, 1, (), 20.0)
        until(handle, "sleeping")
    count = "SELECT count(*) FROM durable_code"
    before = app._store._read(count)
    assert app.gc(older_than=-1) == 1
    assert app._store._read(count) < before
    later(20)
    with working(app):
        assert handle.result(60) == (2, [])
    assert app.gc(older_than=-1) == 1
    assert app._store._read(count) == [(0,)]


def test_a_child_that_is_started_while_its_parent_is_cancelled(app, monkeypatch):
    """Between the request and the record of its start."""
    save_all = app._store.save_all

    def cancel_first(saves):
        for each in saves:
            if each.starts:
                app._store.cancel(each.id).result()
        return save_all(saves)

    app._store.save_all = cancel_first
    with pytest.raises(durable.WorkflowCancelled):
        app.run(families.holds_a_child, "one", id="one")
    assert app.handle("one child").status() == "cancelled"
    assert orders.done == [("undo", "parent of one")]


def test_a_parent_that_finds_its_child_cancelled_with_it(app):
    """Its own cancellation is raised by `join`, so that its `finally` block can do steps."""
    ending, asked = app._store.ending, []

    def cancel_first(id):
        if not asked:
            asked.append(id)
            app._store.cancel("one").result()
            while app.handle(id).status() != "cancelled":
                stackless.sleep(0.002)  # the child's tasklet is in this thread
        return ending(id)

    app._store.ending = cancel_first
    with pytest.raises(durable.WorkflowCancelled):
        app.run(families.holds_a_child, "one", id="one")
    assert orders.done[-1] == ("undo", "parent of one")
