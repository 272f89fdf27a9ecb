"""Several programs at one cluster, and their ends."""

import subprocess
import sys

import cluster_programs as programs
import pytest
from stackless import cluster
from test_cluster_tasklets import until

ANOTHER = """
import sys
from stackless import cluster

def forever(name):
    cluster.current().channel().receive()

with cluster.connect(sys.argv[1], name="another") as c:
    tasklet = c.spawn(forever, "x", name="orphan")
    print(sorted(each.name for each in c.hosts()), flush=True)
    sys.stdin.read()
    if "leave" not in sys.argv:
        import os
        os._exit(1)
"""


@pytest.mark.parametrize("how", ["leave", "die"])
def test_a_second_program(c, how):
    """It sees the same hosts. When it has ended, so have the tasklets that it has started."""
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER, c.address, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        line = child.stdout.readline()
        assert line == "['another', 'tests', 'worker-0', 'worker-1', 'worker-2']\n"
        until(lambda: [each.owner for each in c.ps() if each.name == "orphan"] == ["another"])
        child.communicate("")
    assert child.returncode == (0 if how == "leave" else 1)
    until(lambda: not [each for each in c.ps() if each.name == "orphan"])
    until(lambda: "another" not in [each.name for each in c.hosts()])
    assert c.spawn(programs.add, 1).join(30) == 1


def test_a_closed_cluster_is_no_cluster(c):
    code = """
from stackless import cluster
c = cluster.connect(workers=1)
t = c.spawn(int)
assert t.join() == 0
c.close()
c.close()
for call in c.hosts, t.join, cluster.here:
    try:
        call()
    except cluster.ClusterError:
        pass
    else:
        raise AssertionError(call)
with cluster.connect(workers=1) as c:
    assert c.spawn(int).join() == 0
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")


def test_a_program_that_just_ends():
    """Without close(): the workers end as well, and nothing is printed."""
    code = """
import os
from stackless import cluster
c = cluster.connect(workers=1)
print(c.spawn(os.getpid).join())
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")
    pid = int(child.stdout)
    until(lambda: not _lives(pid))


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_host_per_process_and_cluster(c):
    with pytest.raises(cluster.ClusterError, match="already"):
        cluster.connect(c.address)
