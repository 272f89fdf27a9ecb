"""Workers that are killed at each write: children, parallel steps, transactions, cancellation."""

import collections
import time

import families
import pytest
from forked_workers import forge
from stackless import durable

EVERYTHING = ([40, 42, 44], [1, 3], 4, [1])
LEDGER = collections.Counter(
    ["double 2", "double 20", "double 21", "double 22", "deposit crash 1", "deposit crash 2"]
    + ["fails", "undo parallel", "undo fails", "fill 1"]
)
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


def each_steps(app, info):
    return app.handle(info.id).steps()


def ended(app):
    return len(app.workflows(status="cancelled")) == 2


def until(made, url, condition):
    """Let a worker run until a condition is true."""
    worker = made.begin(url)
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
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
