"""Runs the tests of anyio on `stackless.aio.EventLoop`, beside asyncio's own loop.

    python tests/libraries/anyio_suite.py

Downloads the source of anyio and the packages that its tests need, into an environment of their
own. A test that passes on asyncio's loop has to pass on ours; one that fails is tried once more.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path
from xml.etree import ElementTree

VERSION = "4.16.0"
NEEDS = [
    "blockbuster",
    "hypothesis",
    "psutil",
    "pytest>=9",
    "pytest-mock",
    "pytest-timeout",
    "trustme",
    "truststore",
]
TESTS = Path(__file__).resolve().parents[1]


def prepare(directory):
    """Return the Python of a new environment, and the directory of anyio's source."""
    print(f"== anyio {VERSION} and what its tests need", flush=True)
    builder = venv.EnvBuilder(with_pip=True)
    builder.create(directory / "environment")
    python = directory / "environment" / "bin" / "python"
    pip = [python, "-m", "pip"]
    subprocess.run([*pip, "install", "-q", *NEEDS, f"anyio=={VERSION}"], check=True)
    source = ["download", "-q", "--no-deps", "--no-binary", ":all:", "-d", directory]
    subprocess.run([*pip, *source, f"anyio=={VERSION}"], check=True)
    with tarfile.open(directory / f"anyio-{VERSION}.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    return python, directory / f"anyio-{VERSION}"


def outcomes(python, source, *arguments):
    """Run the tests; return which passed, failed or were skipped, by name."""
    report = source / "report.xml"
    command = [python, "-m", "pytest", "-q", "--timeout", "120", f"--junitxml={report}"]
    command += ["-k", "asyncio and not uvloop", *arguments]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent / "python")])
    wrote = subprocess.run(
        command,
        cwd=source,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        sys.exit(f"the tests of anyio did not run:\n{wrote.stdout}\n{wrote.stderr}")
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        ends = {child.tag for child in case} & {"failure", "error", "skipped"}
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = ends.pop() if ends else "passed"
    report.unlink()
    print(wrote.stdout.strip().splitlines()[-1], flush=True)
    return found, wrote.stdout


def main():
    with tempfile.TemporaryDirectory() as directory:
        python, source = prepare(Path(directory))
        print("== on asyncio's loop", flush=True)
        before, _ = outcomes(python, source)
        print("== on stackless.aio.EventLoop", flush=True)
        after, wrote = outcomes(python, source, "-p", "replaced_loop")
        worse = [n for n, end in before.items() if end == "passed" and after.get(n) != "passed"]
        if worse:
            print("== once more", flush=True)
            again, wrote = outcomes(python, source, "-p", "replaced_loop", "--last-failed")
            worse = [name for name in worse if again.get(name) != "passed"]
        if worse:
            print(wrote[-5000:])
        for name in worse:
            print(f"passes on asyncio's loop only: {name}")
        passed = sum(end == "passed" for end in after.values())
        print(f"anyio {VERSION}: {passed} tests passed on our loop, {len(worse)} only on asyncio's")
        return bool(worse) or passed < 500


if __name__ == "__main__":
    sys.exit(main())
