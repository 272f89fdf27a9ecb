"""Tasklets that outlive their thread state: they must have no pointers into its memory.

The debug allocator overwrites freed memory, so that using such a pointer crashes.
"""

import pytest
from child_process import assert_child

BODIES = """
import gc, os, sys, threading, time, warnings
import stackless
from stackless import channel, run, schedule_remove, tasklet
warnings.simplefilter("ignore")

def through_c(wait):
    sorted([1], key=lambda _: wait())

def through_generator(wait):
    list(wait() for _ in range(1))

def deep(wait, n=300):
    deep(wait, n - 1) if n else through_c(wait)

def refuses(wait):
    while True:
        try:
            through_c(wait)
        except BaseException:
            pass

def refuses_from_c(wait):
    sorted([1], key=lambda _: refuses(wait))

def below_c(body):
    "The function of the tasklet is C code: no Python frame at the bottom."
    return tasklet(sorted)([1], key=lambda _: body())

def traced_early(wait):
    t = tasklet(through_c).bind(None, (wait,))
    t.trace_function = lambda *_: None      # has a stack from here on
    return t

kept = []
nowhere = channel()
def make(body):
    "Tasklets that wait: blocked, paused, and with a trace function."
    for wait in nowhere.receive, lambda: schedule_remove(None), stackless.channel().receive:
        kept.append(tasklet(body)(wait))
        kept.append(below_c(lambda: body(wait)))
        kept.append(traced_early(wait))
    run()

def look():
    "Has everybody who follows frames do so."
    for t in kept:
        frame = t.frame
        while frame:
            frame = frame.f_back
        t.nesting_level, t.recursion_depth, t.restorable, repr(t)
    gc.collect()
"""

BODY = ["through_c", "through_generator", "deep", "refuses", "refuses_from_c"]
DEBUG = {"PYTHONMALLOC": "debug"}


@pytest.mark.parametrize("body", BODY)
def test_after_a_fork(body):
    """The child frees the states of the threads that exist in the parent only."""
    assert_child(
        f"""{BODIES}
def thread():
    make({body})
    ready.set()
    leave.wait()

ready, leave = threading.Event(), threading.Event()
threading.Thread(target=thread).start()
ready.wait()
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        look()
        kept.clear()
        look()
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sys.stdout.flush()
os._exit(0)
""",
        prints="7 7 7",
        env=DEBUG,
    )


@pytest.mark.parametrize("body", BODY)
def test_after_the_end_of_the_thread(body):
    """Tasklets that catch TaskletExit stay."""
    assert_child(
        f"""{BODIES}
for _ in range(3):
    t = threading.Thread(target=make, args=({body},))
    t.start()
    t.join()
look()
print("end", flush=True)
os._exit(0)
""",
        prints="end",
        env=DEBUG,
    )


@pytest.mark.parametrize("body", BODY)
@pytest.mark.parametrize(
    "sleeps_in", ["time.sleep(60)", "nowhere.receive()", "run(threadblock=True)"]
)
def test_daemon_threads_at_exit(body, sleeps_in):
    """The interpreter frees their states, and collects garbage after that."""
    assert_child(
        f"""{BODIES}
def thread():
    make({body})
    ready.set()
    {sleeps_in}

for _ in range(3):
    ready = threading.Event()
    threading.Thread(target=thread, daemon=True).start()
    ready.wait()
sys.exit(42)
""",
        exits=42,
        env=DEBUG,
    )
