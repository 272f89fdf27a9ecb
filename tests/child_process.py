"""Runs Python code in its own process.

For code that may crash, hang, or exit, and for deadlocks: a deadlock is found only if no other
Python thread of the process could act, and the test runner's time limit may be such a thread.
"""

import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

TESTS = Path(__file__).parent
#: In an emulator of a processor (tools/try-wheel) everything takes ten times as long.
PATIENT = os.environ.get("STACKLESS_NIGHTLY") or os.environ.get("STACKLESS_EMULATED")
TIME_LIMIT = 3600 if PATIENT else 60


def run_child(source, *, timeout=TIME_LIMIT, args=(), env=None):
    """Run `source` in a fresh interpreter with faulthandler on; return the CompletedProcess."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(source), *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
    )


def assert_child(source, *, prints="", exits=0, complains="", **options):
    """Run `source` in a child; compare its exit code and its whole output.

    `complains`: what must occur on stderr; empty means that stderr must be empty.
    """
    child = run_child(source, **options)
    wrote = f"stdout:\n{child.stdout}\nstderr:\n{child.stderr}"
    assert child.returncode == exits, f"exit code {child.returncode}, not {exits}\n{wrote}"
    assert child.stdout.split() == prints.split(), wrote
    if complains:
        assert complains in child.stderr, wrote
    else:
        assert child.stderr == "", wrote


def in_child_process(test):
    """Decorate a test function: its body runs in a child, alone in that process.

    Its arguments, if it is parametrised, must survive `repr`.
    """

    @functools.wraps(test)
    def run_there(**arguments):
        file = Path(test.__code__.co_filename)
        child = run_child(
            f"""
            import sys
            sys.path[:0] = [{str(TESTS)!r}, {str(file.parent)!r}]
            import {file.stem}
            {file.stem}.{test.__qualname__}.__wrapped__(**{arguments!r})
            """
        )
        assert child.returncode == 0, f"\n{child.stdout}\n{child.stderr}"
        assert child.stderr == "", child.stderr

    return run_there
