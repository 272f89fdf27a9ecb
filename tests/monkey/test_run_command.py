"""`python -m stackless run`: threaded programs as they are."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest

THREADED = """
import sys, threading, time

def work(n):
    time.sleep(0.05)
    with lock:
        natives.add(threading.get_native_id())

lock, natives = threading.Lock(), set()
threads = [threading.Thread(target=work, args=[n]) for n in range(20)]
before = time.monotonic()
for each in threads:
    each.start()
for each in threads:
    each.join()
assert time.monotonic() - before < 0.9
print(len(natives), natives == {threading.get_native_id()}, __name__, sys.argv[1:])
"""
PRINTS = "1 True __main__ ['a', '-b']"


def run(*arguments, text=None, cwd=None, env=None):
    return subprocess.run(
        [sys.executable, "-m", "stackless", "run", *map(str, arguments)],
        input=text or "",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )


def assert_ran(done, prints=PRINTS, exits=0):
    assert (done.stdout.strip(), done.stderr, done.returncode) == (prints, "", exits)


def written(directory, text, name="program.py"):
    file = directory / name
    file.write_text(textwrap.dedent(text))
    return file


def test_a_file(tmp_path):
    """Its threads are tasklets of the main thread."""
    assert_ran(run(written(tmp_path, THREADED), "a", "-b"))


def test_other_kinds_of_programs(tmp_path):
    """A module, a text, standard input, a directory and a zip file."""
    written(tmp_path, THREADED, "some_module.py")
    assert_ran(run("-m", "some_module", "a", "-b", cwd=tmp_path))
    assert_ran(run("-c", THREADED, "a", "-b"))
    assert_ran(run("-", "a", "-b", text=THREADED))
    directory = tmp_path / "directory"
    directory.mkdir()
    written(directory, THREADED, "__main__.py")
    assert_ran(run(directory, "a", "-b"))
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.writestr("__main__.py", THREADED)
    assert_ran(run(tmp_path / "program.zip", "a", "-b"))


@pytest.mark.parametrize("code", ["3", "'text'", "None"])
def test_exit_codes(code):
    """As without the command, also for what other threads do at the end."""
    source = f"""
import sys, threading, time
def late():
    time.sleep(0.05)
    print("late")
threading.Thread(target=late).start()
sys.exit({code})
"""
    ours = run("-c", source)
    plain = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (ours.stdout, ours.stderr, ours.returncode) == (
        plain.stdout,
        plain.stderr,
        plain.returncode,
    )


def test_tracebacks_begin_in_the_program(tmp_path):
    """Of main and of threads, as without the command."""
    file = written(
        tmp_path,
        """
        import threading
        def fail():
            raise KeyError("thread")
        thread = threading.Thread(target=fail, name="worker")
        thread.start()
        thread.join()
        raise KeyError("main")
        """,
    )
    ours = run(file)
    plain = subprocess.run([sys.executable, file], capture_output=True, text=True)
    assert ours.returncode == plain.returncode == 1
    assert ours.stderr == plain.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(number):
    """They end a program whose main waits for its threads, with the usual status."""
    source = """
import threading, time
def work():
    time.sleep(60)
thread = threading.Thread(target=work, daemon=True)
thread.start()
print("ready", flush=True)
thread.join()
"""
    process = subprocess.Popen(
        [sys.executable, "-m", "stackless", "run", "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -number
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)


def test_a_deadlock_of_threads_is_an_error():
    """Where threads would hang, the one that closes the circle gets an error that shows it."""
    source = """
import threading
one, two = threading.Lock(), threading.Lock()
def work(first, second):
    with first:
        barrier.wait()
        with second:
            pass
barrier = threading.Barrier(2)
threads = [threading.Thread(target=work, args=each) for each in [(one, two), (two, one)]]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""
    done = run("-c", source)
    assert "Exception in thread Thread-1" in done.stderr and done.returncode == 0
    assert "Deadlock" in done.stderr and "A cycle: tasklet" in done.stderr


def test_report_of_what_blocks():
    """It names the place and the remedy, once; --blocked and the variable do the same."""
    source = """
import threading, time
def busy():
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        pass
threading.Thread(target=time.sleep, args=[2], daemon=True).start()
thread = threading.Thread(target=busy)
thread.start()
thread.join()
time.sleep(0.2)
"""
    for arguments, env in (["--blocked", "0.1"], {}), ([], {"STACKLESS_BLOCKED": "0.1"}):
        done = run(*arguments, "-c", source, env=env)
        assert done.returncode == 0
        assert done.stderr.count("has let no other one run for") == 1, done.stderr
        assert 'File "<string>", line ' in done.stderr and "in busy" in done.stderr
        assert "stackless.to_thread()" in done.stderr and "it went on after" in done.stderr
    quiet = run("--blocked", "0.2", "-c", "import time; time.sleep(0.5)")
    assert quiet.stderr == ""


def test_stats():
    """What was started and used, at the end."""
    done = run("--stats", "-c", THREADED, "a", "-b")
    assert done.stdout.strip() == PRINTS
    assert "tasklets started             20" in done.stderr and "wall time" in done.stderr


def test_wrong_arguments():
    """A message, and status 2."""
    for arguments in ([], ["no-such-file.py"], ["--blocked", "0", "-c", ""], ["-m", "no_such"]):
        done = run(*arguments)
        assert done.returncode == 2 and done.stderr and not done.stdout
    assert run("-c", "", env={"STACKLESS_BLOCKED": "no"}).returncode == 1
    overview = subprocess.run(
        [sys.executable, "-m", "stackless", "--help"], capture_output=True, text=True
    )
    assert "  run       run a program that was written for threads" in overview.stdout
    assert "--blocked SECONDS" in run("--help").stdout
