"""examples/many_pages.py, which fetches many pages with the standard urllib."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "many_pages.py"


def test_it_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "50"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("50 pages in ")
    assert done.stdout.endswith("all as expected: True\n")
