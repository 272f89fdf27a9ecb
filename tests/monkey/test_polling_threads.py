"""Threads that ask in a loop, without waiting, whether another thread has done something."""

import pytest
from child_process import assert_child, in_child_process

BEGIN = """
import os, queue, select, selectors, socket, ssl, subprocess, sys, threading, time, warnings
warnings.simplefilter("ignore")
import stackless
from stackless import monkey
monkey.patch_all()

def in_tasklet(function):
    return stackless.run_tasklet(function).join()

near, far = socket.socketpair()
near.setblocking(False)
reading, writing = os.pipe()
os.set_blocking(reading, False)
lock, rlock = threading.Lock(), threading.RLock()
event, gate = threading.Event(), threading.Semaphore(0)
jobs, simple, full = queue.Queue(), queue.SimpleQueue(), queue.Queue(1)
full.put(None)
condition = threading.Condition()
done = []

def raises(kind, call):
    try:
        call()
    except kind:
        return True
    return False

def waits_no_time():
    with condition:
        return not condition.wait(0)

def is_not_ready():
    poll = select.poll()
    poll.register(near, select.POLLIN)
    return not poll.poll(0)

def selects_nothing():
    with selectors.DefaultSelector() as selector:
        selector.register(near, selectors.EVENT_READ)
        return not selector.select(0)

child = None

def runs():
    global child
    if child is None:
        code = "import sys; sys.stdin.read()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    return child.poll() is None

def is_held(acquire):
    return not acquire(False)

def end_child():
    child.stdin.close()

"""

#: What a thread asks, and what another thread does so that the answer is another one.
ASKING = {
    "Lock.acquire": ("is_held(lock.acquire)", "lock.release()"),
    "Lock.locked": ("lock.locked()", "lock.release()"),
    "RLock.acquire": ("is_held(rlock.acquire)", "rlock.release()"),
    "Event.is_set": ("not event.is_set()", "event.set()"),
    "Event.wait(0)": ("not event.wait(0)", "event.set()"),
    "Condition.wait(0)": ("waits_no_time() and not done", "done.append(1)"),
    "Semaphore.acquire": ("is_held(gate.acquire)", "gate.release()"),
    "Queue.get": ("raises(queue.Empty, jobs.get_nowait)", "jobs.put(1)"),
    "Queue.put": ("raises(queue.Full, lambda: full.put_nowait(1))", "full.get()"),
    "Queue.empty": ("jobs.empty()", "jobs.put(1)"),
    "not Queue.empty": ("not full.empty()", "full.get()"),
    "Queue.full": ("full.full()", "full.get()"),
    "Queue.qsize": ("not jobs.qsize()", "jobs.put(1)"),
    "SimpleQueue.get": ("raises(queue.Empty, simple.get_nowait)", "simple.put(1)"),
    "SimpleQueue.empty": ("simple.empty()", "simple.put(1)"),
    "SimpleQueue.qsize": ("not simple.qsize()", "simple.put(1)"),
    "Thread.is_alive": ("helper.is_alive()", "done.append(1)"),
    "Thread.join(0)": ("helper.join(0) or helper.is_alive()", "done.append(1)"),
    "select": ("not select.select([near], [], [], 0)[0]", "far.send(b'x')"),
    "poll": ("is_not_ready()", "far.send(b'x')"),
    "selector": ("selects_nothing()", "far.send(b'x')"),
    "recv": ("raises(BlockingIOError, lambda: near.recv(1))", "far.send(b'x')"),
    "recvfrom": ("raises(BlockingIOError, lambda: near.recvfrom(1))", "far.send(b'x')"),
    "os.read": ("raises(BlockingIOError, lambda: os.read(reading, 1))", "os.write(writing, b'x')"),
    "Popen.poll": ("runs()", "end_child()"),
    "sync.Queue.get": ("raises(queue.Empty, ours.get_nowait)", "ours.put(1)"),
    "sync.Event.is_set": ("not set_by_us.is_set()", "set_by_us.set()"),
}


@pytest.mark.parametrize("name", list(ASKING))
def test_a_thread_that_asks_in_a_loop_lets_the_others_run(name):
    asks, does = ASKING[name]
    assert_child(
        BEGIN
        + f"""
from stackless import sync
ours, set_by_us = sync.Queue(), sync.Event()

def loop():
    while {asks}:
        pass

def other():
    for _ in range(3):
        time.sleep(0.002)
    {does}

def waits_for_done():
    while not done:
        time.sleep(0.001)

def main():
    global helper
    lock.acquire()
    rlock.acquire()
    helper = threading.Thread(target=waits_for_done, daemon=True)
    helper.start()
    asking = threading.Thread(target=loop)
    asking.start()
    other()
    asking.join()
    done.append(1)
    print("ended")

in_tasklet(main)
if child is not None:
    child.wait()
""",
        prints="ended",
    )


def test_a_thread_that_always_finds_work():
    """It puts a job for each that it gets, and does not keep the others from running."""
    for kind in "queue.Queue", "queue.SimpleQueue":
        assert_child(
            BEGIN
            + f"""
jobs = {kind}()

def worker():
    while (job := jobs.get()) is not None:
        if not done:
            jobs.put(job)

def main():
    jobs.put(1)
    thread = threading.Thread(target=worker)
    thread.start()
    time.sleep(0.01)
    done.append(1)
    jobs.put(None)
    thread.join()
    print("ended")

in_tasklet(main)
""",
            prints="ended",
        )


@in_child_process
def test_the_main_program_under_the_command_run():
    """It asks in a loop, too."""
    import subprocess
    import sys
    import textwrap

    program = textwrap.dedent("""
        import threading
        event = threading.Event()
        threading.Thread(target=event.set).start()
        while not event.is_set():
            pass
        threading.Timer(0.01, event.clear).start()
        while event.is_set():
            pass
        print("ended")
    """)
    command = [sys.executable, "-m", "stackless", "run", "-c", program]
    assert subprocess.run(command, capture_output=True, timeout=60).stdout == b"ended\n"


def test_others_do_not_let_them_run():
    """Neither a tasklet that is no thread, nor one that is, in calls that give something away."""
    assert_child(
        BEGIN
        + """
turns = []

def other():
    while not done:
        turns.append(1)
        stackless.schedule()

def asks():
    for _ in range(1000):
        event.is_set(), lock.locked(), jobs.empty(), simple.empty(), gate.acquire(False)
        raises(queue.Empty, jobs.get_nowait)
    found.append(len(turns))

def gives():
    stackless.schedule()
    before = len(turns)
    for _ in range(1000):
        lock.acquire(), lock.release(), event.set(), event.clear(), gate.release(), jobs.put(1)
        simple.put(1)
        with condition:
            condition.notify_all()
    found.append(len(turns) - before)

def main():
    stackless.tasklet(other)()
    stackless.tasklet(asks)().run()
    threading.Thread(target=gives).start()
    while len(found) < 2:
        stackless.schedule()
    done.append(1)

found = []
in_tasklet(main)
print(found)
""",
        prints="[0, 0]",
    )
