"""Hosts whose modules differ: refused by name, or allowed."""

import os
import sys

import pytest
from stackless import cluster, pickling
from test_cluster_tasklets import until
from worker_processes import starting

HERE = """
def wait(channel):
    return channel.receive(), 1

def old():
    return "of the program"
"""
THERE = """
# This line is new.
def wait(channel):
    return channel.receive(), 1

def old():
    return "of the worker"
"""


@pytest.fixture
def changing(tmp_path, monkeypatch):
    """A module of this program, and the folder that has another version of it."""
    for name, text in ("here", HERE), ("there", THERE):
        (tmp_path / name).mkdir()
        (tmp_path / name / "changing_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "here")
    import changing_module

    yield changing_module, tmp_path / "there"
    del sys.modules["changing_module"]


def environment(there):
    path = [str(there), *(each for each in sys.path if each != str(there.parent / "here"))]
    return {"PYTHONPATH": os.pathsep.join(path)}


def test_another_source_is_refused_by_name(c, start, changing):
    module, there = changing
    (worker,) = start(environment=environment(there))
    with pytest.raises(pickling.SourceError, match="changing_module"):
        c.spawn(module.old, on=worker.name).join(60)
    channel = c.channel()
    tasklet = c.spawn(module.wait, channel, on="tests")
    until(lambda: channel.balance == -1)
    with pytest.raises(cluster.MoveRefused, match=rf"{worker.name} refuses .*changing_module"):
        tasklet.move(worker.name)
    assert tasklet.where() == "tests"
    channel.send("goes on")
    assert tasklet.join(60) == ("goes on", 1)


def test_another_source_can_be_allowed(changing):
    module, there = changing
    with cluster.connect(workers=1, name="allows", allow=["source"]) as c:
        with starting(c) as start:
            (worker,) = start(environment=environment(there))
            assert c.spawn(module.old, on=worker.name).join(60) == "of the worker"
            channel = c.channel()
            tasklet = c.spawn(module.wait, channel, on="allows")
            until(lambda: channel.balance == -1)
            tasklet.move(worker.name)
            assert tasklet.where() == worker.name
            channel.send("there")
            assert tasklet.join(60) == ("there", 1)


def test_a_module_that_is_missing_there(c, start, changing):
    module, there = changing
    os.remove(there / "changing_module.py")
    (worker,) = start(environment=environment(there))
    with pytest.raises((pickling.SourceError, ImportError), match="changing_module"):
        c.spawn(module.old, on=worker.name).join(60)
