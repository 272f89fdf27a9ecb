"""Children, steps in parallel and transactions."""

import threading

import families
import orders
import pytest
from durable_waits import until, wait_for
from stackless import durable


@pytest.fixture(autouse=True)
def _fresh():
    families.gates.clear()
    families.broken.clear()


# ------------------------------------------------------------------ children


def test_children(app):
    assert app.run(families.parent, 3, id="one") == [0, 2, 4]
    assert [each.kind for each in app.handle("one").steps()] == ["start"] * 3 + ["join"] * 3
    children = {each.id: each.parent for each in app.workflows() if each.parent}
    assert children == {f"one/{number}": "one" for number in (1, 2, 3)}


def test_a_parent_is_a_row_while_it_waits(app, worker):
    handle = until(app.start(families.holds_a_child, "one"), "waiting")
    assert "one child" in {each.awaits for each in app.workflows(status="waiting")}
    app.handle("one child").send("one", 1)
    assert handle.result(60) is None


def test_the_exception_of_a_child(app):
    families.broken.add("x")
    assert app.run(families.parent_of_failure, "x") == "caught x"
    assert app.handle("child of x").status() == "failed"


def test_a_child_of_an_id_that_exists(app):
    families.broken.add("x")
    for _ in range(2):
        assert app.run(families.parent_of_failure, "x") == "caught x"
    assert len(orders.done) == 1


def test_a_child_that_takes_too_long(app):
    text, child = app.run(families.impatient)
    assert text == "too late" and isinstance(child, durable.Child)
    assert app.handle(child.id).status() in ("waiting", "ready", "running")
    with pytest.raises(RuntimeError, match="in a workflow only"):
        child.join()


def test_wrong_children():
    with pytest.raises(ValueError, match="no workflow"):
        durable.start(orders.charge, 1)
    with pytest.raises(TypeError, match="id must be"):
        durable.start(families.child, 1, id=3)
    with pytest.raises(RuntimeError, match="in a workflow only"):
        durable.start(families.child, 1)


# ------------------------------------------------------------------ steps in parallel


def test_results_are_in_order(app):
    assert app.run(families.gathered, (3, 1, 2), id="one") == ([6, 2, 4], [206, 202, 204])
    steps = app.handle("one").steps()
    assert [each.kind for each in steps] == (["gather"] + ["step"] * 3) * 2
    assert [each.number for each in steps] == list(range(1, 9))


def test_steps_run_at_the_same_time_up_to_the_limit(app, worker):
    for name in ("a", "b", "c"):
        families.gates[name] = threading.Event()
    handle = app.start(held_together, ("a", "b", "c"), 2)
    wait_for(lambda: len(orders.done) == 2)
    families.gates["b"].set()
    wait_for(lambda: len(orders.done) == 3)
    assert [each[1] for each in orders.done] == ["a", "b", "c"]
    for each in families.gates.values():
        each.set()
    assert handle.result(60) == ["a", "b", "c"]


@durable.workflow
def held_together(names, limit):
    return durable.map(families.gated, names, limit=limit)


@durable.workflow
def filled_in_parallel():
    lists = [[], []]
    durable.gather([durable_fill(each) for each in lists])
    durable.sleep(0.01)
    return lists


def durable_fill(found):
    import functools

    return functools.partial(families.fill, found, 1)


def test_exceptions_are_raised_when_all_have_ended(app):
    families.broken.add("b")
    with pytest.raises(LookupError, match="b"):
        app.run(families.gathered_errors, "abc", False, id="one")
    assert len(orders.done) == 3
    assert app.run(families.gathered_errors, "abc", True) == ["a", "b", "c"]


def test_steps_that_change_their_arguments(app):
    assert app.run(families.filled) == (True, [1, 2])
    assert app.run(filled_in_parallel) == [[1], [1]]


@durable.workflow
def nothing():
    return durable.gather(), durable.map(families.double, [])


def test_nothing_to_do(app):
    assert app.run(nothing) == ([], [])


def test_wrong_arguments_of_gather():
    with pytest.raises(TypeError, match="no step"):
        durable.gather(orders.shipped)
    with pytest.raises(TypeError, match="no step"):
        durable.gather([families.double, 5])
    with pytest.raises(TypeError, match="not iterable"):
        durable.gather(5)
    with pytest.raises(TypeError, match="no step"):
        durable.map(len, [])
    with pytest.raises(ValueError, match="limit"):
        durable.map(families.double, [], limit=0)
    with pytest.raises(RuntimeError, match="in a workflow only"):
        durable.gather(families.double)


# ------------------------------------------------------------------ transactions


def test_transactions_are_committed_with_their_record(app):
    assert app.run(families.banking, (1, 13, 2), id="one") == [1, "LookupError", 3]
    rows = app._store._read("SELECT amount FROM deposits ORDER BY amount")
    assert rows == [(1,), (2,)]
    assert [each.error for each in app.handle("one").steps()] == [
        None,
        "LookupError: unlucky",
        None,
    ]


def test_transactions_cannot_be_committed_by_their_function(app):
    found = app.run(families.banking, (1, 14, 15, 2))
    assert found[0] == 1 and found[3] == 3
    assert found[1] in ("DatabaseError", "ProgrammingError") and found[2] == "NotDurable"
    assert app._store._read("SELECT count(*) FROM deposits") == [(2,)]


def test_a_transaction_is_tried_again(app):
    app.run(families.tried_thrice)
    assert len(orders.done) == 3
    assert app._store._read("SELECT count(*) FROM deposits") == [(1,)]


def test_many_transactions_and_other_records_at_once(app, worker):
    """One that fails does not spoil those that are committed with it."""
    handles = [app.start(families.banking, (1, 13, 1)) for _ in range(30)]
    others = [app.start(orders.many, number, 5) for number in range(30)]
    for each in handles:
        assert each.result(60)[1] == "LookupError"
    assert [each.result(60) for each in others] == [20] * 30
    assert app._store._read("SELECT sum(amount) FROM deposits") == [(60,)]


def test_outside_of_a_workflow_a_transaction_is_a_function():
    import sqlite3

    connection = sqlite3.connect(":memory:")
    assert families.deposit(connection, "x", 3) == 3
    connection.close()


def test_a_transaction_of_a_worker_that_has_lost_its_lease(app):
    """Its function is not called."""
    from stackless.durable.records import LeaseLost

    class Body:
        def call(self, connection):
            raise AssertionError("was called")

    handle = app.start(orders.empty)
    with pytest.raises(LeaseLost):
        app._store.transact(handle.id, 1, Body()).result()


@durable.workflow
def pays_in_parallel():
    from functools import partial

    calls = [partial(families.deposit, "b", amount) for amount in (1, 2, 13, 4)]
    found = durable.gather(calls, return_exceptions=True)
    return [type(each).__name__ if isinstance(each, Exception) else None for each in found]


def test_transactions_in_parallel(app):
    assert app.run(pays_in_parallel) == [None, None, "LookupError", None]
    assert app._store._read("SELECT sum(amount) FROM deposits") == [(7,)]
