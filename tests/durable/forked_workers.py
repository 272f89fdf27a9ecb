"""Workers in processes of their own, quickly made: a process that has imported all forks them.

python forked_workers.py    reads commands from its input, and answers each with a line
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).parent


class Forge:
    """Makes workers. `ledger`: the file in which their steps write what they do."""

    def __init__(self, ledger, python=sys.executable, **environment):
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [python, "-X", "faulthandler", __file__],
            env={**os.environ, "LEDGER": str(ledger), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, **command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def begin(self, url, run=None, arguments=(), kill_at=0, when=""):
        """Start a worker; with `run`, the name of a workflow, one that ends with it.

        It kills itself before or after (`when`) write number `kill_at`.
        """
        return Worker(self, self.ask(url=url, run=run, arguments=arguments, at=kill_at, when=when))

    def close(self):
        """End it; return what its workers have written to their standard error."""
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        with self._errors:
            self._errors.seek(0)
            return self._errors.read()


class Worker:
    """A process that was forked."""

    def __init__(self, forge, pid):
        self._forge = forge
        self.pid = pid

    def kill(self):
        """Kill it."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def is_running(self):
        """Return whether it has not ended."""
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"

    def wait(self):
        """Wait for its end; return its exit code, negative after a signal."""
        return os.waitstatus_to_exitcode(self._forge.ask(wait=self.pid))


@contextlib.contextmanager
def forge(ledger, **options):
    """Workers of the block must not write errors."""
    made = Forge(ledger, **options)
    try:
        yield made
    finally:
        errors = made.close()
        print(errors)
    assert errors == ""


# ------------------------------------------------------------------ in the process that forks


def _main():
    import families
    import orders
    from stackless import durable
    from stackless.durable.store import postgres, sqlite  # noqa: F401

    if os.environ.get("QUIET"):
        # Transactions of PostgreSQL that are in the way of one another are done again, and logged.
        logging.getLogger("stackless.durable").setLevel(logging.ERROR)
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            command = json.loads(line)
            if "wait" in command:
                answer = os.waitpid(command["wait"], 0)[1]
            else:
                answer = os.fork()
                if answer == 0:
                    os._exit(_worker(durable, {**vars(families), **vars(orders)}, **command))
            print(json.dumps(answer), file=answers, flush=True)


def _worker(durable, workflows, url, run, arguments, at, when):
    try:
        os.close(0)
        if at:
            _kill_at(at, when)
        app = durable.App("tests", url, key=b"a key of the tests")
        if run is None:
            app.serve()
        else:
            app.run(workflows[run], *arguments, id="one")
            app.close()
        return 0
    except BaseException:
        traceback.print_exc()
        return 1


def _kill_at(number, when):
    """Replace the writes of workers by some of which one kills the process."""
    from stackless.durable.store.sql import Store

    count = 0

    def killing(write):
        def counted(store, *arguments):
            nonlocal count
            count += 1
            now = count == number
            if now and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            future = write(store, *arguments)
            if now:
                future.result()
                os.kill(os.getpid(), signal.SIGKILL)
            return future

        return counted

    for name in ("save_all", "transact"):
        setattr(Store, name, killing(getattr(Store, name)))


if __name__ == "__main__":
    _main()
