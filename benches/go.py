"""Benchmarks in Go for comparison: built once, then run in a new process for each measurement."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "go" / "main.go"

_directory = tempfile.TemporaryDirectory(prefix="stackless-bench-")


@functools.cache
def problem(source: Path = SOURCE) -> str | None:
    """Build a program; return why that failed, None if it did not."""
    if shutil.which("go") is None:
        return "skipped: there is no `go` on PATH"
    built = subprocess.run(
        ["go", "build", "-o", program(source), source], capture_output=True, text=True
    )
    return f"failed: {built.stderr.strip()}" if built.returncode else None


@functools.cache
def version() -> str:
    told = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True)
    return told.stdout.strip().removeprefix("go")


def program(source: Path = SOURCE) -> Path:
    """Return the path of the built program."""
    return Path(_directory.name, source.stem)


def run(mode: str, operations: int) -> list[float]:
    """Run the program; return the numbers that it prints."""
    done = subprocess.run(
        [program(), mode, str(operations)], capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return [float(word) for word in done.stdout.split()]


def seconds(mode: str, operations: int) -> float:
    [taken] = run(mode, operations)
    return taken
