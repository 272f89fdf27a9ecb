"""Workflows, steps, waiting and messages, in one process."""

import os
import stat
import threading

import orders
import pytest
import stackless
from durable_waits import until, wait_for
from serving_thread import working
from stackless import durable


def names(handle):
    return [each.name.rpartition(":")[2] for each in handle.steps() if each.kind == "step"]


# ------------------------------------------------------------------ a workflow and its steps


def test_run_returns_the_result_and_records_the_steps(app):
    assert app.run(orders.plain, 1, 2.5, id="one") == (5.0, ["A of 1", "B of 1", "end"])
    handle = app.handle("one")
    assert handle.status() == "done" and names(handle) == ["charge", "ship", "ship"]
    assert orders.done == [("charge", 1, 2.5), ("ship", 1, "A"), ("ship", 1, "B")]


def test_the_same_id_is_the_same_workflow(app):
    first = app.run(orders.plain, 1, 2, id="one")
    assert app.run(orders.plain, 99, 99, id="one") == first
    assert len(orders.done) == 3
    assert app.start(orders.plain, 5, 5).id != app.start(orders.plain, 5, 5).id


def test_ordinary_calls_outside_of_workflows():
    orders.done.clear()
    assert orders.charge(1, 2) == 4
    with pytest.raises(RuntimeError):
        durable.sleep(1)
    with pytest.raises(RuntimeError):
        durable.receive("topic")
    with pytest.raises(RuntimeError):
        durable.idempotency_key()


def test_exceptions_of_steps_and_of_workflows(app):
    with pytest.raises(LookupError, match="caught timeout"):
        app.run(orders.errors, 1, id="one")
    handle = app.handle("one")
    assert handle.status() == "failed"
    assert [each.error and each.error.partition(":")[0] for each in handle.steps()] == [
        "LookupError",
        "stackless.TimeoutError",
        "LookupError",
    ]
    (info,) = app.workflows(status="failed")
    assert "orders.py" in info.error and "failing(text)" in info.error


def test_a_result_that_cannot_be_pickled(app):
    with pytest.raises(TypeError, match="lock"):
        app.run(orders.returns_a_lock)


def test_a_step_that_is_killed(app):
    with pytest.raises(durable.DurableError, match="killed"):
        app.run(orders.has_a_step_that_is_killed)


def test_retries_have_one_idempotency_key(app):
    assert app.run(orders.retried, 2, id="one") == "one/1"
    assert len(orders.done) == 3
    orders.done.clear()
    with pytest.raises(ConnectionError):
        app.run(orders.retried, 9, id="two")
    assert len(orders.done) == 4


def test_a_variable_that_cannot_be_pickled(app):
    text = app.run(orders.unpicklable, 1)
    assert "locals['lock']" in text and "orders.py" in text


def test_recursion(app):
    assert app.run(orders.recursive, 5) == 2 * sum(range(6))


def test_wrong_uses(app, url, monkeypatch):
    with pytest.raises(ValueError, match="no workflow"):
        app.start(shipped := orders.shipped, 1, ())
    with pytest.raises(ValueError, match="inside of a function"):

        @durable.workflow
        def local():
            pass

    with pytest.raises(ValueError, match="inside of a function"):

        @durable.step
        def local_step():
            pass

    with pytest.raises(ValueError, match="negative"):
        durable.step(retries=-1)(shipped)
    with pytest.raises(TypeError):
        app.start(orders.plain, threading.Lock())
    for wrong in ("mysql://x", "sqlite:///", "file.db", "sqlite:///:memory:"):
        with pytest.raises(ValueError, match="a store is"):
            durable.App("x", wrong)
    with pytest.raises(TypeError, match="id must be"):
        app.start(orders.empty, id=3)
    with pytest.raises(TypeError, match="topic must be"):
        app.start(orders.empty).send(3, 4)
    with pytest.raises(ValueError, match="key"):
        durable.App("x", url, key=b"")
    monkeypatch.delenv("STACKLESS_DURABLE_KEY", raising=False)
    with pytest.raises(ValueError, match="key"):
        durable.App("x", "postgresql://127.0.0.1:1/x")
    with pytest.raises(durable.NoSuchWorkflow):
        app.handle("nobody")
    with pytest.raises(ValueError, match="concurrency"):
        app.serve(concurrency=0)


# ------------------------------------------------------------------ waiting


def test_a_sleeping_workflow_is_a_row(app, later, worker):
    handle = until(app.start(orders.plain, 1, 2, pause=20.0), "sleeping")
    (runner,) = app._runners
    wait_for(lambda: not runner._active)
    assert [f.function for f in handle.where()] == ["plain"]
    assert handle.where()[0].variables["receipt"] == "4"
    later(20)
    assert handle.result(60)[0] == 4


def test_messages_in_their_order_before_and_after_the_wait(app, worker):
    handle = until(app.start(orders.approval, 1), "waiting")
    for topic, value in (("more", 1), ("more", [2]), ("approval", "yes")):
        handle.send(topic, value)
    assert handle.result(60) == (1, "yes", [1, [2]])
    with pytest.raises(durable.DurableError, match="ended"):
        handle.send("more", 3)
    with pytest.raises(durable.NoSuchWorkflow):
        durable.Handle(app, "nobody").send("more", 3)


