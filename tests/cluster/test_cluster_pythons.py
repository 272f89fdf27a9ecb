"""A host that runs another minor version of Python: what is refused there, and what is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cluster_programs as programs
import pytest
from stackless import cluster
from stackless.cluster.asking import ask, current_host
from test_cluster_tasklets import until

ROOT = Path(__file__).parents[2]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="session")
def other_python():
    """Another Python that has this package, of the environments beside this one; its version."""
    check = "import sys, json, distributed, stackless; print(json.dumps(sys.version_info[:2]))"
    for python in sorted((ROOT / ".venv").glob("*/bin/python")):
        done = subprocess.run([python, "-c", check], capture_output=True, text=True)
        if done.returncode == 0 and json.loads(done.stdout) != list(sys.version_info[:2]):
            return str(python), "{}.{}".format(*json.loads(done.stdout))
    pytest.skip(
        "no environment of another Python with distributed is here:"
        " `make build .venv/TAG/.cluster PYTHON=...` makes one"
    )


@pytest.fixture
def stranger(start, other_python):
    """A worker that runs the other Python."""
    python, version = other_python
    environment = {"PYTHONPATH": os.path.dirname(__file__)}
    (worker,) = start(python=python, environment=environment)
    return worker.name, version


def test_a_host_says_which_python_it_runs(c, stranger):
    name, version = stranger
    assert {each.python for each in c.hosts() if each.name != name} == {HERE}
    assert {each.python for each in c.hosts() if each.name == name} == {version}


def test_a_tasklet_is_not_moved_to_another_python(c, stranger, one):
    name, version = stranger
    channel = c.channel()
    tasklet = c.spawn(programs.receive_here, channel, on=one)
    until(lambda: channel.balance == -1)
    both = f"{name} runs Python {version}, and {one} Python {HERE}"
    with pytest.raises(cluster.MoveRefused, match=both):
        tasklet.move(name)
    assert tasklet.where() == one
    channel.send("goes on")
    assert tasklet.join(60) == ("goes on", one)


def test_a_tasklet_cannot_go_to_another_python(c, stranger, one):
    name, version = stranger
    text, where, lock = c.spawn(programs.go_with_a_lock, name, None, on=one).join(60)
    assert f"{name} runs Python {version}, and {one} Python {HERE}" in text
    assert (where, lock) == (one, True)


def test_nothing_is_started_on_another_python(c, workers, stranger):
    name, version = stranger
    both = f"{name} runs Python {version}, and tests Python {HERE}"
    with pytest.raises(cluster.NoSuchHost, match=both):
        c.spawn(programs.where, on=name)
    # Where the choice is free it has no part.
    found = [c.spawn(programs.where) for _ in range(40)]
    assert {each.join(60) for each in found} == set(workers)
    assert {each for _, each in c.map(programs.where_it_is, range(200))} == set(workers)
    c.rebalance()


def test_what_was_pickled_here_is_refused_there(c, stranger):
    """Also where nothing has asked which Python the host runs: its blobs name their Python."""
    name, version = stranger
    host = current_host(c._name)
    number = c_id(c, name)
    blob = host.codec.dumps((programs.where, (), {}))
    record = host.tasks.spawn(number, "forced", blob, {})
    both = rf"pickled by Python {HERE} .*this is Python {version} "
    with pytest.raises(cluster.RemoteError, match=both):
        cluster.client.Tasklet(c._name, record.tid, "forced", host.id, record).join(60)
    with pytest.raises(cluster.RemoteError, match=f"MoveRefused: .*{both}"):
        ask(c._name, number, "arrive", "2.1.999", 2, host.id, True, blob, about="testing")


def test_plain_values_reach_another_python(c, stranger):
    """Its channels can be used; of its exceptions there is the text."""
    name, _ = stranger
    channel = c.channel(capacity=3, on=name)
    for value in "text", 3, b"bytes":
        channel.send(value)
    assert [channel.receive() for _ in range(3)] == ["text", 3, b"bytes"]
    unbuffered = c.channel(on=name)
    unbuffered.close()
    with pytest.raises(cluster.RemoteError, match="ValueError: Send/receive operation on a closed"):
        unbuffered.send(1)


def test_a_program_of_another_python_uses_workers_of_its_own(c, stranger, other_python):
    """It connects to the same cluster, and starts tasklets where they can run."""
    name, version = stranger
    code = """
import sys
from stackless import cluster
import cluster_programs as programs
with cluster.connect(sys.argv[1], name="other") as c:
    print(c.here().python, *{c.spawn(programs.where).join(60) for _ in range(5)})
"""
    done = subprocess.run(
        [other_python[0], "-c", code, c.address],
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == [version, name], done.stderr


def c_id(c, name):
    return next(each.id for each in c.hosts() if each.name == name)
