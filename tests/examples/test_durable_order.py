"""examples/durable_order.py, which kills itself twice and ends nevertheless."""

import signal
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "durable_order.py"
RESULT = "('receipt 42', ['tea is on its way', 'milk is on its way', 'bread is on its way'])"


def run(database):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, database],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_it_ends_in_the_third_run(tmp_path):
    database = tmp_path / "orders.db"
    killed = -signal.SIGKILL
    off = "... and the power is off"
    code, lines = run(database)
    assert (code, lines[-1]) == (killed, off)
    assert run(database) == (killed, ["shipped tea", "shipped milk", off])
    assert run(database) == (0, ["shipped bread", RESULT])
    assert run(database) == (0, [RESULT])
