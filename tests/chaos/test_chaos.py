"""No operation on tasklets crashes the interpreter, or makes it hang.

The nightly run takes STACKLESS_CHAOS_SECONDS, an hour unless told otherwise, with seeds that were
not tried before. A failure names its seed: `python tests/chaos/chaos.py SEED` does it again.
"""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("chaos.py")
NIGHTLY = os.environ.get("STACKLESS_NIGHTLY")
SECONDS = float(os.environ.get("STACKLESS_CHAOS_SECONDS", 3600))


def try_seed(seed):
    """The description of the failure, or an empty text."""
    command = [sys.executable, "-X", "faulthandler", str(PROGRAM), str(seed)]
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    hangs = ""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as child:
        try:
            printed, wrote = child.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            hangs = "hangs, "
            child.send_signal(signal.SIGABRT)  # faulthandler shows where it hangs
            printed, wrote = child.communicate()
    if not hangs and child.returncode == 0 and printed.endswith("\nend\n"):
        return ""
    if len(wrote) > 6000:
        wrote = f"{wrote[:2000]}\n...\n{wrote[-4000:]}"
    return f"seed {seed}: {hangs}exit status {child.returncode}\n{printed}\n{wrote}"


@pytest.mark.parametrize("seed", range(16))
def test_no_crash(seed):
    assert try_seed(seed) == ""


@pytest.mark.skipif(not NIGHTLY, reason="make nightly runs it, for an hour")
def test_no_crash_for_a_long_time():
    """As many processes at a time as there are processors."""
    seeds, end = count(int(time.time())), time.monotonic() + SECONDS
    tried = 0
    processes = os.cpu_count() or 1
    with ThreadPoolExecutor(processes) as pool:
        while time.monotonic() < end:
            for wrong in pool.map(try_seed, [next(seeds) for _ in range(processes * 4)]):
                assert wrong == "", f"{wrong}\nafter {tried} others"
                tried += 1
    print(f"{tried} seeds in {SECONDS:.0f} s")
