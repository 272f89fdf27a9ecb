"""examples/first_answer.py, which waits for the first of several answers."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "first_answer.py"


def test_it_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "near answers after 0.01 s",
        "no answer in 0.02 s",
        "stopped: the user has lost interest",
    ]
