"""Random programs, parked and pickled at random blocks, give the results of undisturbed runs."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

NIGHTLY = bool(os.environ.get("STACKLESS_NIGHTLY"))
DEBUG = hasattr(sys, "gettotalrefcount")
PARKS = 500_000 if NIGHTLY else 20_000


@pytest.mark.timeout(3600)
def test_random_programs():
    first = random.randrange(1 << 30) if NIGHTLY else 0
    file = Path(__file__).with_name("fuzz.py")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(file), str(PARKS), str(first)],
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, f"seeds from {first} on\n{done.stderr[-4000:]}"
    counts = json.loads(done.stdout)
    print(counts)
    assert counts["parks"] >= PARKS
    assert counts["hops"] > PARKS // 4
    if DEBUG:
        # The first rounds fill caches; a round parks and pickles thousands of times.
        assert abs(counts["references"][-1] - counts["references"][-2]) < 20, counts
