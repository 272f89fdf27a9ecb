"""Workers that die: what their owners hear, and what continues elsewhere."""

import os
import signal
import subprocess
import sys

import cluster_programs as programs
import pytest
import stackless
from stackless import cluster
from test_cluster_tasklets import row_of, until
from worker_processes import wait_for


def test_a_lost_worker_is_named_to_those_who_wait(c, start, one):
    (worker,) = start()
    channel = c.channel()
    tasklet = c.spawn(programs.receive_one, channel, on=worker.name)
    joiner = c.spawn(programs.join_it, tasklet, on=one)
    until(lambda: channel.balance == -1 and row_of(c, joiner).state.startswith("joining"))
    worker.kill()
    with pytest.raises(cluster.HostLost, match=worker.name) as caught:
        tasklet.join(60)
    assert (caught.value.host, caught.value.tasklet) == (worker.name, tasklet.id)
    assert caught.value.position == ()
    with pytest.raises(cluster.HostLost, match=worker.name):
        joiner.join(60)
    assert tasklet.where() is None and tasklet.done()
    until(lambda: channel.balance == 0)  # it does not wait there any more
    with pytest.raises(cluster.NoSuchHost):
        c.spawn(programs.add, 1, on=worker.name)


def test_channels_whose_home_is_lost(c, start, one):
    (worker,) = start()
    plain, buffered = (c.channel(capacity=n, on=worker.name) for n in (0, 2))
    waits = [
        c.spawn(programs.receive_one, plain, on=one),
        c.spawn(programs.receive_one, buffered, on=one),
    ]
    until(lambda: plain.balance == buffered.balance == -1)
    worker.kill()
    for each in waits:
        with pytest.raises(cluster.HostLost):
            each.join(60)
    for channel in plain, buffered:
        for call in channel.receive, lambda channel=channel: channel.send(1), channel.close:
            with pytest.raises(cluster.HostLost):
                call()


def test_a_sender_whose_receiver_is_lost_with_the_value(c, start):
    """The receiver is stopped, so that it cannot confirm the value."""
    (worker,) = start()
    channel = c.channel()
    c.spawn(programs.receive_one, channel, on=worker.name)
    until(lambda: channel.balance == -1)
    worker.signal(signal.SIGSTOP)
    with pytest.raises(stackless.TimeoutError):
        with stackless.timeout(0.2):
            channel.send("nobody knows")
    worker.kill()
    wait_for(c, [], [worker.name])
    assert channel.balance == 0


def test_a_tasklet_continues_from_its_last_checkpoint(c, start, workers):
    (worker,) = start()
    channel, ledger = c.channel(), c.channel(capacity=1000)
    tasklet = c.spawn(programs.count_up, channel, 10, ledger, on=worker.name, on_loss="restart")
    until(lambda: channel.balance == -1)
    worker.kill()
    until(lambda: channel.balance == -1 and tasklet.where() in workers)
    assert row_of(c, tasklet).epoch == 2
    channel.send("on")
    assert tasklet.join(60) == list(range(10))
    ledger.close()
    steps = list(ledger)
    # The checkpoint was behind step 3: step 4 was taken twice.
    assert [n for n, epoch, _ in steps if epoch == 1] == [0, 1, 2, 3, 4]
    assert [n for n, epoch, _ in steps if epoch == 2] == [4, 5, 6, 7, 8, 9]


def test_without_a_checkpoint_it_begins_again(c, start, workers):
    (worker,) = start()
    channel = c.channel()
    tasklet = c.spawn(programs.receive_here, channel, on=worker.name, on_loss="restart")
    until(lambda: channel.balance == -1)
    worker.kill()
    wait_for(c, [], [worker.name])
    channel.send("again", timeout=60)
    value, where = tasklet.join(60)
    assert value == "again" and where in workers


def test_checkpoints_are_made_while_it_waits(c, start):
    (worker,) = start()
    channel = c.channel()
    tasklet = c.spawn(
        *(programs.checkpointed_in_receive, channel),
        on=worker.name,
        on_loss="restart",
        checkpoint=0.05,
    )
    channel.send("first")
    record = tasklet._record
    record.checkpoint = None
    until(lambda: record.checkpoint is not None and channel.balance == -1)
    record.checkpoint = None
    until(lambda: record.checkpoint is not None)
    worker.kill()
    wait_for(c, [], [worker.name])
    channel.send("second", timeout=60)
    assert tasklet.join(60) == (["first", "second"], 2)


