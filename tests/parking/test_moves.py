"""Tasklets that move to a new process at each of their blocks."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import hop
import pytest
from child_process import TIME_LIMIT

HERE = Path(__file__).parent


def in_process(*arguments, timeout=TIME_LIMIT):
    command = [sys.executable, "-X", "faulthandler", str(HERE / "hop.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.timeout(300)
@pytest.mark.parametrize("warmth", ["cold", "warm"])
def test_every_block_in_a_new_process(warmth, tmp_path):
    file = tmp_path / "tasklets"
    wanted = {
        name: hop.undisturbed(shape) for name, shape in hop.promised(warmth == "warm").items()
    }
    in_process("start", file, warmth)
    for _ in range(max(hops for _, hops in wanted.values())):
        in_process("go", file, warmth)
    # The functions must be found under the names that they have in that process.
    sys.modules["__main__"].run = hop.run
    _, moved = pickle.loads(file.read_bytes())
    assert {name: results for name, (_, _, results) in moved.items()} == {
        name: [result] for name, (result, _) in wanted.items()
    }
    assert not any(tasklet.alive for _, tasklet, _ in moved.values())


KILLED = """
import os, pickle, sys, time
sys.path[:0] = [{here!r}]
import stackless
from blocks import SHAPES
from hop import begin

file, names = sys.argv[1], sys.argv[2:]
if os.path.exists(file):
    with open(file, "rb") as source:
        number, all_ = pickle.load(source)
else:
    number, all_ = 0, {{name: begin(SHAPES[name][0]) for name in names}}
    with open(file, "wb") as target:
        pickle.dump((number, all_), target)
while any(tasklet.alive for _, tasklet, _ in all_.values()):
    print("at", number, flush=True)
    sys.stdin.readline()
    for channel, tasklet, _ in all_.values():
        if tasklet.alive:
            channel.send(number)
    number += 1
    with open(file + ".new", "wb") as target:
        pickle.dump((number, all_), target)
    os.replace(file + ".new", file)
print("done", [results for _, _, results in all_.values()], flush=True)
"""


@pytest.mark.timeout(300)
def test_killed_at_every_block(tmp_path):
    names = ["loops", "handlers", "nested_with", "closures", "comprehensions"]
    wanted = [hop.undisturbed(hop.SHAPES[name][0]) for name in names]
    file = str(tmp_path / "tasklets")
    kills, last = 0, ""
    while not last.startswith("done"):
        child = subprocess.Popen(
            [
                sys.executable,
                "-X",
                "faulthandler",
                "-c",
                KILLED.format(here=str(HERE)),
                file,
                *names,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            # Continue for one block, and end in the next.
            for _ in range(2 if kills else 1):
                last = child.stdout.readline()
                if not last.startswith("at"):
                    break
                if kills and _ == 0:
                    child.stdin.write("\n")
                    child.stdin.flush()
            assert last, "the child died by itself"
            if last.startswith("at"):
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
    assert last == f"done {[[result] for result, _ in wanted]}\n"
    assert kills == max(hops for _, hops in wanted)
