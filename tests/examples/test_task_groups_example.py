"""examples/task_groups.py"""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "task_groups.py"

PRINTS = """\
time limit reached: True; got ['index', 'news']; ['closed archive', 'closed index', 'closed news']
no such page: 'missing'; ['closed missing', 'closed archive']
20 pages, 5 at a time
"""


def test_it_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == PRINTS
