"""examples/explain: programs that hang, and whose error says why."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "explain"


def test_dining_philosophers():
    """They all wait; the dump and the note name all five, and the cycle."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "dining.py")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and done.stdout == "All wait:\n"
    dump, traceback = done.stderr.split("Traceback")
    assert dump.count("'philosopher': blocked receiving from channel 'right'") == 5
    text, note = traceback.split("RuntimeError: ")[1].split("\nWaiting tasklets:\n")
    assert text == "Deadlock: the last runnable tasklet cannot be blocked."
    circle = note[note.index("A cycle: ") :]
    assert circle.count("'philosopher' receives from 'right' at 0x") == 5
