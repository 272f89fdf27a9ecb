"""The program closes all descriptors, as daemons do, also those of the package's pollers."""

import pytest
from child_process import assert_child

CLOSES = """
import os, threading, time, warnings
import stackless
from stackless import run, schedule, schedule_remove, sleep, socket, tasklet

warnings.simplefilter("ignore")     # sockets that are closed behind their backs

def close_all():
    os.closerange(3, 256)

def later(call):
    def wait():
        time.sleep(0.05)
        call()
    thread = threading.Thread(target=wait)
    thread.start()
    return thread

def receive(s):
    try:
        log.append(s.recv(1))
    except OSError as error:
        log.append(type(error).__name__)

def exchange():
    "The thread has a poller from here on, or again."
    a, b = socket.socketpair()
    t = tasklet(receive)(a)
    run(block=False)
    b.send(b"x")
    run()
    assert log.pop() == b"x", log
    kept.extend([a, b])

log, kept = [], []
exchange()
"""


def test_while_the_thread_sleeps():
    """Code that makes a tasklet runnable there gets no error, and the thread continues."""
    assert_child(
        f"""{CLOSES}
t = tasklet(schedule_remove)()
run()
def close_and_wake():
    close_all()
    t.insert()
thread = later(close_and_wake)
sleep(0.3)
thread.join()
assert not t.alive
sleep(0.01)
exchange()
print("end")
""",
        prints="end",
    )


def test_while_tasklets_wait_for_descriptors():
    """They get the OSError of a closed descriptor, and others do not."""
    assert_child(
        f"""{CLOSES}
a, b = socket.socketpair()
tasklet(receive)(a)
sleeper = tasklet(sleep)(0.2)
thread = later(close_all)
run()
thread.join()
assert log == ["OSError"], log
log.clear()
exchange()
print("end")
""",
        prints="end",
    )


def test_while_others_run():
    """The thread never sleeps: it detects this when it polls between two switches."""
    assert_child(
        f"""{CLOSES}
a, b = socket.socketpair()
tasklet(receive)(a)
schedule()
close_all()
def turns():
    while not log:
        schedule()
tasklet(turns)()
run()
assert log == ["OSError"], log
log.clear()
exchange()
print("end")
""",
        prints="end",
    )


@pytest.mark.parametrize("numbers", ["free", "taken by files"])
def test_before_the_next_wait(numbers):
    """A new poller is made for it; files that have these numbers now are not closed."""
    assert_child(
        f"""{CLOSES}
close_all()
if {numbers!r} != "free":
    files = [os.open("/dev/null", os.O_RDWR) for _ in range(64)]
for _ in range(3):
    exchange()
if {numbers!r} != "free":
    for file in files:
        os.fstat(file)
    assert os.write(files[0], b"x") == 1
print("end")
""",
        prints="end",
    )


def test_a_thread_that_rings():
    """Waking tasklets of a thread that sleeps, again and again, before and after."""
    assert_child(
        f"""{CLOSES}
done = []
def wake():
    for number in range(40):
        if number == 20:
            close_all()
        t = tasklet(done.append).bind(done.append, (number,))
        t.bind_thread(main)
        t.insert()
        time.sleep(0.002)
main = threading.get_ident()
thread = later(wake)
while len(done) < 40:
    sleep(0.01)
thread.join()
exchange()
print(done == list(range(40)))
""",
        prints="True",
    )
