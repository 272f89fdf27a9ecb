"""Workers that are killed with SIGKILL: at every write in turn, and at random times under load.

200 kills in all, on SQLite and PostgreSQL together; 2,000 with STACKLESS_NIGHTLY=1.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import orders
import pytest
from forked_workers import forge
from stackless import durable

HERE = Path(__file__).parent
#: Of the test under load, with each store.
KILLS = 976 if os.environ.get("STACKLESS_NIGHTLY") else 76

EVERYTHING = [4, [20, 22], ["a of 1", "b of 1"], 126, "nothing", "LookupError('1')", 198]
LEDGER = [f"charge 1 {amount}" for amount in (2, 10, 11)]
LEDGER += ["ship 1 a", "ship 1 b", *(f"charge 1 {amount}" for amount in (20, 21, 22, 99))]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_every_write(url, tmp_path, when):
    """The step whose record was not written is done again, and no other."""
    app = durable.App("tests", url, key=b"a key of the tests")
    ledger = tmp_path / "ledger"
    try:
        with forge(ledger) as made:
            for number in range(1, 100):
                app._store._write(forget).result()
                ledger.unlink(missing_ok=True)
                worker = made.begin(url, "everything", ["1"], number, when)
                if worker.wait() == 0:
                    break
                so_far = ledger.read_text().splitlines()
                assert made.begin(url, "everything", ["1"]).wait() == 0
                assert app.handle("one").result() == EVERYTHING
                lines = ledger.read_text().splitlines()
                assert so_far == LEDGER[: len(so_far)]
                again = lines[len(so_far) :]
                assert again in (LEDGER[len(so_far) :], LEDGER[len(so_far) - 1 :]), lines
                if when == "after":
                    assert lines == LEDGER
    finally:
        app.close()
    assert number == 13  # nine steps, a sleep, a wait and the end were written


def forget(to):
    """Delete all workflows."""
    for table in ("workflows", "steps", "messages"):
        to.run(f"DELETE FROM durable_{table}")


WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
import orders
from stackless import durable

app = durable.App("tests", sys.argv[2], key=b"a key of the tests")
if sys.argv[3] == "busy":
    print(app.run(orders.busy, 1, 60.0, id="busy"))
else:
    app.serve()
"""


def test_control_c_while_a_workflow_computes(url, tmp_path):
    """It ends the worker and not the workflow, which continues after its last step."""
    ledger = tmp_path / "ledger"
    app = durable.App("tests", url, key=b"a key of the tests")

    def begin(what):
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, str(HERE), url, what],
            env={**os.environ, "LEDGER": str(ledger)},
            stderr=subprocess.PIPE,
            text=True,
        )

    workers = [begin("busy")]
    try:
        while not ledger.exists():
            time.sleep(0.01)
        handle = app.handle("busy")
        while not handle.steps():
            time.sleep(0.01)
        time.sleep(0.1)
        workers[0].send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in workers[0].communicate()[1]
        assert workers[0].returncode == -signal.SIGINT
        assert handle.status() == "ready"
        workers.append(begin("serve"))
        while handle.status() != "running":
            time.sleep(0.01)
    finally:
        for each in workers:
            each.kill()
            each.wait()
            each.stderr.close()
        app.close()
    assert ledger.read_text() == "charge 1 1\n"


def test_two_workers_at_once(url, tmp_path):
    """Each step is done once."""
    ledger = tmp_path / "ledger"
    app = durable.App("tests", url, key=b"a key of the tests")
    try:
        with forge(ledger) as made:
            workers = [made.begin(url) for _ in range(2)]
            handles = [app.start(orders.many, number, 20) for number in range(30)]
            try:
                assert [handle.result(60) for handle in handles] == [380] * 30
            finally:
                for each in workers:
                    each.kill()
    finally:
        app.close()
    lines = ledger.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 600


@pytest.mark.timeout(100 + KILLS * 2)
def test_kills_under_load(url, tmp_path):
    """Two workers, one of which is killed again and again, while messages are sent.

    Every workflow gives what it gives undisturbed; a step is repeated for a kill only; messages
    arrive once and in their order; no workflow is in two workers at once.
    """
    chance = random.Random(seed := int(os.environ.get("STACKLESS_SEED", 0)) or time.time_ns())
    print(f"STACKLESS_SEED={seed}")
    ledger = tmp_path / "ledger"
    app = durable.App("tests", url, key=b"a key of the tests")
    count = 12
    counting = [app.start(orders.counted, number, id=f"{number}") for number in range(count)]
    receiving = [
        app.start(orders.collected, number, id=f"{number}") for number in range(count, 2 * count)
    ]
    sent, over = [0] * count, threading.Event()

    def send():
        while not over.wait(0.001):
            number = chance.randrange(count)
            receiving[number].send("values", sent[number])
            sent[number] += 1
        for handle in receiving:
            handle.send("values", None)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with forge(ledger) as made:
            workers = [made.begin(url) for _ in range(2)]
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.01, 0.15))
                workers.pop(0).kill()
                workers.append(made.begin(url))
            over.set()
            Path(f"{ledger}.over").touch()
            try:
                counted = [handle.result(100) for handle in counting]
                received = [handle.result(100) for handle in receiving]
            finally:
                for each in workers:
                    each.kill()
        steps = [handle.steps() for handle in counting]
    finally:
        over.set()
        sender.join()
        app.close()
    assert received == [list(range(number)) for number in sent]
    for number, recorded in zip(counted, steps, strict=True):
        assert [each.number for each in recorded] == list(range(1, len(recorded) + 1))
        assert sum(each.kind == "step" for each in recorded) == 2 * number + 1
    lines = collections.Counter(ledger.read_text().splitlines())
    assert set(lines) == {
        *(f"charge {n} {step}" for n in range(count) for step in range(counted[n])),
        *(
            f"charge {n} {m}"
            for n in range(count, 2 * count)
            for m in range(5, sent[n - count] + 1, 5)
        ),
    }
    print(f"{sum(lines.values())} steps, {sum(lines.values()) - len(lines)} of them repeated")
    assert sum(lines.values()) - len(lines) <= KILLS * 2 * count
