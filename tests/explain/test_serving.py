"""explain.serve(), and the commands ps, pstree and top, on other processes."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from child_process import TIME_LIMIT, assert_child

PRELUDE = """
import os, signal, sys, threading, time
import stackless
from stackless import explain

def worker(jobs):
    for job in jobs:
        pass

def spins():
    while True:
        stackless.schedule()
"""

# Older kernels cannot have as many stacks.
RELEASE = tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))
TASKLETS = 100_000 if RELEASE >= (6, 13) else 20_000


@pytest.fixture
def place():
    """A directory with a short name: the path of a socket may have at most 108 bytes."""
    path = tempfile.mkdtemp(prefix="sl")
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Process:
    """A child that runs a program, in its own directory, until it is told to end."""

    def __init__(self, source, place, **env):
        self.env = {**os.environ, "TMPDIR": str(place), **env}
        self.env.pop("XDG_RUNTIME_DIR", None)
        self.env.update(env)
        self.child = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", PRELUDE + textwrap.dedent(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
        )
        self.pid = self.child.pid

    def __enter__(self):
        line = self.child.stdout.readline()
        assert line == "ready\n", (line, self.child.communicate())
        return self

    def __exit__(self, *exception):
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()

    def ends(self):
        """End it in the normal way; return its output."""
        out, err = self.child.communicate("\n", timeout=TIME_LIMIT)
        assert self.child.returncode == 0, (out, err)
        return out, err

    def ask(self, *arguments, exits=0):
        """Run `python -m stackless ...`."""
        done = subprocess.run(
            [sys.executable, "-m", "stackless", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=self.env,
            timeout=TIME_LIMIT,
        )
        assert done.returncode == exits, (done.stdout, done.stderr)
        return done.stderr if exits else done.stdout

    def socket(self):
        return Path(self.env["TMPDIR"], f"stackless-{os.geteuid()}", f"{self.pid}.sock")


# A main thread that waits, and one in which tasklets run.
BUSY = """
jobs = stackless.channel()
for _ in range(40):
    stackless.tasklet(worker)(jobs)
stackless.run()
def other():
    stackless.tasklet(spins)()
    stackless.tasklet(spins)()
    stackless.run()
threading.Thread(target=other, daemon=True, name="turning").start()
print("ready", flush=True)
sys.stdin.readline()
"""


def test_ps(place):
    """A line for each tasklet: state, channel, name, place."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        lines = process.ask("ps", process.pid).splitlines()
        assert re.match(rf"process {process.pid} \(-c\): 44 tasklets in 2 threads \(", lines[0])
        assert lines[1].split() == "ID THREAD STATE WAITS FOR AGE SWITCHES NAME AT".split()
        assert len(lines) == 2 + 44
        workers = [line for line in lines if "worker" in line]
        assert len(workers) == 40
        assert all(line.split()[1:4] == ["MainThread", "iterating", "jobs"] for line in workers)
        assert sum("turning" in line and "spins" in line for line in lines) == 2
        grouped = process.ask("ps", "--group", process.pid)
        assert re.search(r"^40 +MainThread +iterating +jobs +worker", grouped, re.M)
        assert str(process.pid) in process.ask("ps").split()


def test_ps_with_stacks(place):
    """The output is that of stackless.dump()."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        text = process.ask("ps", "--stacks", process.pid)
        assert (
            "40 tasklets 'worker' (2, 3, 4, 5, 6, ...): blocked iterating over channel 'jobs'"
            in text
        )
        assert '  File "<string>", line 7, in worker' in text
        assert "turning (" in text


def test_pstree(place):
    """Threads, their channels, and the tasklets of these."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        text = process.ask("pstree", process.pid)
        assert re.search(
            r"├─ MainThread \(\d+\)\n"
            r"│  ├─ running\n"
            r"│  │  └─ main at .*\n"
            r"│  └─ blocked iterating over channel 'jobs' at 0x\w+ \(balance -40\): 40\n"
            r"│     └─ 40 tasklets 'worker' \(2, 3, 4, 5, 6, \.\.\.\) at <string>:7 worker\n"
            r"└─ turning \(\d+\)\n",
            text,
        ), text
        assert process.ask("pstree", "--all", process.pid).count("'worker'") == 40


