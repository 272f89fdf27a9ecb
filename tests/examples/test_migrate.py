"""examples/migrate.py: what the worker runs, and what it refuses."""

import importlib.util
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import stackless
from stackless.pickling import blob

FILE = Path(__file__).resolve().parents[2] / "examples" / "migrate.py"
OLD, NEW = b"the key of last year, long enough", b"the key of this year, long enough"


def load_example():
    spec = importlib.util.spec_from_file_location("migrate", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


migrate = load_example()


@pytest.fixture(scope="module")
def port():
    """The port of a worker in the middle of a change of keys."""
    worker, port = migrate.start_worker([NEW, OLD])
    yield port
    worker.terminate()
    worker.communicate(timeout=30)


def sent(port, message):
    return migrate.send(port, message, [NEW])


JOB = """
class Job:
    def __init__(self, results):
        self.results = results

    def insert(self):
        self.results.append(40 + 2)
"""


def job():
    """A value that the worker can run: an object with `insert`, and a list."""
    program = {"__name__": "__main__"}
    exec(JOB, program)
    results = []
    return program["Job"](results), results


def test_keys_of_both_years_are_accepted(port):
    """Answers are signed with the first key."""
    for key in (NEW, OLD):
        assert sent(port, stackless.dumps(job(), key=key)) == {"results": [42]}


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (lambda: stackless.dumps(job()), "SignatureError"),
        (lambda: stackless.dumps(job(), key=b"a key of somebody else"), "SignatureError"),
        (lambda: pickle.dumps(print), "NotABlobError"),
        (lambda: b"GET / HTTP/1.1\r\n\r\n", "NotABlobError"),
        (lambda: b"", "EOFError"),
        (lambda: stackless.dumps(job(), key=NEW)[:-1], "DamagedError"),
        (lambda: stackless.dumps(bytes(migrate.LARGEST), key=NEW)[:1000], "TooLargeError"),
        (lambda: from_python_3_9(), "CodeVersionError"),
        (lambda: stackless.dumps(load_example, key=NEW), "SourceError"),
    ],
)
def test_refusals(port, message, word):
    """The error names the reason, and the worker continues."""
    assert sent(port, message())["refused"].startswith(word)
    assert sent(port, stackless.dumps(job(), key=NEW)) == {"results": [42]}


def from_python_3_9():
    """A correctly signed blob that another Python might have written."""
    data = stackless.dumps(1, key=NEW)
    start = blob._HEAD.size + blob._SIGNATURE
    rest = b"\x09" + data[start + 1 :]
    return data[: blob._HEAD.size] + blob._seal(data[: blob._HEAD.size], rest, NEW) + rest


def test_a_silent_client_does_not_stop_the_worker(port):
    """The client only connects and disconnects."""
    socket.create_connection(("127.0.0.1", port)).close()
    assert sent(port, stackless.dumps(job(), key=NEW)) == {"results": [42]}


def test_where_keys_come_from(tmp_path):
    """A file takes precedence over the variable."""
    file = tmp_path / "keys"
    file.write_text(f"{NEW.hex()}\n{OLD.hex()}\n")
    assert migrate.read_keys({}) == []
    assert migrate.read_keys({"MIGRATE_KEYS": OLD.hex()}) == [OLD]
    both = {"MIGRATE_KEY_FILE": str(file), "MIGRATE_KEYS": "00"}
    assert migrate.read_keys(both) == [NEW, OLD]


def test_recursion_goes_down_here_and_up_there():
    """The whole program."""
    done = subprocess.run([sys.executable, str(FILE)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    down, size, up, digits, here = done.stdout.splitlines()
    assert "at the call factorial(450)" in down
    assert "on from the call factorial(450)" in up
    assert down.split(":")[0] != up.split(":")[0]
    assert up.split(":")[0].split()[1] == size.split()[-1]
    assert "900! has 2270 digits" in digits
    assert here.strip() == "results=[]"
