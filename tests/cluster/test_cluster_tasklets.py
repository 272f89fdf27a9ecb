"""spawn, join, kill, where, ps: tasklets on the workers, and handles of them everywhere."""

import os
import subprocess
import sys
import time
import traceback

import cluster_programs as programs
import pytest
import stackless
from stackless import cluster


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def row_of(c, tasklet):
    found = [each for each in c.ps() if each.id == tasklet.id]
    return found[0] if found else None


# ------------------------------------------------------------------ hosts


def test_hosts_are_the_workers_and_this_program(c):
    assert sorted(each.name for each in c.workers()) == ["worker-0", "worker-1", "worker-2"]
    assert [(each.name, each.kind) for each in c.hosts() if each.kind == "client"] == [
        ("tests", "client")
    ]
    assert c.here().name == "tests"
    assert cluster.here() == c.here() and cluster.hosts() == c.hosts()


def test_each_worker_is_a_process(c, workers):
    pids = {c.spawn(programs.pid, on=each).join(30) for each in workers}
    assert len(pids) == 3 and os.getpid() not in pids


# ------------------------------------------------------------------ results and errors


def test_results_come_back(c):
    assert c.spawn(programs.add, 1, b=2).join(30) == 3
    assert c.spawn(programs.add, [1], [{"a": (1, 2.5, None)}]).join(30) == [
        1,
        {"a": (1, 2.5, None)},
    ]
    assert c.spawn(programs.add, 2**100, 1).join(30) == 2**100 + 1


def test_functions_of_main_and_nested_ones_are_sent(c):
    secret = [1, 2]

    def nested(n):
        return sum(secret) + n

    assert c.spawn(nested, 4).join(30) == 7
    assert c.spawn(lambda: "lambda").join(30) == "lambda"


def test_an_exception_has_the_remote_traceback(c, one):
    with pytest.raises(LookupError, match="no such thing") as caught:
        c.spawn(programs.fail, "no such thing", on=one).join(30)
    text = "".join(traceback.format_exception(caught.value))
    assert "in fail" in text and "programs.py" in text
    assert f"'fail' on host {one}" in text


def test_an_exception_that_cannot_be_pickled(c):
    with pytest.raises(cluster.RemoteError, match="has a lock"):
        c.spawn(programs.fail_with_a_lock).join(30)


def test_a_result_that_cannot_be_pickled(c):
    with pytest.raises(TypeError, match="lock") as caught:
        c.spawn(programs.returns_a_lock).join(30)
    assert any("cannot be sent" in each for each in caught.value.__notes__)


def test_what_cannot_be_sent_raises_at_spawn(c):
    import threading

    with pytest.raises(TypeError, match="lock"):
        c.spawn(programs.add, threading.Lock())
    with pytest.raises(TypeError, match="callable"):
        c.spawn(42)


def test_join_again_and_with_a_timeout(c):
    channel = c.channel()
    tasklet = c.spawn(programs.receive_one, channel)
    with pytest.raises(stackless.TimeoutError):
        tasklet.join(timeout=0.05)
    assert not tasklet.done()
    channel.send("value")
    assert tasklet.join(30) == tasklet.join(30) == "value"
    assert tasklet.done()


def test_on_near_and_names(c, workers):
    for each in workers:
        tasklet = c.spawn(programs.where, on=each, name="finder")
        assert tasklet.join(30) == each and tasklet.name == "finder"
    channel = c.channel()
    first = c.spawn(programs.receive_one, channel, on=workers[1])
    assert c.spawn(programs.where, near=first).join(30) == workers[1]
    assert c.spawn(programs.where, on=c.workers()[0]).join(30) == c.workers()[0].name
    assert c.spawn(programs.where, on="tests").join(30) == "tests"
    with pytest.raises(cluster.NoSuchHost, match="worker-9"):
        c.spawn(programs.where, on="worker-9")
    with pytest.raises(TypeError, match="not both"):
        c.spawn(programs.where, on=workers[0], near=first)
    channel.send(None)
    first.join(30)
    with pytest.raises(cluster.NoSuchHost, match="ended"):
        c.spawn(programs.where, near=first)


