"""coverage.py on a program with tasklets: it finds the lines that ran, and only those."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("coverage")

# Lines that end with "# never" are those that do not run.
PROGRAM = """
import sys
import threading

import stackless

stackless.set_stack_limits(park_above=4)


def worker(channel, name):
    total = 0
    for item in channel:
        total += first(item)
        if name == "nobody":
            total = 0  # never
    done.append(total)


def first(item):
    kept = item
    stackless.schedule()
    try:
        return second(kept)
    except LookupError:
        return through_c(item)


def second(item):
    if item % 2:
        raise LookupError
    stackless.schedule()
    return item


def through_c(item):
    def key(value):
        stackless.schedule()
        if value is None:
            return 0  # never
        return value

    return sorted([item, item], key=key)[0]


def parked(channel):
    before = 1
    got = channel.receive()
    return_it = got + before
    done.append(return_it)


def limited():
    total = 0
    for i in range(1000):
        total += i
    if total < 0:
        done.append(total)  # never
    done.append(total)


def generator(channel):
    for item in channel:
        yield item
    yield None


def consume(channel):
    for item in generator(channel):
        if item is None:
            done.append("end")


def in_thread():
    def body():
        stackless.schedule()
        done.append("thread")
        if not done:
            done.clear()  # never

    stackless.tasklet(body)()
    stackless.run()


def unused():
    return 1  # never


done = []
channel = stackless.channel()
for name in "abc":
    stackless.tasklet(worker)(channel, name)
for _ in range(20):
    stackless.tasklet(consume)(channel)
idle = stackless.channel()
for _ in range(20):
    stackless.tasklet(parked)(idle)
stackless.run()
for item in range(6):
    channel.send(item)
channel.close()
for _ in range(20):
    idle.send(1)
stackless.tasklet(limited)()
while t := stackless.run(200):
    t.insert()
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
assert sys.version_info > (3,)
"""

CORES = ["ctrace"] + (["sysmon"] if sys.version_info >= (3, 12) else [])


@pytest.mark.parametrize("core", [*CORES, "the default"])
def test_lines(tmp_path, core):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "data")}
    environment.pop("COVERAGE_CORE", None)
    if core != "the default":
        environment["COVERAGE_CORE"] = core

    def coverage(*arguments):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "coverage", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr

    coverage("run", f"--include={script}", str(script))
    coverage("json", "-q", "-o", "report.json")
    [file] = json.loads((tmp_path / "report.json").read_text())["files"].values()
    never = [n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# never")]
    assert file["missing_lines"] == never
