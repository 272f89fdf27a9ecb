"""Ctrl-C: where KeyboardInterrupt is raised, and that all tasklets can continue afterwards."""

from child_process import assert_child

HELPERS = """
import os, signal, sys, threading, time
import stackless

def interrupt_when(condition):
    "Send SIGINT to this process, from a thread, once `condition()` holds."
    def wait_and_send():
        while not condition():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=wait_and_send, daemon=True)
    thread.start()
    return thread

def works():
    "The scheduler is in order."
    log, channel = [], stackless.channel()
    stackless.tasklet(lambda: log.append(channel.receive()))()
    stackless.tasklet(channel.send)("works")
    stackless.run()
    assert log == ["works"] and stackless.runcount == 1
    assert stackless.current is stackless.main
"""


def test_raised_in_the_running_tasklet():
    """It is uncaught there, so it is raised by run()."""
    assert_child(
        f"""{HELPERS}
def body():
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("tasklet")
        raise

stackless.tasklet(body)()
try:
    stackless.run()
except KeyboardInterrupt:
    print("main")
works()
""",
        prints="tasklet main",
    )


def test_interrupting_endless_turns():
    """Tasklets that never end: the interrupt reaches a busy scheduler."""
    assert_child(
        f"""{HELPERS}
turns = 0

def busy():
    global turns
    while True:
        turns += 1
        stackless.schedule()

for _ in range(3):
    stackless.tasklet(busy)()
interrupt_when(lambda: turns > 1000)
try:
    stackless.run()
except KeyboardInterrupt:
    print("main", stackless.runcount)
while stackless.main.next is not stackless.main:
    stackless.main.next.remove().kill()
works()
""",
        prints="main 3",
    )


def test_interrupting_a_conversation():
    """The same with tasklets that switch only inside send and receive."""
    assert_child(
        f"""{HELPERS}
count = 0
channel = stackless.channel()

def receiver():
    global count
    while True:
        count += channel.receive()

def sender():
    while True:
        channel.send(1)

stackless.tasklet(receiver)()
stackless.tasklet(sender)()
interrupt_when(lambda: count > 1000)
try:
    stackless.run()
except KeyboardInterrupt:
    print("main")
works()
""",
        prints="main",
    )


def test_interrupting_a_python_loop_in_a_tasklet():
    """A tasklet that computes: as in stock CPython, between bytecodes."""
    assert_child(
        f"""{HELPERS}
started = False

def computes():
    global started
    while True:
        started = True

stackless.tasklet(computes)()
interrupt_when(lambda: started)
try:
    stackless.run()
except KeyboardInterrupt:
    print("main")
works()
""",
        prints="main",
    )


def test_tasklet_may_catch_it():
    """Caught in the tasklet: nothing is raised in main."""
    assert_child(
        f"""{HELPERS}
started = False

def computes():
    global started
    try:
        while True:
            started = True
    except KeyboardInterrupt:
        print("tasklet")

stackless.tasklet(computes)()
interrupt_when(lambda: started)
stackless.run()
print("main")
works()
""",
        prints="tasklet main",
    )


def test_interrupting_a_sleeping_main():
    """All are blocked and another thread exists, so the thread sleeps: raised in main's receive."""
    assert_child(
        f"""{HELPERS}
leave = threading.Event()
threading.Thread(target=leave.wait).start()
channel = stackless.channel()
blocked = stackless.tasklet(channel.send)("still here")
stackless.run()
mine = stackless.channel()
interrupt_when(lambda: mine.balance == -1)
try:
    mine.receive()
except KeyboardInterrupt:
    print("main", mine.balance, stackless.runcount)
print(channel.receive())
stackless.run()
works()
leave.set()
""",
        prints="main 0 1 still here",
    )


def test_interrupting_a_main_that_sends():
    """The same for a sender; the value does not stay in the channel."""
    assert_child(
        f"""{HELPERS}
leave = threading.Event()
threading.Thread(target=leave.wait).start()
channel = stackless.channel()
interrupt_when(lambda: channel.balance == 1)
try:
    channel.send("value")
except KeyboardInterrupt:
    print("main", channel.balance, stackless.main.tempval)
works()
leave.set()
""",
        prints="main 0 None",
    )


def test_handlers_run_while_the_thread_sleeps():
    """A signal handler that raises nothing: it runs, and the thread continues to sleep."""
    assert_child(
        f"""{HELPERS}
channel = stackless.channel()
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
interrupt_when(lambda: channel.balance == -1)

def answer():
    while not seen:
        time.sleep(0.001)
    channel.send("answer")

threading.Thread(target=answer).start()
print(channel.receive(), len(seen))
works()
""",
        prints="answer 1",
    )


def test_uncaught_interrupt_ends_the_process():
    """As in stock Python: by the signal, or the exit code that stands for it."""
    from child_process import run_child

    child = run_child(
        """
        import signal, stackless
        stackless.tasklet(signal.raise_signal)(signal.SIGINT)
        stackless.run()
        """
    )
    assert child.returncode in (-2, 130)
    assert child.stderr.rstrip().endswith("KeyboardInterrupt")