def test_any_spreads_tasklets_over_the_workers(c, workers):
    channel = c.channel()
    tasklets = [c.spawn(programs.receive_here, channel) for _ in range(9)]
    for _ in tasklets:
        channel.send(None)
    assert {each.join(30)[1] for each in tasklets} == set(workers)


# ------------------------------------------------------------------ kill, where, ps


def test_kill_runs_finally_blocks(c, one):
    begun, log = c.channel(), c.channel(capacity=1)
    tasklet = c.spawn(programs.clean_up, begun, log, on=one)
    assert begun.receive(timeout=30) == "begun"
    until(lambda: "paused" in row_of(c, tasklet).state)
    tasklet.kill()
    assert log.receive(timeout=30) == f"cleaned up on {one}"
    assert tasklet.join(30) is None
    tasklet.kill()  # nothing


def test_kill_of_one_that_waits_for_another_host_leaves_no_trace(c, one):
    channel, log = c.channel(), c.channel(capacity=1)
    tasklet = c.spawn(programs.clean_up_in_receive, channel, log, on=one)
    until(lambda: channel.balance == -1)
    tasklet.kill()
    assert log.receive(timeout=30) == "cleaned up"
    until(lambda: channel.balance == 0)
    assert tasklet.join(30) is None


def test_ps_and_where(c, one):
    channel = c.channel()
    tasklet = c.spawn(programs.receive_one, channel, on=one, name="waits")
    until(lambda: channel.balance == -1)
    row = row_of(c, tasklet)
    assert (row.host, row.name, row.owner, row.epoch) == (one, "waits", "tests", 1)
    assert row.state == f"receiving from {channel!r}"
    assert row.position.startswith("receive_one (") and "programs.py:" in row.position
    assert tasklet.where() == one
    channel.send(1)
    tasklet.join(30)
    assert tasklet.where() is None and row_of(c, tasklet) is None


# ------------------------------------------------------------------ inside of tasklets


def test_tasklets_start_and_join_others(c):
    assert c.spawn(programs.start_others, 20).join(30) == list(range(1, 21))


def test_handles_are_sent_to_other_hosts(c, one, other):
    channel = c.channel()
    first = c.spawn(programs.receive_one, channel, on=one)
    joiners = [c.spawn(programs.join_it, first, on=each) for each in (one, other)]
    channel.send("seen")
    assert [each.join(30) for each in joiners] == [("seen", one), ("seen", other)]


def test_a_tasklet_that_its_program_has_started_may_fail(c, one):
    def child():
        raise LookupError("on its own")

    def parent():
        stackless.tasklet(child)()
        stackless.schedule()
        return "goes on"

    assert c.spawn(parent, on=one).join(30) == "goes on"
    assert c.spawn(programs.add, 1, on=one).join(30) == 1


# ------------------------------------------------------------------ wrong use


def test_outside_of_a_cluster():
    code = """
from stackless import cluster
for function in cluster.here, cluster.hosts, cluster.current, lambda: cluster.go("worker-0"):
    try:
        function()
    except cluster.ClusterError as error:
        assert "connect()" in str(error), error
    else:
        raise AssertionError(function)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_distributed_the_error_names_the_extra():
    code = """
import sys
sys.modules["distributed"] = None
from stackless import cluster
try:
    cluster.connect()
except ImportError as error:
    assert "stackless-rs[cluster]" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"address": "tcp://127.0.0.1:1", "workers": 2}, TypeError),
        ({"workers": 0}, ValueError),
        ({"key": b"short"}, ValueError),
        ({"lost_after": 0}, ValueError),
        ({"allow": ["everything"]}, ValueError),
        ({"address": "tcp://127.0.0.1:1", "timeout": 0.2}, OSError),
    ],
)
def test_wrong_arguments_of_connect(arguments, error):
    with pytest.raises(error):
        cluster.connect(**arguments)


def test_only_a_tasklet_of_the_cluster_can_go(c, one):
    with pytest.raises(cluster.MoveRefused, match=r"spawn\(\)"):
        cluster.go(one)
    with pytest.raises(cluster.NoSuchHost):
        cluster.go("nowhere")
