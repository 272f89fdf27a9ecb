"""Workers that are killed at each write: children, parallel steps, transactions, cancellation."""

import collections
import os
import random
import time

import families
import pytest
from durable_waits import wait_for
from forked_workers import forge
from stackless import durable

EVERYTHING = ([40, 42, 44], [1, 3], 4, [1])
LEDGER = collections.Counter(
    ["double 2", "double 20", "double 21", "double 22", "deposit crash2 1", "deposit crash2 2"]
    + ["fails", "undo parallel", "undo fails", "fill 1"]
)
KILLS = 300 if os.environ.get("STACKLESS_NIGHTLY") else 20
#: Steps that may be done again after one kill: two in parallel and one of the child.
MOST = 3


@pytest.fixture
def app(url):
    made = durable.App("tests", url, key=b"a key of the tests")
    yield made
    made.close()


def forget(to):
    for table in ("workflows", "steps", "messages"):
        to.run(f"DELETE FROM durable_{table}")
    to.run("DROP TABLE IF EXISTS deposits")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_every_write(app, url, tmp_path, when):
    """Steps in flight are done again, and no others; transactions are there exactly once."""
    ledger = tmp_path / "ledger"
    with forge(ledger) as made:
        for number in range(1, 100):
            app._store._write(forget).result()
            ledger.unlink(missing_ok=True)
            worker = made.begin(url, "all_together", [2], number, when)
            if worker.wait() == 0:
                break
            before = collections.Counter(ledger.read_text().splitlines() if ledger.exists() else ())
            assert before <= LEDGER
            assert made.begin(url, "all_together", [2]).wait() == 0
            assert app.handle("one").result() == EVERYTHING
            lines = collections.Counter(ledger.read_text().splitlines())
            assert set(lines) == set(LEDGER)
            assert sum((lines - LEDGER).values()) <= MOST, lines
            rows = app._store._read("SELECT amount FROM deposits ORDER BY amount")
            assert rows == [(1,), (2,)]
            steps = app.handle("one").steps()
            assert [each.number for each in steps] == list(range(1, len(steps) + 1))
    assert 10 < number < 99


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_every_write_of_a_cancellation(app, url, tmp_path, when):
    """The parent and the child clean up, whenever the worker dies."""
    ledger = tmp_path / "ledger"
    with forge(ledger) as made:
        for number in range(1, 100):
            app._store._write(forget).result()
            ledger.unlink(missing_ok=True)
            handle = app.start(families.holds_a_child, "one", id="parent")
            until(made, url, lambda: len(app.workflows(status="waiting")) == 2)
            handle.cancel()
            if not killed(made, url, number, when, lambda: ended(app)):
                break
            until(made, url, lambda: ended(app))
            lines = collections.Counter(ledger.read_text().splitlines())
            assert set(lines) == {"undo one", "undo parent of one"}
            assert sum(lines.values()) <= 4
            for each in app.workflows():
                kinds = [
                    (step.kind, step.error and step.error[:30]) for step in each_steps(app, each)
                ]
                assert kinds[-2:] == [
                    (kinds[-2][0], "stackless.durable.Cancelled: t"),
                    ("step", None),
                ]
    assert 2 < number < 99


@pytest.mark.timeout(120 + KILLS * 2)
def test_kills_under_load(app, url, tmp_path):
    """Two workers, one of which is killed again and again, while workflows are cancelled."""
    chance = random.Random(seed := int(os.environ.get("STACKLESS_SEED", 0)) or time.time_ns())
    print(f"STACKLESS_SEED={seed}")
    count, ledger = 2 * KILLS, tmp_path / "ledger"
    # PostgreSQL refuses one of two processes that make a table at once.
    app._store._write(lambda to: to.run(families.DEPOSITS)).result()
    handles = [app.start(families.all_together, n, id=f"{n}") for n in range(count)]
    held = [app.start(families.holds_a_child, f"c{n}", id=f"c{n}") for n in range(KILLS)]
    with forge(ledger, QUIET="1") as made:
        workers = [made.begin(url) for _ in range(2)]
        for each in held:
            time.sleep(chance.uniform(0.01, 0.15))
            workers.pop(0).kill()
            workers.append(made.begin(url))
            each.cancel()
        try:
            for n, handle in enumerate(handles):
                results = [2 * (10 * n + each) for each in range(3)]
                assert handle.result(100) == (results, [1, 3], 2 * n, [1])
            for each in held:
                with pytest.raises(durable.WorkflowCancelled):
                    each.result(100)
        finally:
            for each in workers:
                each.kill()
    rows = app._store._read("SELECT account, amount FROM deposits ORDER BY account, amount")
    assert sorted(rows) == sorted((f"crash{n}", amount) for n in range(count) for amount in (1, 2))
    lines = collections.Counter(ledger.read_text().splitlines())
    for n, each in enumerate(held):
        steps = each.steps()
        begun = any(step.kind == "start" and step.error is None for step in steps)
        child = [info for info in app.workflows(limit=9999) if info.id == f"c{n} child"]
        assert begun == bool(child), steps
        assert all(info.status == "cancelled" for info in child), (steps, child)
        assert bool(lines[f"undo parent of c{n}"]) == (len(steps) == 3), (n, steps)
    repeated = sum(lines.values()) - len(lines)
    assert repeated <= KILLS * 3 * count


def each_steps(app, info):
    return app.handle(info.id).steps()


def ended(app):
    return len(app.workflows(status="cancelled")) == 2


def until(made, url, condition):
    """Let a worker run until a condition is true."""
    worker = made.begin(url)
    wait_for(condition)
    worker.kill()


def killed(made, url, number, when, condition):
    """Let a worker run that kills itself. False if a condition became true before that."""
    worker = made.begin(url, None, (), number, when)
    end = time.monotonic() + 60
    while worker.is_running():
        if condition():
            worker.kill()
            return False
        assert time.monotonic() < end
        time.sleep(0.005)
    return True
