"""Checkpoints in a durable store: tasklets that outlive the scheduler and all workers."""

import importlib
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
import stackless
from buffer_objects import Array
from stackless import cluster, durable, pickling
from stackless.cluster.asking import current_host
from test_cluster_tasklets import until

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
#: Seconds of silence after which a host is lost; the lease is twice as long.
LOST_AFTER = 2.0

PROGRAM = """
import sys, time
import test_cluster_keeping as tests
from stackless import cluster
url, folder = sys.argv[1:]
with cluster.connect(workers=2, checkpoints=url, key=tests.KEY, lost_after=2.0) as c:
    for n in range(6):
        c.spawn(tests.work, n, folder, on_loss="restart", name=f"work {n}")
    c.spawn(tests.waits, folder, on_loss="restart", name="waits")
    c.spawn(tests.waits, folder, name="is not kept")
    assert c.spawn(tests.ends, on_loss="restart", name="ends").join() == "ended"
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/store.db"


def connecting(url, **options):
    options = {"workers": 2, "key": KEY, "lost_after": LOST_AFTER, **options}
    return cluster.connect(checkpoints=url, **options)


def rows(url):
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute("SELECT shelf, key FROM durable_kept").fetchall()
    connection.close()
    return found


def change(url, statement, *values):
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute(statement, values)
    connection.close()


def new_in(seen, checkpoint):
    if all(checkpoint is not each for each in seen):
        seen.append(checkpoint)
    return seen


def note(folder, *what):
    with open(os.path.join(folder, "ledger"), "a") as file:
        file.write(" ".join(map(str, what)) + "\n")


def noted(folder, of):
    try:
        with open(os.path.join(folder, "ledger")) as file:
            lines = [line.split() for line in file]
    except FileNotFoundError:
        return []
    return [tuple(map(int, each[1:])) for each in lines if each[0] == str(of)]


def go_on(folder):
    open(os.path.join(folder, "go on"), "w").close()


def hold(folder):
    while not os.path.exists(os.path.join(folder, "go on")):
        cluster.sleep(0.02)


def work(name, folder):
    """Take ten steps, with a checkpoint after each second one; wait in the fifth."""
    array = Array(bytearray(100_000))
    for n in range(10):
        note(folder, name, n, cluster.epoch())
        array.data[n] = n
        if n % 2:
            cluster.checkpoint()
        if n == 4:
            hold(folder)
    return name, bytes(array.data[:10])


def waits(folder):
    note(folder, "waits", cluster.epoch())
    hold(folder)
    return "waited"


def ends():
    return "ended"


def receives(channel):
    cluster.checkpoint()
    try:
        return channel.receive()
    except cluster.ClusterError as error:
        return str(error)


# ------------------------------------------------------------------ all end


def test_tasklets_continue_when_scheduler_and_workers_were_killed(url, tmp_path):
    folder = str(tmp_path)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert program.stdout.readline() == b"ready\n"
        until(lambda: all(len(noted(folder, n)) == 5 for n in range(6)))
        until(lambda: len(noted(folder, "waits")) == 2)
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait(60)
        program.stdout.close()
    assert len(rows(url)) == 7  # the one that has ended is not there
    with connecting(url, name="again") as c:
        found = c.restore()
        assert [each.name for each in found] == [*(f"work {n}" for n in range(6)), "waits"]
        assert c.restore() == []  # they run
        until(lambda: all(len(noted(folder, n)) == 6 for n in range(6)))
        until(lambda: len(noted(folder, "waits")) == 3)
        found[0].move(next(each for each in c.workers() if each.name != found[0].where()))
        go_on(folder)
        results = [each.join(60) for each in found]
        assert results == [*((n, bytes(range(10))) for n in range(6)), "waited"]
        assert rows(url) == [] and c.restore() == []
    for n in range(6):
        steps = noted(folder, n)
        first, again = [e for e in steps if e[1] == 1], [e for e in steps if e[1] > 1]
        # The last checkpoint was behind step 3: step 4 was taken twice.
        assert [step for step, _ in first] == [0, 1, 2, 3, 4]
        assert [step for step, _ in again] == [4, 5, 6, 7, 8, 9]
        assert all(epoch >= 2 << 32 for _, epoch in again)
        assert steps == first + again


def test_a_program_that_leaves_keeps_them(url, tmp_path):
    """Also several times; each time their epochs are higher."""
    folder, epochs = str(tmp_path), []
    with connecting(url) as c:
        c.spawn(work, 1, folder, on_loss="restart")
        until(lambda: len(noted(folder, 1)) == 5)
    for n in range(2):
        with connecting(url, name=f"again-{n}") as c:
            (tasklet,) = c.restore()
            until(lambda: len(noted(folder, 1)) == 6 + n)  # noqa: B023
            epochs.append(noted(folder, 1)[-1][1])
            if n == 1:
                go_on(folder)
                assert tasklet.join(60) == (1, bytes(range(10)))
    assert epochs == [2 << 32, 3 << 32] and rows(url) == []


def test_one_that_is_restarted_after_it_was_restored(url, tmp_path):
    """The rules within a cluster are the same for it."""
    folder = str(tmp_path)
    with connecting(url) as c:
        c.spawn(work, 1, folder, on_loss="restart")
        until(lambda: len(noted(folder, 1)) == 5)
    with connecting(url) as c:
        (tasklet,) = c.restore()
        until(lambda: len(noted(folder, 1)) == 6)
        os.kill(c.spawn(os.getpid, on=tasklet.where()).join(60), signal.SIGKILL)
        until(lambda: len(noted(folder, 1)) == 7)
        go_on(folder)
        assert tasklet.join(60) == (1, bytes(range(10)))
        assert noted(folder, 1)[-1][1] == (2 << 32) + 1 and rows(url) == []


def test_a_channel_of_the_earlier_cluster_is_gone(url):
    with connecting(url) as c:
        channel = c.channel()
        tasklet = c.spawn(receives, channel, on_loss="restart", checkpoint=0.05)
        until(lambda: channel.balance == -1)
        record, seen = tasklet._record, []
        # The first may have been made before it waited.
        until(lambda: len(new_in(seen, record.checkpoint)) >= 3)
    with connecting(url) as c:
        (tasklet,) = c.restore()
        assert "the cluster has ended in which 'receives' was receiving" in tasklet.join(60)
        assert rows(url) == []


def test_one_that_was_lost_as_no_worker_was_left(url, tmp_path):
    with connecting(url, workers=1) as c:
        tasklet = c.spawn(work, 1, str(tmp_path), on_loss="restart")
        until(lambda: len(noted(tmp_path, 1)) == 5)
        os.kill(c.spawn(os.getpid).join(60), signal.SIGKILL)
        with pytest.raises(cluster.HostLost, match="no worker"):
            tasklet.join(60)
    go_on(tmp_path)
    with connecting(url) as c:
        (tasklet,) = c.restore()
        assert tasklet.join(60) == (1, bytes(range(10)))


def test_new_tasklets_do_not_replace_those_that_are_kept(url, tmp_path):
    """Ids of tasklets begin anew in each cluster."""
    for n in range(3):
        with connecting(url) as c:
            c.spawn(waits, str(tmp_path), on_loss="restart", name=str(n))
    go_on(tmp_path)
    with connecting(url) as c:
        last = c.spawn(waits, str(tmp_path), on_loss="restart", name="last")
        found = c.restore()
        assert [each.name for each in found] == ["0", "1", "2"]
        assert [each.join(60) for each in [*found, last]] == ["waited"] * 4


# ------------------------------------------------------------------ one at a time


def test_another_program_waits_until_the_first_has_ended(url, tmp_path):
    with connecting(url) as c:
        tasklet = c.spawn(waits, str(tmp_path), on_loss="restart")
        with pytest.raises(cluster.ClusterError, match="the job 'stackless' is under way"):
            connecting(url, name="second", timeout=0.1)
        go_on(tmp_path)
        assert tasklet.join(60) == "waited"


def test_a_program_that_has_lost_its_job_kills_its_tasklets(url, tmp_path):
    folder = str(tmp_path)
    with connecting(url) as c:
        kept = c.spawn(work, 1, folder, on_loss="restart")
        other = c.spawn(waits, folder)
        until(lambda: len(noted(folder, 1)) == 5 and len(noted(folder, "waits")) == 1)
        change(url, "UPDATE durable_shelves SET until = 0")
        shelf = durable.Shelf("cluster stackless", url)
        try:
            assert shelf.token == 2
            with pytest.raises(cluster.ClusterError, match="another program continues the job"):
                kept.join(60)
            until(lambda: [each.id for each in c.ps()] == [other.id])
            for call in c.restore, lambda: c.spawn(ends, on_loss="restart"):
                with pytest.raises(cluster.ClusterError, match="another process has the shelf"):
                    call()
            go_on(folder)
            assert other.join(60) == "waited"
            assert [key for key, _ in shelf.items()] == [f"1/{kept.id}"]
        finally:
            shelf.close()
    assert len(noted(folder, 1)) == 5


def test_jobs_are_apart(url, tmp_path):
    for job in "one", "other":
        with connecting(url, job=job) as c:
            c.spawn(waits, str(tmp_path), on_loss="restart", name=f"of {job}")
    go_on(tmp_path)
    assert [shelf for shelf, _ in rows(url)] == ["cluster one", "cluster other"]
    with connecting(url, job="one") as c:
        (tasklet,) = c.restore()
        assert (tasklet.name, tasklet.join(60)) == ("of one", "waited")
    ((shelf, key),) = rows(url)
    assert shelf == "cluster other"
    # A row that was put into another job is refused.
    change(url, "UPDATE durable_kept SET shelf = 'cluster one'")
    with connecting(url, job="one") as c:
        with pytest.raises(cluster.ClusterError, match=f"{key} of 'other'"):
            c.restore()


# ------------------------------------------------------------------ what cannot continue


def test_with_another_key_nothing_continues(url, tmp_path):
    with connecting(url) as c:
        c.spawn(waits, str(tmp_path), on_loss="restart")
    with connecting(url, key=OTHER) as c:
        with pytest.raises(pickling.SignatureError):
            c.restore()
        assert c.ps() == []
    assert len(rows(url)) == 1


def test_what_cannot_be_loaded_stays_in_the_store(url, tmp_path, monkeypatch):
    source = tmp_path / "modules" / "vanishing_module.py"
    source.parent.mkdir()
    text = "from test_cluster_keeping import hold\ndef run(folder):\n hold(folder)\n return 1\n"
    source.write_text(text)
    monkeypatch.syspath_prepend(source.parent)
    module = importlib.import_module("vanishing_module")
    try:
        with connecting(url) as c:
            c.spawn(module.run, str(tmp_path), on_loss="restart")
        source.write_text(text.replace("1", "2"))
        with connecting(url) as c:
            (tasklet,) = c.restore()
            with pytest.raises(pickling.SourceError, match="vanishing_module"):
                tasklet.join(60)
        assert len(rows(url)) == 1
        source.write_text(text)
        go_on(tmp_path)
        with connecting(url) as c:
            (tasklet,) = c.restore()
            assert tasklet.join(60) == 1
        assert rows(url) == []
    finally:
        del sys.modules["vanishing_module"]


def test_one_that_was_killed_or_has_failed_is_not_kept(url, tmp_path):
    with connecting(url) as c:
        killed = c.spawn(waits, str(tmp_path), on_loss="restart")
        failed = c.spawn(int, "no number", on_loss="restart")
        until(lambda: killed.where() is not None)
        killed.kill()
        killed.join(60)
        with pytest.raises(ValueError, match="no number"):
            failed.join(60)
        assert rows(url) == []


def test_wrong_arguments(url, c, monkeypatch):
    monkeypatch.delenv("STACKLESS_CLUSTER_KEY", raising=False)
    with pytest.raises(ValueError, match="a key that lasts"):
        cluster.connect(workers=1, checkpoints=url)
    with pytest.raises(ValueError, match="a store is"):
        connecting("mysql://x")
    with pytest.raises(cluster.ClusterError, match="no store"):
        c.restore()


def test_a_store_that_fails(url, tmp_path):
    """spawn() and checkpoint() say so; the tasklet continues."""
    with connecting(url) as c:
        tasklet = c.spawn(fails_to_checkpoint, str(tmp_path), on_loss="restart")
        until(lambda: len(noted(tmp_path, "begun")) == 1)
        change(url, "ALTER TABLE durable_kept RENAME TO elsewhere")
        go_on(tmp_path)
        assert "could not be stored" in tasklet.join(60)
        with pytest.raises(cluster.ClusterError, match="'ends' could not be stored"):
            c.spawn(ends, on_loss="restart")
        assert not [each for each in current_host(c._name).tasks.running.values()]
        change(url, "ALTER TABLE elsewhere RENAME TO durable_kept")
        assert c.spawn(ends, on_loss="restart").join(60) == "ended"


def fails_to_checkpoint(folder):
    note(folder, "begun", 1)
    hold(folder)
    try:
        cluster.checkpoint()
    except cluster.ClusterError as error:
        return str(error)
    return stackless.getcurrent().name
