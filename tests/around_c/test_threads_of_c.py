"""Threads that C code makes: their thread state ends with their outermost call into Python."""

import pytest
from child_process import assert_child

THREAD = """
import ctypes, gc, sys, threading
import stackless
from stackless import TaskletExit, channel, run, schedule, tasklet
libc = ctypes.CDLL(None)
ENTRY = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

def call_back(function):
    "function(), called back from C: PyGILState_Ensure() is under way."
    compare = COMPARE(lambda a, b: function() or 0)
    libc.qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare)

def in_c_thread(function):
    def body(_):
        function()
        return 0
    entry, thread = ENTRY(body), ctypes.c_ulong()
    libc.pthread_create(ctypes.byref(thread), None, entry, None)
    libc.pthread_join(thread, None)

def states():
    "How many threads have a state."
    return len(sys._current_frames())

log = []
sys.unraisablehook = lambda about: log.append(about.exc_type.__name__)
"""


@pytest.mark.parametrize("depth", [1, 3])
def test_one_that_ends_while_a_callback_waits(depth):
    """11.5: a waiting tasklet gets TaskletExit; the thread is not counted: a deadlock is found."""
    assert_child(
        f"""{THREAD}
def waits(depth):
    try:
        call_back(lambda: waits(depth - 1) if depth else channel().receive())
    finally:
        log.append("cleaned up")

def body():
    for _ in range(3):
        tasklet(waits)({depth - 1})
    run()

in_c_thread(body)
assert log.count("cleaned up") == 3 * {depth}, log
assert states() == 1
try:
    channel().receive()
except RuntimeError as error:
    assert "Deadlock" in str(error)
    print("end")
""",
        prints="end",
    )


def test_one_whose_callbacks_take_turns():
    """The calls return in another order than they were made; the thread lives until its own end."""
    assert_child(
        f"""{THREAD}
channels = [channel() for _ in range(4)]
def waits(ch):
    call_back(ch.receive)
    call_back(lambda: schedule(None))
    log.append(channels.index(ch))

def body():
    for ch in channels:
        tasklet(waits)(ch)
    run()
    call_back(lambda: channels[2].send(0))
    for number in 0, 3, 1:
        channels[number].send(0)
        run()
    log.append(states())

in_c_thread(body)
print(*log, states())
""",
        prints="2 0 3 1 2 1",
    )


def test_nested_calls_in_a_python_thread():
    """The same for a thread of `threading`, with a tasklet that ends inside callbacks of others."""
    assert_child(
        f"""{THREAD}
def ends():
    call_back(lambda: call_back(lambda: None))
    log.append("ended")

def body():
    ch = channel()
    tasklet(call_back)(ch.receive)
    run()
    call_back(lambda: (tasklet(ends)(), schedule()) and 0)
    ch.send(0)
    run()

for _ in range(3):
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
gc.collect()
print(*log, states())
""",
        prints="ended ended ended 1",
    )


def test_a_parked_tasklet_keeps_its_count():
    """PyGILState_Ensure() called from Python, without C code on the stack; released when parked."""
    assert_child(
        f"""{THREAD}
ensure, release = ctypes.pythonapi.PyGILState_Ensure, ctypes.pythonapi.PyGILState_Release
ch = channel()
def body():
    states = [ensure() for _ in range(3)]
    ch.receive()
    for state in states:
        release(state)
    log.append("released")

t = tasklet(body)()
run()
if t.restorable:
    stackless._stackless._park(t)
ch.send(0)
run()
print(*log)
""",
        prints="released",
    )
