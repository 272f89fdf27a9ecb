"""os.fork() with suspended tasklets: both processes continue with their own copies."""

import pytest
from child_process import assert_child

FORK = """
import os, sys, warnings
import stackless

def echo(requests, answers):
    for value in requests:
        answers.send(value * 2)

requests, answers = stackless.channel(), stackless.channel()
for _ in range(100):
    stackless.tasklet(echo)(requests, answers)
stackless.run()
assert requests.balance == -100

def use():
    "Every blocked tasklet answers once, then all of them end."
    got = []
    for number in range(100):
        requests.send(number)
        got.append(answers.receive())
    assert got == [2 * number for number in range(100)], got
    requests.close()
    stackless.run()
    assert stackless.runcount == 1 and requests.balance == 0

def child_exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_both_go_on_with_their_tasklets():
    """The child uses its tasklets and exits as usual; this does not change those of the parent."""
    assert_child(
        f"""{FORK}
pid = os.fork()
if pid == 0:
    use()
    sys.exit(7)
assert child_exit_code(pid) == 7
use()
print("end")
""",
        prints="end",
    )


def test_child_exits_with_tasklets_still_blocked():
    """A clean exit of the child without touching them."""
    assert_child(
        f"""{FORK}
pid = os.fork()
if pid == 0:
    sys.exit(7)
assert child_exit_code(pid) == 7
use()
print("end")
""",
        prints="end",
    )


def test_fork_inside_a_tasklet():
    """The child continues in the tasklet that forked, and ends through its own main."""
    assert_child(
        f"""{FORK}
def forks():
    pids.append(os.fork())

pids = []
stackless.tasklet(forks)()
stackless.run()
use()
if pids == [0]:
    sys.exit(7)
assert child_exit_code(pids[0]) == 7
print("end")
""",
        prints="end",
    )


def test_new_tasklets_in_the_child():
    """Making, running and ending new ones works on both sides."""
    assert_child(
        f"""{FORK}
def new():
    log = []
    for number in range(2000):
        stackless.tasklet(log.append)(number)
    stackless.run()
    assert log == list(range(2000))

pid = os.fork()
new()
use()
new()
if pid == 0:
    sys.exit(7)
assert child_exit_code(pid) == 7
print("end")
""",
        prints="end",
    )


@pytest.mark.filterwarnings("ignore")
def test_fork_beside_a_thread_with_tasklets():
    """The other thread does not exist in the child; the child does not wait for it."""
    assert_child(
        f"""{FORK}
import threading
warnings.simplefilter("ignore")

def thread():
    for _ in range(100):
        stackless.tasklet(echo)(stackless.channel(), answers)
    stackless.run()
    ready.set()
    leave.wait()

ready, leave = threading.Event(), threading.Event()
other = threading.Thread(target=thread)
other.start()
ready.wait()
pid = os.fork()
if pid == 0:
    use()
    try:
        stackless.channel().receive()
    except RuntimeError as error:
        assert "Deadlock" in str(error)
    os._exit(7)
assert child_exit_code(pid) == 7
use()
leave.set()
other.join()
print("end")
""",
        prints="end",
    )
