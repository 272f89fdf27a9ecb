"""Resources, moves from loaded workers to idle ones, explanations, and the commands."""

import json
import os
import re
import subprocess
import sys
import types
from collections import Counter

import cluster_programs as programs
import pytest
from stackless import cluster
from stackless.cluster import Host, cli
from stackless.cluster.balance import Resources
from stackless.cluster.tasklets import Task
from test_cluster_tasklets import row_of, until


@pytest.fixture
def many(c, one):
    """Thirty tasklets that all started on one worker, without having asked for it."""
    channel = c.channel()
    kept = [c.spawn(programs.receive_here, channel, name="many") for _ in range(30)]
    for each in kept:
        if each.where() != one:
            each.move(one)
    assert spread(c)[one] == 30
    yield kept
    for _ in kept:
        channel.send(None)
    for each in kept:
        each.join(60)


def spread(c):
    return Counter(each.host for each in c.ps() if each.name == "many")


def test_rebalance(c, many, workers):
    assert c.rebalance() == 20
    assert spread(c) == dict.fromkeys(workers, 10)
    assert c.rebalance() == 0


def test_what_was_put_somewhere_stays(c, one):
    channel = c.channel()
    kept = [c.spawn(programs.receive_one, channel, on=one) for _ in range(10)]
    until(lambda: channel.balance == -10)
    assert c.rebalance() == 0
    for _ in kept:
        channel.send(None)
    for each in kept:
        each.join(60)


def test_autobalance(c, many, workers):
    with subprocess.Popen(
        [sys.executable, "-c", BALANCER, c.address], stdin=subprocess.PIPE, text=True
    ) as child:
        until(lambda: max(spread(c).values()) <= 13)
        child.communicate("")


BALANCER = """
import sys
from stackless import cluster
with cluster.connect(sys.argv[1], autobalance=True):
    sys.stdin.read()
"""


# ------------------------------------------------------------------ resources


def test_resources(c, start, one):
    small, large = start(1, resources={"GPU": 1})[0], start(1, resources={"GPU": 2})[0]
    channel = c.channel()

    def use(channel):
        channel.receive()
        return cluster.here().name

    needs = {"GPU": 2}
    first, second, third = (c.spawn(use, channel, resources=needs) for _ in range(3))
    other = c.spawn(use, channel, resources={"GPU": 1}, on=small.name)
    until(lambda: channel.balance == -2)
    states = {each.id: each.state for each in c.ps()}
    assert states[second.id] == states[third.id] == "not started"
    with pytest.raises(cluster.MoveRefused, match="GPU"):
        first.move(one)
    third.kill()
    assert third.join(60) is None
    for _ in range(3):
        channel.send(None)
    assert [each.join(60) for each in (first, second)] == [large.name] * 2
    assert other.join(60) == small.name
    for where in {"on": one}, {}:
        with pytest.raises(cluster.NoSuchHost):
            c.spawn(use, channel, resources={"GPU": 3}, **where)


def test_one_that_is_back_before_its_move_was_confirmed_has_its_resources():
    """Each stay on a host takes and gives back what is its own, also if the stays overlap."""
    info = Host("here", 1, "", "worker", {"GPU": 2})
    resources = Resources(types.SimpleNamespace(id=1, hosts={1: info}))
    wanted = ("1.1", 1), ("1.1", 1), ("1.2", 2)
    old, new, large = (Task(tid, "", 1, {"resources": {"GPU": n}}) for tid, n in wanted)
    resources.take(old)
    resources.take(new)
    resources.give_back(old)
    resources.give_back(old)
    assert resources.fit(old) and not resources.fit(large)
    resources.give_back(new)
    assert resources.fit(large)


# ------------------------------------------------------------------ explanations


def waits_for(first, second):
    value = first.receive()
    second.send(value)


def test_explain_names_a_circle_between_hosts(c, one, other):
    a, b = c.channel(), c.channel()
    left = c.spawn(waits_for, a, b, on=one, name="left")
    right = c.spawn(waits_for, b, a, on=other, name="right")
    until(lambda: a.balance == b.balance == -1)
    lines = c.explain().splitlines()
    n = next(n for n, each in enumerate(lines) if "'left'" in each and "receiving" in each)
    assert lines[n].startswith(f"tasklet {left.id} 'left' on {one}: receiving from {a!r}")
    assert "at waits_for (" in lines[n]
    assert f"could be ended by tasklet {right.id} 'right', receiving from {b!r}" in lines[n + 1]
    (circle,) = [each for each in lines if each.startswith("a circle")]
    assert set(re.findall(r"tasklet (\S+)", circle)) == {left.id, right.id}
    a.send("round")  # left gives it to right, and right to this
    assert a.receive(timeout=60) == "round"
    assert left.join(60) is right.join(60) is None


def test_explain_says_when_nothing_can_end_a_wait(c, one):
    channel = c.channel()
    tasklet = c.spawn(programs.receive_one, channel, on=one, name="alone")
    joins = c.spawn(programs.join_it, tasklet, on=one, name="joins")
    until(lambda: row_of(c, joins).state.startswith("joining"))
    lines = c.explain().splitlines()
    n = next(n for n, each in enumerate(lines) if "'alone' on" in each)
    assert "no tasklet" in lines[n + 1]
    n = next(n for n, each in enumerate(lines) if "'joins' on" in each)
    assert f"tasklet {tasklet.id} 'alone'" in lines[n + 1]
    channel.send(1)
    joins.join(60)


# ------------------------------------------------------------------ commands


def command(*arguments):
    child = subprocess.run(
        [sys.executable, "-m", "stackless", "cluster", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"},
    )
    return child.returncode, child.stdout, child.stderr


def test_the_commands(c, one):
    channel, turns = c.channel(), c.channel(capacity=1)
    tasklet = c.spawn(programs.receive_one, channel, on=one, name="waits")
    spins = c.spawn(programs.spin, turns, on=one, name="spins")
    until(lambda: channel.balance == -1)
    status, out, err = command("ps", c.address)
    assert (status, err) == (0, "")
    assert re.search(rf"^{one} +{tasklet.id} +waits +receiving from .*receive_one", out, re.M)
    status, out, err = command("ps", "--json", c.address)
    assert [each["state"] for each in json.loads(out) if each["id"] == tasklet.id] == [
        f"receiving from {channel!r}"
    ]
    status, out, err = command("top", "--once", "-i", "0.5", c.address)
    assert (status, err) == (0, "")
    assert out.splitlines()[2].split()[1:4] == [one, spins.id, "spins"]
    status, out, err = command("explain", c.address)
    assert f"tasklet {tasklet.id} 'waits' on {one}" in out
    channel.send(None)
    turns.send(None)
    tasklet.join(60)
    spins.join(60)


def test_commands_without_a_cluster(capsys):
    assert cli.main(["ps", "tcp://127.0.0.1:1", "-t", "0.3"]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err
    for wrong in [], ["ps"], ["walk", "x"], ["top", "x", "-i", "0"]:
        with pytest.raises(SystemExit) as end:
            cli.main(wrong)
        assert end.value.code == 2


def test_a_scheduler_without_tasklets(site):
    there = site()
    status, out, err = command("ps", there.address)
    assert status == 1 and "no tasklets" in err
    assert out == ""
