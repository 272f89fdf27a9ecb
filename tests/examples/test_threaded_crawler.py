"""examples/threaded_crawler.py, a program for threads: as it is, and on tasklets."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "threaded_crawler.py"


@pytest.mark.parametrize("command", [[], ["-m", "stackless", "run"]], ids=["threads", "tasklets"])
def test_it_runs(command):
    """The same output with and without the command."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command, EXAMPLE, "60", "20"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "60 pages, 20 threads\n"), done.stderr


def test_two_thousand_threads():
    """Waiting for the queue and for the server."""
    done = subprocess.run(
        [sys.executable, "-m", "stackless", "run", EXAMPLE, "300", "2000"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "300 pages, 2000 threads\n"), done.stderr