def test_the_position_of_a_lost_tasklet_is_that_of_its_checkpoint(c, start):
    (worker,) = start()
    channel = c.channel()
    tasklet = c.spawn(programs.receive_one, channel, on=worker.name, checkpoint=0.02)
    until(lambda: tasklet._record.checkpoint is not None)
    worker.kill()
    with pytest.raises(cluster.HostLost) as caught:
        tasklet.join(60)
    (position,) = caught.value.position
    assert position.startswith("receive_one (") and "programs.py" in position


def test_a_moved_tasklet_is_lost_with_its_new_host(c, start, one):
    first, second = start(2)
    channel = c.channel()
    moved, kept = (c.spawn(programs.receive_one, channel, on=first.name) for _ in range(2))
    until(lambda: channel.balance == -2)
    moved.move(second.name)
    kept.move(one)
    first.kill()
    wait_for(c, [], [first.name])
    channel.send(1)  # whichever is first in the queue
    channel_left = [each for each in (moved, kept) if not each.done()]
    second.kill()
    with_error = [each for each in channel_left if each is moved]
    for each in with_error:
        with pytest.raises(cluster.HostLost, match=second.name):
            each.join(60)
    if kept in channel_left:
        channel.send(2)
    assert kept.join(60) in (1, 2)


def test_map_with_a_worker_that_dies(c, start):
    (worker,) = start()

    def slow(n):
        cluster.sleep(0.05)
        return n

    for retry in True, False:
        results = c.map(slow, range(400), limit=40, retry=retry)
        assert next(results) == 0
        worker.kill()
        if retry:
            assert list(results) == list(range(1, 400))
            (worker,) = start()
        else:
            with pytest.raises(cluster.HostLost):
                list(results)


# ------------------------------------------------------------------ workers that are told to end


def test_a_worker_that_gets_sigterm_moves_its_tasklets(c, start, workers):
    (worker,) = start()
    begun = c.channel()
    tasklets = [c.spawn(programs.sweep, 40, begun, on=worker.name) for _ in range(10)]
    for _ in tasklets:
        begun.receive(timeout=60)
    worker.signal(signal.SIGTERM)
    assert [each.join(60) for each in tasklets] == [(2, 39)] * 10
    worker.process.wait(60)
    wait_for(c, [], [worker.name])


def test_dask_retires_a_worker(c, start):
    (worker,) = start()
    begun = c.channel()
    tasklets = [c.spawn(programs.sweep, 60, begun, on=worker.name) for _ in range(10)]
    for _ in tasklets:
        begun.receive(timeout=60)
    c._connection.client.retire_workers(names=[worker.name])
    assert [each.join(60) for each in tasklets] == [(2, 59)] * 10
    worker.process.wait(60)


def test_what_cannot_move_is_ended_with_its_worker(c, start):
    (worker,) = start()
    begun = c.channel()
    tasklet = c.spawn(programs.stays, begun, on=worker.name)
    begun.receive(timeout=60)
    worker.signal(signal.SIGTERM)
    assert begun.receive(timeout=60) == "cleaned up"
    with pytest.raises(cluster.HostLost):
        tasklet.join(60)
    worker.process.wait(60)


def test_a_tasklet_that_sleeps_in_the_cluster_can_move(c, one, other):
    def sleeper(begun):
        begun.send(None)
        cluster.sleep(0.5)
        return cluster.here().name

    begun = c.channel()
    tasklet = c.spawn(sleeper, begun, on=one)
    begun.receive()
    until(lambda: row_of(c, tasklet).state == "sleeping")
    tasklet.move(other)
    assert tasklet.join(30) == other
    with pytest.raises(ValueError):
        cluster.sleep(-1)


def test_wrong_options(c):
    with pytest.raises(ValueError, match="on_loss"):
        c.spawn(programs.add, 1, on_loss="ignore")
    with pytest.raises(ValueError, match="checkpoint"):
        c.spawn(programs.add, 1, checkpoint=0)
    for function in cluster.checkpoint, cluster.epoch:
        with pytest.raises(cluster.ClusterError, match=r"spawn\(\)"):
            function()


def test_the_command_of_dask(c, start):
    """`dask worker` with its nanny, as on other machines: SIGTERM moves tasklets away."""
    command = [sys.executable, "-m", "dask", "worker", c.address, "--name", "by-command"]
    command += ["--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--memory-limit", "0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, **quiet) as worker:
        try:
            wait_for(c, ["by-command"], [])
            begun = c.channel()
            tasklets = [c.spawn(programs.sweep, 60, begun, on="by-command") for _ in range(5)]
            for _ in tasklets:
                begun.receive(timeout=60)
            worker.send_signal(signal.SIGTERM)
            assert [each.join(60) for each in tasklets] == [(2, 59)] * 5
            worker.wait(60)
        finally:
            worker.kill()
    wait_for(c, [], ["by-command"])
