"""Worker processes that tests start, and end in whatever way they like."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time

_numbers = itertools.count(1)


class WorkerProcess:
    def __init__(self, address, name, resources=None, environment=(), arguments=(), python=None):
        self.name = name
        options = {"name": name, "nthreads": 1, "memory_limit": 0, "dashboard": False}
        options.update(host="127.0.0.1", dashboard_address="127.0.0.1:0", **dict(arguments))
        if resources:
            options["resources"] = resources
        spec = json.dumps({"cls": "distributed.Worker", "opts": options})
        self.process = subprocess.Popen(
            [python or sys.executable, "-m", "dask", "spec", address, "--spec", spec],
            env={
                **os.environ,
                "DASK_LOGGING__DISTRIBUTED": "error",
                "PYTHONPATH": os.pathsep.join(sys.path),
                **dict(environment),
            },
            stdout=subprocess.DEVNULL,
            stderr=None if "STACKLESS_CLUSTER_SHOW" in os.environ else subprocess.DEVNULL,
        )

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(60)


@contextlib.contextmanager
def starting(c):
    """A function that starts workers of a cluster; they are killed at the end."""
    made = []

    def start(count=1, **options):
        new = [WorkerProcess(c.address, f"extra-{next(_numbers)}", **options) for _ in range(count)]
        made.extend(new)
        wait_for(c, [each.name for each in new], [])
        return new

    try:
        yield start
    finally:
        for each in made:
            each.kill()
        wait_for(c, [], [each.name for each in made])


def wait_for(c, there, gone):
    deadline = time.monotonic() + 60
    while True:
        names = {each.name for each in c.hosts()}
        if names.issuperset(there) and not names.intersection(gone):
            return
        assert time.monotonic() < deadline, (names, there, gone)
        time.sleep(0.01)
