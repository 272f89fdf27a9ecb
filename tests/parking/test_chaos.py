"""Nothing that can be done to suspended tasklets crashes the interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS = range(0, 3000 if os.environ.get("STACKLESS_NIGHTLY") else 60, 10)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_crash(seed):
    file = Path(__file__).with_name("chaos.py")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(file), str(seed), "1500"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr[-4000:]
