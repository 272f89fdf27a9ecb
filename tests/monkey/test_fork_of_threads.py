"""Forks of programs whose threads are tasklets: only the thread that forked exists in the child."""

import pytest
from child_process import assert_child

BEGIN = """
import logging, os, signal, subprocess, sys, threading, time, warnings
import stackless
from stackless import monkey
from stackless.monkey.threads import Settings
warnings.simplefilter("ignore")
monkey.patch_all()
Settings.take_main()

log = []

def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def background(seconds=0.002):
    "A thread that goes on for ever, and would be seen in the child."
    def loop():
        try:
            while True:
                time.sleep(seconds)
                log.append(os.getpid())
        finally:
            print("finally", os.getpid() == first)
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread

first = os.getpid()
"""


def assert_prints(source, prints="", **options):
    assert_child(BEGIN + source, prints=prints, **options)


#: What the thread that the child does not have is doing at the time of the fork.
STATES = {
    "sleeps": "time.sleep(0.001)",
    "is runnable": "while not done: stackless.schedule()",
    "waits for a lock": "held.acquire()",
    "waits in a queue": "queue.Queue().get()",
    "waits for an event": "threading.Event().wait()",
    "waits with a limit": "threading.Event().wait(0.001)",
    "waits for a socket": "socket.socketpair()[0].recv(1)",
    "waits in select": "select.select([socket.socketpair()[0]], [], [], 0.001)",
    "waits for a child": "subprocess.run(['sleep', '0.2'])",
    "waits for a worker": "stackless.to_thread(time.sleep, 0.01)",
    "waits for a thread": "threading.main_thread().join()",
    "holds a lock": "taken.acquire(); threading.Event().wait(); taken.release()",
}


@pytest.mark.parametrize("state", list(STATES))
def test_other_threads_do_not_exist(state):
    """No code of theirs runs; `threading` says that they have ended; the child ends as usual."""
    assert_prints(
        f"""
import queue, select, socket
held, taken, done, ran = threading.Lock(), threading.Lock(), [], []
held.acquire()

def other():
    try:
        {STATES[state]}
        ran.append(1)
    finally:
        if os.getpid() != first:
            print("the thread goes on")

thread = threading.Thread(target=other, daemon=True)
thread.start()
stackless.schedule()
time.sleep(0.0005)
pid = os.fork()
done.append(1)
if pid == 0:
    assert not thread.is_alive()
    assert threading.enumerate() == [threading.current_thread()], threading.enumerate()
    thread.join()
    before = len(ran)
    time.sleep(0.02)
    assert len(ran) == before
    second = threading.Thread(target=ran.append, args=(2,))
    second.start()
    second.join()
    assert ran[before:] == [2]
    if {state!r} == "holds a lock":
        assert not taken.acquire(timeout=0.001)  # as with native threads
    sys.exit(7)
print(exit_code(pid))
sys.stdout.flush()
os._exit(0)
""",
        prints="7",
        timeout=30,
    )


def test_a_thread_that_has_not_begun():
    assert_prints(
        """
import _thread
ran = []
_thread.start_new_thread(lambda: ran.append(os.getpid()), ())
pid = os.fork()
time.sleep(0.01)
if pid == 0:
    os._exit(len(ran))
print(exit_code(pid), ran == [first])
""",
        prints="0 True",
    )


def test_a_thread_forks():
    """It is the main thread of the child, where nothing else of the program goes on."""
    assert_prints(
        """
def forks():
    pid = os.fork()
    if pid == 0:
        log.clear()
        assert threading.main_thread() is threading.current_thread()
        assert threading.enumerate() == [threading.current_thread()]
        time.sleep(0.02)
        seen = []
        threads = [threading.Thread(target=lambda: time.sleep(0.01) or seen.append(1))
                   for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert seen == [1, 1, 1] and not log
        assert subprocess.run(["true"]).returncode == 0
        os._exit(7)
    codes.append(exit_code(pid))

codes = []
background()
thread = threading.Thread(target=forks)
thread.start()
thread.join()
print(codes)
sys.stdout.flush()
os._exit(0)
""",
        prints="[7]",
    )


@pytest.mark.parametrize(
    "kind", ["threading.Thread(target={}).start()", "_thread.start_new_thread({}, ())"]
)
@pytest.mark.parametrize("end", ["pass", "sys.exit(3)"])
def test_the_end_of_the_thread_that_forked(kind, end):
    """The child ends with it, with the exit status 0, as with native threads."""
    start = kind.format("forks")
    assert_prints(
        f"""
import _thread
def forks():
    pid = os.fork()
    if pid == 0:
        os.write(1, b"child\\n")
        time.sleep(0.01)
        {end}
    else:
        codes.append(exit_code(pid))
        {end}

codes = []
{start}
while not codes:
    time.sleep(0.001)
print(codes)
""",
        prints="child [0]",
    )


def test_an_error_of_the_thread_that_forked():
    assert_prints(
        """
def forks():
    pid = os.fork()
    if pid == 0:
        time.sleep(0.001)
        raise ValueError("in the child")
    codes.append(exit_code(pid))

codes = []
thread = threading.Thread(target=forks)
thread.start()
thread.join()
print(codes)
""",
        prints="[0]",
        complains="ValueError: in the child",
    )


def test_a_deadlock_of_the_thread_that_forked():
    """It gets the error that the main program gets elsewhere, which does not go on in the child."""
    assert_prints(
        """
def forks():
    lock = threading.Lock()
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        try:
            lock.acquire()
        except RuntimeError as error:
            os._exit(7)
        os._exit(8)
    codes.append(exit_code(pid))

codes = []
thread = threading.Thread(target=forks)
thread.start()
thread.join()
print(codes)
""",
        prints="[7]",
    )


def test_locks_of_logging():
    """They are free in the child, although a thread was inside a handler."""
    assert_prints(
        """
class Slow(logging.Handler):
    def emit(self, record):
        if os.getpid() == first:
            time.sleep(0.05)

logger = logging.getLogger()
logger.addHandler(Slow())
thread = threading.Thread(target=logger.warning, args=("text",))
thread.start()
stackless.schedule()
pid = os.fork()
if pid == 0:
    logger.warning("in the child")
    os._exit(7)
print(exit_code(pid))
""",
        prints="7",
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("where", ["main", "thread"])
def test_multiprocessing(method, where, tmp_path):
    """Processes whose target uses threads, started by the main program and by a thread."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing, os, sys, threading, time, warnings
warnings.simplefilter("ignore")

def work(queue, number):
    results = []
    threads = [threading.Thread(target=lambda n=n: time.sleep(0.01) or results.append(n))
               for n in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    queue.put((number, sorted(results)))
    sys.exit(number)

def main():
    context = multiprocessing.get_context({method!r})
    queue = context.Queue()
    children = [context.Process(target=work, args=(queue, n)) for n in range(3)]
    for each in children:
        each.start()
    print(sorted(queue.get(timeout=50) for _ in children))
    for each in children:
        each.join()
    print([each.exitcode for each in children])

if __name__ == "__main__":
    threading.Thread(target=lambda: time.sleep(0.3)).start()
    if {where!r} == "main":
        main()
    else:
        thread = threading.Thread(target=main)
        thread.start()
        thread.join()
    print("end")
""")
    import subprocess
    import sys

    child = subprocess.run(
        [sys.executable, "-m", "stackless", "run", str(program)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.stderr == ""
    assert child.returncode == 0
    assert child.stdout == ("[(0, [0, 1, 2]), (1, [0, 1, 2]), (2, [0, 1, 2])]\n[0, 1, 2]\nend\n")