def test_top(place):
    """Running tasklets are above waiting ones; switches are counted only while `top` watches."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        text = process.ask("top", process.pid, "--once", "--interval", "0.2", "--lines", "3")
        total, heading, *rows = text.splitlines()[2:]
        assert int(total.split()[0]) > 0
        assert heading.split()[1] == "SWITCHES/S" and len(rows) == 3
        assert all(float(row.split()[1]) > 0 and "spins" in row for row in rows[:2])
        assert float(rows[2].split()[1]) == 0
        # The connection has ended: nothing is counted any more.
        for _ in range(100):
            row = next(r for r in process.ask("ps", process.pid).splitlines() if "spins" in r)
            if re.search(r" -  +-  +spins", row):
                break
        else:
            pytest.fail(row)


def test_a_process_that_does_not_serve(place):
    """The error says what to do; so does the one for a process that does not exist."""
    with Process(BUSY, place) as process:
        assert "STACKLESS_EXPLAIN=1" in process.ask("ps", process.pid, exits=1)
        assert "No process of this user" in process.ask("ps")
        assert "there is no process" in process.ask("ps", 2**22 + 1, exits=1)


def test_list_of_processes(place):
    """`ps` alone prints the number and command line of each process that serves."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        head, *rows, advice = process.ask("ps").splitlines()
        assert head.split() == ["PID", "COMMAND"]
        commands = dict(row.split(None, 1) for row in rows)
        assert commands[str(process.pid)].startswith(f"{sys.executable} -X faulthandler -c")
        assert all(len(row) < 250 for row in rows)
        assert advice.startswith(f"python -m stackless ps {rows[0].split()[0]} ")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_will_do(place, encoding):
    """Characters that it cannot show are replaced by ASCII, or escaped."""
    source = """
def bl\u00f6\u3053ckt(ch): ch.receive()
ch = stackless.channel()
for _ in range(2): stackless.tasklet(bl\u00f6\u3053ckt)(ch)
stackless.schedule()
print("ready", flush=True)
sys.stdin.readline()
"""
    with Process(source, place, STACKLESS_EXPLAIN="1", PYTHONIOENCODING=encoding) as process:
        for command in (
            ["ps"],
            ["ps", "-s"],
            ["ps", "-g"],
            ["pstree"],
            ["top", "--once", "-i", "0.1"],
        ):
            run = [sys.executable, "-m", "stackless", *command, str(process.pid)]
            done = subprocess.run(run, capture_output=True, env=process.env, timeout=TIME_LIMIT)
            assert (done.returncode, done.stderr) == (0, b""), command
            shown = done.stdout.decode(encoding)
            if command != ["top", "--once", "-i", "0.1"]:
                assert ("\u3053" if encoding == "utf-8" else "\\u3053") in shown, command
            if command == ["pstree"]:
                assert ("\u251c\u2500" if encoding == "utf-8" else "|- ") in shown


def test_the_module_can_be_run(place):
    """`python -m stackless.explain` is `ps`, and prints nothing else."""
    run = [sys.executable, "-W", "error", "-m", "stackless.explain"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=TIME_LIMIT)
    assert done.returncode == 0 and done.stderr == ""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        done = subprocess.run(
            [*run, str(process.pid)], capture_output=True, text=True, env=process.env
        )
        assert done.returncode == 0 and done.stderr == "" and "MainThread" in done.stdout


