"""Workers that are killed with SIGKILL: at every write in turn, and at random times under load."""

import collections
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stackless import durable

HERE = Path(__file__).parent
KILLS = 2000 if os.environ.get("STACKLESS_NIGHTLY") else 12

#: Runs the workflows of a database; kills itself before or after write number KILL_AT.
WORKER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import orders
from stackless import durable
from stackless.durable.store.sql import Store

at, after = int(sys.argv[3]), sys.argv[4] == "after"
count = 0
write = Store.save_all

def save(store, what):
    global count
    count += 1
    if count == at and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    future = write(store, what)
    if count == at:
        future.result()
        os.kill(os.getpid(), signal.SIGKILL)
    return future

if at:
    Store.save_all = save
app = durable.App("tests", f"sqlite:///{sys.argv[2]}", key=b"a key of the tests")
if sys.argv[5] == "serve":
    app.serve()
if sys.argv[5] == "busy":
    print(app.run(orders.busy, 1, float(sys.argv[6]), id="busy"))
    sys.exit()
print(app.run(orders.plain, 1, 2.5, pause=0.01, id="one"))
app.close()
"""


def begin(path, ledger, *arguments):
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", WORKER, str(HERE), path, *map(str, arguments)],
        env={**os.environ, "LEDGER": str(ledger)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_every_write(tmp_path, when):
    """The step whose record was not written is done again, and no other."""
    for number in range(1, 100):
        path, ledger = f"{tmp_path}/{number}.db", tmp_path / f"{number}.ledger"
        killed = begin(path, ledger, number, when, "run")
        killed.communicate()
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
        so_far = ledger.read_text().splitlines()
        again = begin(path, ledger, 0, "", "run")
        assert again.communicate() == ("(5.0, ['A of 1', 'B of 1', 'end'])\n", "")
        lines = ledger.read_text().splitlines()
        whole = ["charge 1 2.5", "ship 1 A", "ship 1 B"]
        repeated = lines[len(so_far) :]
        assert repeated in (whole[len(so_far) :], whole[len(so_far) - 1 :]), lines
        if when == "after":
            assert lines == whole
    assert number == 6  # three steps, a sleep and the end were written


def test_control_c_while_a_workflow_computes(tmp_path):
    """It ends the worker and not the workflow, which goes on after its last step."""
    path, ledger = f"{tmp_path}/c.db", tmp_path / "ledger"
    app = durable.App("tests", f"sqlite:///{path}", key=b"a key of the tests")
    workers = [begin(path, ledger, 0, "", "busy", 60)]
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
        workers.append(begin(path, ledger, 0, "", "serve"))
        while handle.status() != "running":
            time.sleep(0.01)
    finally:
        for each in workers:
            each.kill()
            each.communicate()
        app.close()
    assert ledger.read_text() == "charge 1 1\n"


def test_two_workers_at_once(tmp_path):
    """Each step is done once."""
    sys.path.insert(0, str(HERE))
    import orders

    path, ledger = f"{tmp_path}/two.db", tmp_path / "ledger"
    app = durable.App("tests", f"sqlite:///{path}", key=b"a key of the tests")
    workers = [begin(path, ledger, 0, "", "serve") for _ in range(2)]
    try:
        handles = [app.start(orders.many, number, 20) for number in range(30)]
        assert [handle.result(60) for handle in handles] == [380] * 30
    finally:
        for each in workers:
            each.kill()
        errors = [each.communicate()[1] for each in workers]
        app.close()
    assert errors == ["", ""]
    lines = ledger.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 600


@pytest.mark.timeout(60 + KILLS * 3)
def test_kills_under_load(tmp_path):
    """Every workflow gives what it gives undisturbed; a step is repeated for a kill only."""
    chance = random.Random(seed := int(os.environ.get("STACKLESS_SEED", 0)) or time.time_ns())
    print(f"STACKLESS_SEED={seed}")
    path, ledger = f"{tmp_path}/load.db", tmp_path / "ledger"
    app = durable.App("tests", f"sqlite:///{path}", key=b"a key of the tests")
    sys.path.insert(0, str(HERE))
    import orders

    count, steps = 20, 30 * KILLS
    handles = [app.start(orders.many, number, steps, id=str(number)) for number in range(count)]
    waiting = [app.start(orders.approval, number, id=f"w{number}") for number in range(count)]
    for number, handle in enumerate(waiting):
        for topic, value in (("approval", "yes"), ("more", number), ("more", -number)):
            handle.send(topic, value)
    kills = 0
    while kills < KILLS and any(handle.status() not in ("done", "failed") for handle in handles):
        worker = begin(path, ledger, 0, "", "serve")
        time.sleep(chance.uniform(0.2, 0.6))
        worker.send_signal(signal.SIGKILL)
        assert worker.communicate()[1] == ""
        kills += 1
    worker = begin(path, ledger, 0, "", "serve")
    try:
        for handle in handles:
            assert handle.result(60) == 2 * sum(range(steps))
            assert [each.number for each in handle.steps()] == list(range(1, steps + 1))
        for number, handle in enumerate(waiting):
            assert handle.result(60) == (number, "yes", [number, -number])
    finally:
        worker.kill()
        assert worker.communicate()[1] == ""
        app.close()
    lines = collections.Counter(ledger.read_text().splitlines())
    assert set(lines) == {f"charge {n} {step}" for n in range(count) for step in range(steps)}
    assert sum(lines.values()) - len(lines) <= kills * count
    assert kills > 3
