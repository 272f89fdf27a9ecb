"""Files over pipes and terminals, commands, signals, and multiprocessing in tasklets.

In each test one tasklet is blocked in the call, and another one goes on meanwhile.
"""

import subprocess
import sys
import textwrap

import pytest
from child_process import assert_child

BEGIN = """
import io, os, pty, queue, signal, subprocess, sys, threading, time, warnings
warnings.simplefilter("ignore")
import stackless
from stackless import monkey
monkey.patch_all()

def beside_a_ticker(call):
    "Returns the result of a call in a tasklet, and how often another tasklet went on meanwhile."
    ticks, ended = [], []
    def tick():
        while not ended:
            ticks.append(1)
            time.sleep(0.005)
    ticker = stackless.tasklet(tick)()
    result = stackless.run_tasklet(call).join()
    ended.append(1)
    ticker.join()
    return result, len(ticks) > 5

def later(call, *arguments):
    def wait():
        time.sleep(0.1)
        call(*arguments)
    stackless.tasklet(wait)()

def child(code):
    return [sys.executable, "-c", "import sys, time; " + code]

SLOW = child("time.sleep(0.2); print('line'); time.sleep(0.1); print('last')")
reading, writing = os.pipe()

def out(**named):
    return subprocess.Popen(
        SLOW, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **named
    ).stdout

def gets(text):
    later(os.write, writing, text)

def drains():
    later(os.read, reading, 2**20)

def signals(number):
    later(os.kill, os.getpid(), number)
"""


def assert_prints(source, prints, **options):
    assert_child(BEGIN + source, prints=prints, **options)


#: A call that waits -> the repr of its result.
CALLS = {
    "out().read()": "b'line\\nlast\\n'",
    "out().readline()": "b'line\\n'",
    "out(text=True).readline()": "'line\\n'",
    "list(out(text=True))": "['line\\n', 'last\\n']",
    "out(bufsize=0).read(2)": "b'li'",
    "out(bufsize=0).read()": "b'line\\nlast\\n'",
    "subprocess.Popen(SLOW, stdout=subprocess.DEVNULL).wait()": "0",
    "subprocess.call(child('time.sleep(0.2); sys.exit(3)'))": "3",
    "subprocess.getoutput('sleep 0.2; echo text')": "'text'",
    "os.popen('sleep 0.2; echo text').read()": "'text\\n'",
    "os.popen('sleep 0.2; exit 3').close()": "768",
    "os.system('sleep 0.2; exit 3')": "768",
    "os.system('sleep 0.2; kill -9 $$')": "9",
    "os.waitstatus_to_exitcode(os.spawnlp(os.P_WAIT, 'sleep', 'sleep', '0.2'))": "0",
    "gets(b'text') or os.read(reading, 100)": "b'text'",
    "gets(b'text') or os.fdopen(reading, 'rb', 0).read(100)": "b'text'",
    "gets(b'text\\n') or os.fdopen(reading).readline()": "'text\\n'",
    "gets(b'text') or os.fdopen(reading, 'rb').read1()": "b'text'",
    "gets(b'text') or os.fdopen(reading, 'rb').peek()": "b'text'",
    "gets(b'text') or os.fdopen(reading, 'rb').readinto(bytearray(4))": "4",
    "drains() or os.write(writing, bytes(2**16 + 10))": "65546",
    "drains() or os.writev(writing, [bytes(2**16), bytes(10)])": "65546",
    "drains() or os.fdopen(writing, 'wb', 0).write(bytes(2**16 + 1))": "65537",
    "drains() or print('x' * 2**17, file=os.fdopen(writing, 'w'), flush=True)"
    " if drains() is None else 0": "None",
    "signals(signal.SIGUSR1) or signal.sigwait({signal.SIGUSR1})": "<Signals.SIGUSR1: 10>",
    "signals(signal.SIGUSR1) or signal.sigwaitinfo([signal.SIGUSR1]).si_signo": "10",
    "signals(signal.SIGUSR1) or signal.sigtimedwait([signal.SIGUSR1], 20).si_signo": "10",
    "signal.sigtimedwait([signal.SIGUSR1], 0.1)": "None",
    "signals(signal.SIGUSR2) or signal.pause() or handled": "[12]",
}


@pytest.mark.parametrize("call", list(CALLS))
def test_a_call_that_waits(call):
    assert_prints(
        f"""
import warnings
warnings.simplefilter("ignore")
handled = []
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signal.signal(signal.SIGUSR2, lambda number, frame: handled.append(number))
print(beside_a_ticker(lambda: {call}))
sys.stdout.flush()
os._exit(0)  # children that still run
""",
        prints=f"({CALLS[call]}, True)",
    )