def test_runtime_directory_is_preferred(place):
    """XDG_RUNTIME_DIR; only the user has access to the directory and the socket."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1", XDG_RUNTIME_DIR=place) as process:
        path = Path(place, "stackless", f"{process.pid}.sock")
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert "44 tasklets" in process.ask("ps", process.pid)
        process.ends()
        assert not path.exists(), "removed at exit"


def test_a_directory_that_others_may_enter_is_refused(place):
    """The server warns and continues; serve() raises."""
    directory = Path(place, f"stackless-{os.geteuid()}")
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    source = """
    try:
        explain.serve()
    except PermissionError as error:
        print("ready" if "mode is 755" in str(error) else error, flush=True)
    sys.stdin.readline()
    """
    with Process(source, place, STACKLESS_EXPLAIN="1") as process:
        assert "755" in process.ask("ps", process.pid, exits=1)
        assert "RuntimeWarning: no explanations of this process" in process.ends()[1]


def test_serve_and_stop(place):
    """By a call; a second call has no effect; after stop() the thread and the socket are gone."""
    assert_child(
        PRELUDE
        + """
path = explain.serve()
assert explain.serve() == path and os.path.exists(path)
assert [t.name for t in threading.enumerate()].count("stackless explain") == 1
explain.stop_serving()
explain.stop_serving()
assert not os.path.exists(path) and threading.active_count() == 1
assert explain.serve() == path and os.path.exists(path)
print("end")
""",
        prints="end",
        env={"TMPDIR": place, "XDG_RUNTIME_DIR": ""},
    )
    assert list(Path(place).rglob("*.sock")) == []


def test_environment_value():
    """The warning names a wrong value."""
    assert_child(
        "import stackless",
        exits=1,
        complains="STACKLESS_EXPLAIN must be 0, 1 or ages, not 'yes'",
        env={"STACKLESS_EXPLAIN": "yes"},
    )


def test_ages_from_the_environment(place):
    """STACKLESS_EXPLAIN=ages."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="ages") as process:
        row = next(line for line in process.ask("ps", process.pid).splitlines() if "worker" in line)
        assert re.search(r"jobs +\d+\.\d+ s +1 +worker", row)


def test_deadlocks_are_still_found(place):
    """The thread that answers is not counted as one that could wake a tasklet."""
    assert_child(
        PRELUDE
        + """
explain.serve()
for _ in range(3):
    try:
        stackless.channel().receive()
    except RuntimeError as error:
        print(str(error).split(":")[0])
""",
        prints="Deadlock Deadlock Deadlock",
        env={"TMPDIR": place, "XDG_RUNTIME_DIR": ""},
    )


def test_forked_child_answers_for_itself(place):
    """Each process has its own socket; the parent's still works when the child has ended."""
    source = """
    import warnings
    warnings.simplefilter("ignore")
    jobs = stackless.channel()
    for _ in range(5):
        stackless.tasklet(worker)(jobs)
    stackless.run()
    pid = os.fork()
    if pid == 0:
        for _ in range(2):
            jobs.queue.kill()
        try:
            stackless.channel().receive()
        except RuntimeError as error:
            assert "Deadlock" in str(error)
        signal.pause()
    print("ready", flush=True)
    print(pid, flush=True)
    sys.stdin.readline()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print("reaped", flush=True)
    sys.stdin.readline()
    """
    with Process(source, place, STACKLESS_EXPLAIN="1") as process:
        child = int(process.child.stdout.readline())
        for _ in range(100):
            answer = process.ask("ps", "--group", child)
            if re.search(r"^3 +MainThread +iterating", answer, re.M):
                break
            time.sleep(0.1)
        else:
            pytest.fail(answer)
        assert f"process {child} (" in answer
        assert re.search(r"^5 +MainThread +iterating", process.ask("ps", "-g", process.pid), re.M)
        stale = process.socket().with_name(f"{child}.sock")
        process.child.stdin.write("\n")
        process.child.stdin.flush()
        assert process.child.stdout.readline() == "reaped\n"
        assert stale.exists()
        assert f"no process {child}" in process.ask("ps", child, exits=1)
        assert not stale.exists(), "what a killed process leaves behind is removed"
        assert "6 tasklets" in process.ask("ps", process.pid)