def test_a_message_that_never_comes(app):
    assert app.run(orders.approval, 1, timeout=0.05) == (1, "no answer", [])


def test_a_result_that_takes_too_long(app):
    handle = app.start(orders.approval, 1)
    assert handle.where() == ()
    with pytest.raises(TimeoutError):
        handle.result(0.05)


def test_many_at_once(app, worker):
    handles = [app.start(orders.many, number, 10) for number in range(100)]
    assert [handle.result(60) for handle in handles] == [90] * 100
    assert len(orders.done) == 1000
    assert {info.status for info in app.workflows(limit=1000)} == {"done"}


def test_more_workflows_than_are_in_memory_at_a_time(app):
    with working(app, concurrency=3):
        handles = [app.start(orders.empty, number) for number in range(50)]
        assert [handle.result(60) for handle in handles] == list(range(50))


# ------------------------------------------------------------------ starting many


def test_many_are_started_with_one_commit(app, monkeypatch):
    writes, write = [], app._store._database.submit_start
    monkeypatch.setattr(
        app._store._database, "submit_start", lambda to: writes.append(to) or write(to)
    )
    handles = app.start_all(orders.empty, [(number,) for number in range(2500)])
    assert len(writes) == 3 and len({each.id for each in handles}) == 2500
    monkeypatch.undo()
    with working(app, concurrency=1000):
        assert [each.result(60) for each in handles[::100]] == list(range(0, 2500, 100))
        wait_for(lambda: not app.workflows(status="ready", limit=1))


def test_those_whose_ids_exist_are_not_started(app):
    first = app.start(orders.empty, "first", id="2")
    again = app.start_all(orders.empty, ([each] for each in "abc"), ids=iter("123"))
    assert [each.id for each in again] == ["1", "2", "3"]
    with working(app):
        assert [each.result(60) for each in again] == ["a", "first", "c"]
    assert first.result() == "first"
    assert app.start_all(orders.empty, []) == []


def test_of_wrong_arguments_none_is_started(app):
    for ids, arguments, error in (
        (["1"], [(), ()], ValueError),
        (["1", "2", "3"], [(), ()], ValueError),
        (["1", 2], [(), ()], TypeError),
        (None, [(1,), (threading.Lock(),)], TypeError),
        (None, [(1,), 5], TypeError),
    ):
        with pytest.raises(error):
            app.start_all(orders.empty, arguments, ids=ids)
    with pytest.raises(ValueError, match="no workflow"):
        app.start_all(orders.shipped, [])
    assert app.workflows() == []


# ------------------------------------------------------------------ several workers, keys


def test_a_second_worker_takes_over_what_the_first_has_left(app, url):
    with working(app):
        handle = until(app.start(orders.approval, 1), "waiting")
    assert handle.status() == "waiting"
    other = durable.App("tests", url, key=b"a key of the tests")
    try:
        with working(other):
            handle.send("approval", "no")
            assert handle.result(60) == (1, "no", [])
    finally:
        other.close()


def test_apps_of_other_names_have_other_workflows(app, url):
    other = durable.App("another", url, key=b"a key of the tests")
    try:
        handle = other.start(orders.empty)
        app.run(orders.empty)
        assert handle.status() == "ready" and len(app.workflows()) == 1
    finally:
        other.close()


def test_another_key_leaves_the_workflow_stuck(app, url):
    app.start(orders.empty, id="one")
    other = durable.App("tests", url, key=b"wrong")
    try:
        with pytest.raises(durable.WorkflowStuck, match="SignatureError"):
            other.run(orders.empty, id="one")
    finally:
        other.close()


def test_keys_that_change(app, url):
    app.start(orders.empty, 7, id="one")
    other = durable.App("tests", url, key=[b"new", b"a key of the tests"])
    try:
        assert other.run(orders.empty, id="one") == 7
        assert other.run(orders.empty, 8, id="two") == 8
    finally:
        other.close()


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path, monkeypatch):
    path, url = f"{tmp_path}/durable.db", f"sqlite:///{tmp_path}/durable.db"
    monkeypatch.delenv("STACKLESS_DURABLE_KEY", raising=False)
    apps = [durable.App("x", url) for _ in range(2)]
    assert apps[0]._keys == apps[1]._keys and len(apps[0]._keys[0]) == 64
    assert stat.S_IMODE(os.stat(f"{path}.key").st_mode) == 0o600
    monkeypatch.setenv("STACKLESS_DURABLE_KEY", "from the environment")
    apps.append(durable.App("x", url))
    assert apps[2]._keys == [b"from the environment"]
    for each in apps:
        each.close()


def test_a_workflow_whose_function_is_gone(app, monkeypatch):
    app.start(orders.empty, id="one")
    from stackless.durable import calls

    monkeypatch.delitem(calls.workflows, "orders:empty")
    with working(app):
        with pytest.raises(durable.WorkflowStuck, match="no workflow orders:empty"):
            app.handle("one").result(60)


def test_nothing_is_left_behind(app):
    app.run(orders.plain, 1, 2)
    assert stackless.getruncount() == 1
    assert app._store._read("SELECT count(*) FROM durable_workers") == [(0,)]
