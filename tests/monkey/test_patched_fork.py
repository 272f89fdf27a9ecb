"""Forks under patches: only the tasklets of the forking thread continue in the child."""

from child_process import assert_child

BEGIN = """
import logging, os, sys, threading, time, warnings
import stackless
from stackless import monkey
warnings.simplefilter("ignore", DeprecationWarning)
monkey.patch_all()
inside, overlaps, records, leave = [], [], [], []

class Slow(logging.Handler):
    def emit(self, record):
        inside.append(record)
        overlaps.append(len(inside) > 1)
        while True:
            time.sleep(0.002)
            if leave:
                break
        records.append(record.getMessage())
        inside.remove(record)

log = logging.Logger("log")
log.addHandler(Slow())

def child_exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_tasklet_inside_a_handler():
    """It continues in both processes, and owns the handler's lock until it has left the handler."""
    assert_child(
        f"""{BEGIN}
stackless.tasklet(log.info)("at the fork")
stackless.run(block=False)
assert inside
pid = os.fork()
leave.append(1)
log.info("one")
stackless.tasklet(log.info)("two")
stackless.run()
assert sorted(records) == ["at the fork", "one", "two"], records
assert not any(overlaps)
log.info("three")
assert records[-1] == "three"
if pid == 0:
    os._exit(7)
assert child_exit_code(pid) == 7
print("end")
""",
        prints="end",
    )


def test_fork_inside_a_handler():
    """The tasklet that forks is the one that has the lock."""
    assert_child(
        f"""{BEGIN}
class Forks(Slow):
    def emit(self, record):
        if record.getMessage() == "fork":
            pids.append(os.fork())
        super().emit(record)

pids = []
leave.append(1)
log.handlers[:] = [Forks()]
stackless.tasklet(log.info)("fork")
stackless.tasklet(log.info)("other")
stackless.run()
log.info("last")
assert records == ["fork", "other", "last"] and not any(overlaps), records
if pids == [0]:
    os._exit(7)
assert child_exit_code(pids[0]) == 7
print("end")
""",
        prints="end",
    )


def test_other_thread_inside_a_handler():
    """It does not exist in the child: the lock is free there."""
    assert_child(
        f"""{BEGIN}
def body():
    stackless.tasklet(log.info)("thread's")
    stackless.run()

thread = threading.Thread(target=body)
thread.start()
while not inside:
    time.sleep(0.001)
pid = os.fork()
leave.append(1)
if pid == 0:
    inside.clear()
    stackless.tasklet(log.info)("child's")
    stackless.run()
    os._exit(7 if records == ["child's"] else 8)
assert child_exit_code(pid) == 7
thread.join()
assert records == ["thread's"]
print("end")
""",
        prints="end",
    )


def test_accept_of_another_thread():
    """A tasklet that was about to accept at the time of the fork does not exist in the child."""
    assert_child(
        f"""{BEGIN}
import socket
from stackless import _stackless
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
clients, codes = [], []

def client():
    clients.append(socket.create_connection(listener.getsockname()))

def forks():
    pid = os.fork()
    if pid == 0:
        stackless.run_tasklet(listener.accept)
        [(connection, _)] = stackless.run_all()
        connection.close()
        os._exit(7)
    codes.append(child_exit_code(pid))
    client()

def accept(listener):
    "Stands for the system's call, during which another thread forks."
    thread = threading.Thread(target=forks)
    thread.start()
    thread.join()
    return socket.socket.__base__._accept(listener)

client()
os.close(_stackless._accept_if_ready(listener, accept)[0])
assert codes == [7]
for each in [listener, *clients]:
    each.close()
print("end")
""",
        prints="end",
    )