def test_stale_sockets(place):
    """A new process removes those of ended processes, and replaces one with its own number."""
    directory = Path(place, f"stackless-{os.geteuid()}")
    directory.mkdir(mode=0o700)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(directory / f"{pid}.sock"))
    source = """
    path = f"{os.environ['TMPDIR']}/stackless-{os.geteuid()}/{os.getpid()}.sock"
    import socket
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    assert explain.serve() == path
    print("ready", flush=True)
    sys.stdin.readline()
    """
    with Process(source, place) as process:
        names = {path.stem for path in directory.glob("*.sock")}
        assert names == {str(os.getpid()), str(process.pid)}, "living processes keep theirs"
        assert "1 tasklet in 1 thread" in process.ask("ps", process.pid)


def ask_as(uid, path):
    """The answer that a process of this user gets from a socket."""
    script = f"""
import os, socket
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect({str(path)!r})
    connection.settimeout(30)
    connection.send(b"snapshot\\n")
    print(connection.makefile().read())
except OSError as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as another user")
def test_another_user_is_refused(place):
    """By the directory; and by the process itself, if the permissions were changed."""
    os.chmod(place, 0o711)
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        path = process.socket()
        assert ask_as(65534, path).strip() == "PermissionError"
        path.parent.chmod(0o711)
        path.chmod(0o666)
        # Closing the socket before the request is read may lose the answer: then it is a reset.
        answer = ask_as(65534, path).strip()
        assert answer == "ConnectionResetError" or answer in (
            json.dumps({"error": "only the user that this process belongs to may ask"}),
        )
        assert "tasklets" not in answer


def test_clients_that_misbehave(place):
    """A malformed request is refused; a client that does not read does not delay the others."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(process.socket()))
            connection.send(b"nonsense\n")
            assert "no such question" in connection.makefile().read()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(process.socket()))
            assert "44 tasklets" in process.ask("ps", process.pid)
            with socket.socket(socket.AF_UNIX) as gone:
                gone.connect(str(process.socket()))
                gone.send(b"snapshot\n")
            assert "44 tasklets" in process.ask("ps", process.pid)


def test_signals_reach_the_sleeping_main_thread(place):
    """The thread that answers takes no signals."""
    with Process(BUSY, place, STACKLESS_EXPLAIN="1") as process:
        os.kill(process.pid, signal.SIGINT)
        _, err = process.child.communicate(timeout=TIME_LIMIT)
        assert "KeyboardInterrupt" in err


@pytest.mark.slow
def test_a_hundred_thousand_tasklets(place):
    """They are listed in slices, so that the process continues meanwhile; the output says so."""
    source = """
    stackless.set_stack_limits(size=65536, count=200_000)
    jobs = [stackless.channel() for _ in range(100)]
    for number in range(COUNT):
        stackless.tasklet(worker)(jobs[number % 100])
    stackless.run()
    turns = 0
    def counts():
        global turns
        while not leaves:
            turns += 1
            stackless.schedule()
    leaves = []
    stackless.tasklet(counts)()
    stackless.tasklet(counts)()
    def stops():
        sys.stdin.readline()
        leaves.append(1)
    threading.Thread(target=stops).start()
    print("ready", flush=True)
    stackless.run()
    """.replace("COUNT", str(TASKLETS))
    with Process(source, place, STACKLESS_EXPLAIN="1") as process:
        text = process.ask("ps", process.pid)
        assert len(text.splitlines()) == TASKLETS + 5
        slices = re.search(r"not atomic: taken in (\d+) slices over", text.splitlines()[0])
        assert int(slices[1]) > 10
        assert text.count("iterating") == TASKLETS
        tree = process.ask("pstree", process.pid)
        assert tree.count(f": {TASKLETS // 100}\n") == 100
        top = process.ask("top", process.pid, "--once", "--interval", "0.2", "--lines", "1")
        assert "counts" in top.splitlines()[-1]