def test_terminals():
    assert_prints(
        """
ours, theirs = pty.openpty()
later(os.write, ours, b"one\\n")
print(beside_a_ticker(lambda: os.read(theirs, 100)))
later(os.write, ours, b"two\\n")
with os.fdopen(theirs) as file:
    print(beside_a_ticker(file.readline), file.isatty(), file.line_buffering)
""",
        prints="(b'one\\n', True) ('two\\n', True) True True",
    )


@pytest.mark.parametrize("command", ["run", "plain"])
def test_standard_input(command):
    """`input()` and `sys.stdin` of one thread do not keep the others from running."""
    program = textwrap.dedent("""
        import sys, threading, time
        def read():
            lines.append(input("? "))
            lines.append(sys.stdin.readline())
            lines.append(sys.stdin.read())
            try:
                input()
            except EOFError as error:
                lines.append(str(error))
        lines, ticks = [], 0
        thread = threading.Thread(target=read)
        thread.start()
        while thread.is_alive():
            ticks += 1
            time.sleep(0.005)
        print(lines, ticks > 20)
    """)
    arguments = ["-m", "stackless", "run"] if command == "run" else []
    child = subprocess.Popen(
        [sys.executable, *arguments, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    import time

    for text in b"one\n", b"two\n", b"last":
        time.sleep(0.3)
        child.stdin.write(text)
    child.stdin.close()
    out = child.stdout.read()
    child.stdout.close()
    assert child.wait(60) == 0
    expected = [b"? ['one', 'two\\n', 'last', 'EOF when reading a line'] True\n"]
    assert [out] == expected


def test_standard_input_that_is_a_program():
    child = subprocess.run(
        [sys.executable, "-m", "stackless", "run", "-"],
        input=b"print('ran')\n",
        capture_output=True,
        timeout=60,
    )
    assert (child.returncode, child.stdout) == (0, b"ran\n"), child


def test_two_tasklets_in_one_file():
    """The standard class would raise "reentrant call": each gets its part."""
    assert_prints(
        """
file = os.fdopen(reading, "rb")
def feed():
    for n in range(10):
        time.sleep(0.01)
        os.write(writing, b"%d\\n" % n)
readers = [stackless.run_tasklet(file.readline) for _ in range(10)]
stackless.tasklet(feed)()
print(sorted(each.join() for each in readers) == [b"%d\\n" % n for n in range(10)])
out = os.fdopen(writing, "wb")
writers = [stackless.run_tasklet(lambda n=n: (out.write(bytes([n]) * 40000), out.flush()))
           for n in range(1, 6)]
received = []
def receive():
    while len(b"".join(received)) < 200000:
        received.append(os.read(reading, 5000))
stackless.run_tasklet(receive).join()
for each in writers:
    each.join()
data = b"".join(received)
print(sorted(set(data)) == [1, 2, 3, 4, 5], [data.count(bytes([n])) for n in range(1, 6)])
""",
        prints="True True [40000, 40000, 40000, 40000, 40000]",
    )


def test_errors_and_attributes_are_the_standard_ones():
    assert_prints(
        """
import warnings
warnings.simplefilter("ignore", RuntimeWarning)

def attempt(call):
    try:
        return call()
    except Exception as error:
        return type(error), str(error)

def compare(*arguments, **named):
    results = []
    for fdopen in (os.fdopen, monkey.original("os", "fdopen")):
        r, w = os.pipe()
        for fd in (r, w):
            try:
                file = fdopen(fd, *arguments, **named)
            except Exception as error:
                results.append((type(error), str(error)))
            else:
                results.append((
                    type(file).__name__, file.mode, file.readable(), file.writable(),
                    isinstance(file, (io.TextIOWrapper, io.BufferedIOBase, io.FileIO)),
                    getattr(file, "encoding", 0), getattr(file, "errors", 0),
                    getattr(file, "line_buffering", 0), file.closed, file.name == fd,
                ))
                attempt(file.close)
            attempt(lambda: os.close(fd))
    assert results[:2] == results[2:], (arguments, named, results)

def main():
    for mode in [*"r w rb wb a ab r+ rb+ x rt wt q rw rbt".split(), ""]:
        for buffering in (-1, 0, 1, 100):
            compare(mode, buffering)
    compare("r", encoding="latin-1", errors="replace", newline="\\n")
    compare("rb", encoding="latin-1")
    for call in (lambda: os.fdopen(999), lambda: os.fdopen(-1), lambda: os.fdopen("x"),
                 lambda: os.system(None), lambda: os.system("a\\0b")):
        try:
            call()
        except (OSError, TypeError, ValueError) as error:
            print(type(error).__name__)
stackless.run_tasklet(main).join()
""",
        prints="OSError ValueError TypeError TypeError ValueError",
        # As for the standard ones: a pipe that is closed by its number.
    )


def test_calls_that_do_not_wait_do_not_switch():
    assert_prints(
        """
turns, ended = [], []
def other():
    while not ended:
        turns.append(1)
        stackless.schedule()
def calls():
    os.write(writing, b"line\\n" * 100)
    file = os.fdopen(reading, "rb")
    before = len(turns)
    for _ in range(100):
        file.readline()
        os.write(writing, b"x")
        os.waitpid(pid, os.WNOHANG)
    os.set_blocking(reading, False)
    file.read(100)
    assert file.read(1) is None
    for _ in range(10):
        signal.sigtimedwait([signal.SIGUSR1], 0)
    ended.append(len(turns) - before)
pid = subprocess.Popen(["sleep", "5"]).pid
stackless.tasklet(other)()
stackless.run_tasklet(calls).join()
print(ended)
os.kill(pid, 9)
os._exit(sys.stdout.flush() or 0)
""",
        prints="[0]",
    )


def test_multiprocessing(tmp_path):
    """Connections, queues and locks of several tasklets."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(BEGIN).replace(
            "monkey.patch_all()",
            "import multiprocessing as mp\n"
            "from multiprocessing import connection, synchronize\nmonkey.patch_all()",
        )
        + textwrap.dedent("""
        def work(connection, queue, lock):
            time.sleep(0.2)
            connection.send("sent")
            queue.put("first")
            queue.put("second")
            with lock:
                time.sleep(0.2)
        def main():
            context = mp.get_context("spawn")
            near, far = context.Pipe()
            queue, lock = context.Queue(), context.Lock()
            process = context.Process(target=work, args=(far, queue, lock))
            process.start()
            print(beside_a_ticker(near.recv))
            getters = [stackless.run_tasklet(queue.get) for _ in range(2)]
            print(sorted(each.join() for each in getters))
            time.sleep(0.05)
            print(beside_a_ticker(lambda: lock.acquire()), lock.acquire(False))
            print(beside_a_ticker(lambda: lock.acquire(timeout=0.1)))
            lock.release()
            print(beside_a_ticker(process.join)[0], process.exitcode)
        if __name__ == "__main__":
            main()
        """)
    )
    child = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60
    )
    assert child.stderr == ""
    assert child.stdout.split("\n") == [
        "('sent', True)",
        "['first', 'second']",
        "(True, True) False",
        "(False, True)",
        "None 0",
        "",
    ]


def test_files_on_request(tmp_path):
    """`open` waits on a worker thread: for the other end of a FIFO, for example."""
    assert_prints(
        f"""
from pathlib import Path
fifo, path = {str(tmp_path / "fifo")!r}, {str(tmp_path / "file")!r}
os.mkfifo(fifo)
assert open is monkey.original("builtins", "open") and not monkey.is_patched("files")
monkey.patch_all(files=True)
def write_to_fifo():
    subprocess.Popen(["sh", "-c", f"echo text > {{fifo}}"])
later(write_to_fifo)
def read_fifo():
    with open(fifo) as file:
        return file.read()
print(beside_a_ticker(read_fifo))

turns, ended = [], []
def other():
    while not ended:
        turns.append(1)
        stackless.sleep(0.0001)
def files():
    with open(path, "w", encoding="utf-8") as file:
        for n in range(1000):
            print(n, file=file)
    with open(path, "rb+") as file:
        assert file.readline() == b"0\\n"
        file.seek(0)
        file.write(b"1")
    assert Path(path).read_text().split() == ["1", *map(str, range(1, 1000))]
    with open(path, "rb", buffering=0) as file:
        assert file.read(2) == b"1\\n" and len(file.readall()) > 3000
    for wrong in (lambda: open(path + "/x"), lambda: open(path, "q"), lambda: open(path, "rw")):
        try:
            wrong()
        except (OSError, ValueError):
            pass
        else:
            raise AssertionError
stackless.tasklet(other)()
stackless.run_tasklet(files).join()
ended.append(1)
print(len(turns) > 3)
with open(path) as file:  # no tasklet is there
    file.read()
monkey.unpatch_all()
assert open is io.open and not monkey.is_patched("files")
""",
        prints="('text\\n', True) True",
    )
