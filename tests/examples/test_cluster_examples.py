"""examples/cluster: programs whose tasklets are on several workers."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

# It is not imported here, as that changes how exceptions are pickled.
if importlib.util.find_spec("distributed") is None:
    pytest.skip("the examples of stackless.cluster need distributed", allow_module_level=True)

EXAMPLES = Path(__file__).parents[2] / "examples" / "cluster"


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_around_the_world():
    lines, _ = run("world.py", "12", "3")
    assert lines[0] == "12! has 9 digits, by 3 workers"
    assert len(lines) == 4
    assert sum(int(each.split()[-2]) for each in lines[1:]) == 25


def test_the_sweep_computes_nothing_twice():
    lines, errors = run("sweep.py")
    assert errors == ""
    assert lines[-1] == "16 results; 960 steps, each computed once"
    assert lines[0] == "A: spot-0, B: spot-1, C: spot-2, D: spot-3, E: worker-0"
    rows = [set(each[5:].replace(" ", "")) for each in lines[1:-1]]
    assert len(rows) == 16
    # How many moved depends on the machine; some of the first one's have in any case.
    assert any(len(each) > 1 for each in rows if "A" in each)


def test_the_crawler_fetches_each_page_once():
    lines, errors = run("crawler.py")
    assert (lines, errors) == (["200 pages, 200 fetched, by 2 workers"], "")
