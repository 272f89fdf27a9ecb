"""No memory: MemoryError, as from a list that grows too far, and never the end of the process."""

import pytest
from child_process import TIME_LIMIT, run_child

LIMITED = """
import atexit, gc, resource, sys, threading
# Runs after tasklets have been ended at exit, without memory. CPython's own end may need some.
atexit.register(lambda: unlimited())
import stackless
from stackless import alt, channel, run, schedule, sleep, tasklet, timeout, to_thread

def limit(megabytes):
    "So much address space may be added."
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), hard))

def unlimited():
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

def under_c(function):
    sorted([1], key=lambda _: function())

# The functions are made here: without memory to make one, CPython 3.12 and 3.13 drop its code twice
# (MAKE_FUNCTION in Python/bytecodes.c).
def with_time():
    nowhere.receive(timeout=60)

def with_timeout():
    with timeout(60):
        nowhere.receive()

def waits_in_a_loop():
    for _ in nowhere:
        pass

def in_alt(**keywords):
    alt(nowhere, elsewhere.sending(None), nowhere.receiving(), **keywords)

class Owner(tasklet):
    "Its destructor makes tasklets and channels, which takes memory."
    def __del__(self):
        tasklet(schedule)()
        channel().close()

def new():
    "What the test fills the memory with."
    return WAY

def fill(word):
    "Says so when there is no memory any more, for which there must be some."
    # Makes the object of this frame: where memory is enough for that of new() and not for this
    # one, CPython 3.13 loses the MemoryError (take_ownership() in Python/frame.c).
    sys._getframe()
    try:
        while True:
            kept.append(new())
    except MemoryError:
        ballast.pop()
        print(word, flush=True)

def use():
    "Everything works."
    ch, got = channel(), []
    tasklet(lambda: (sleep(0.001), got.append(ch.receive(timeout=60))))()
    tasklet(ch.send)(1)
    run()
    assert got == [1], got

nowhere, kept, queue = channel(), [], stackless._stackless._ByteQueue()
elsewhere, full = channel(), channel(capacity=1 << 30)
ballast = [bytearray(1 << 20) for _ in range(2)]
use()
limit(96)
fill("MemoryError")
"""

WAYS = {
    "runnable": "tasklet(print)(1)",
    "bound": "tasklet(print).bind(None, (1,))",
    "fresh": "tasklet(print)",
    "of_a_subclass": "Owner(print)",
    "channels": "channel()",
    "blocked": "tasklet(nowhere.receive)(), run(block=False)",
    "in_a_loop": "tasklet(waits_in_a_loop)(), run(block=False)",
    "under_c": "tasklet(under_c)(nowhere.receive), run(block=False)",
    "sleepers": "tasklet(sleep)(2), run(block=False)",
    "with_time": "tasklet(with_time)(), run(block=False)",
    "in_timeout": "tasklet(with_timeout)(), run(block=False)",
    "joined": "(t := tasklet(nowhere.receive)(), tasklet(t.join)(), run(block=False))",
    "bytes": "queue.add(bytes(100_000))",
    "in_alt": "tasklet(in_alt)(), run(block=False)",
    "in_alt_with_time": "tasklet(in_alt)(timeout=60), run(block=False)",
    "buffered": "full.send(bytes(5000))",
}


def check(way, rest, prints):
    child = run_child(LIMITED.replace("WAY", WAYS[way]) + rest, timeout=2 * TIME_LIMIT)
    wrote = f"stdout:\n{child.stdout}\nstderr:\n{child.stderr[-3000:]}"
    assert child.returncode == 0, f"exit code {child.returncode}\n{wrote}"
    assert child.stdout.split() == prints.split(), wrote


@pytest.mark.parametrize("way", WAYS)
def test_everything_works_when_there_is_memory_again(way):
    check(
        way,
        """
unlimited()
use_later = kept[:10]
del kept
nowhere.close()
gc.collect()
t = stackless.getmain().next
while t is not stackless.getmain():
    t.remove()
    t = stackless.getmain().next
while nowhere.queue:
    nowhere.queue.kill()
use()
print("end", flush=True)
import os
os._exit(0)
""",
        "MemoryError end",
    )


@pytest.mark.parametrize("way", WAYS)
def test_what_there_is_can_go_without_memory(way):
    """Destructors, the ends of tasklets, and the exit."""
    check(
        way,
        """
half = len(kept) // 2
while len(kept) > half:
    kept.pop()
fill("again")
""",
        "MemoryError again",
    )


@pytest.mark.parametrize("attempt", range(12))
def test_a_thread_begins_without_memory(attempt):
    """Each of the parts of a thread's scheduler may be missing."""
    pytest.importorskip("_testcapi")
    child = run_child(
        """
        import sys, threading, _testcapi, stackless
        attempt, log = int(sys.argv[1]), []
        def begin():
            _testcapi.set_nomemory(attempt, attempt + 1)
            try: stackless.getcurrent()
            except MemoryError: log.append("MemoryError")
            finally: _testcapi.remove_mem_hooks()
            stackless.tasklet(log.append)("runs")
            stackless.run()
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        print(log[-1])
        """,
        args=[attempt],
    )
    assert (child.returncode, child.stdout) == (0, "runs\n"), child.stderr


def test_questions_about_tasklets_without_memory():
    """A result or a MemoryError; never a result with an exception that is left set."""
    pytest.importorskip("_testcapi")
    child = run_child(
        """
        import functools, operator, _testcapi, stackless
        ch = stackless.channel()
        def receives(): ch.receive()
        def iterates(): [x for x in ch]
        def loops():
            for x in ch: pass
        def through_c(): list(map(lambda _: ch.receive(), [1]))
        def with_star(): stackless.schedule_remove(*[None])
        def values(): yield ch.receive()
        def in_generator():
            for x in values(): pass
        def spins():
            while True: pass
        waiting = [stackless.tasklet(f)() for f in
                   (receives, iterates, loops, through_c, with_star, in_generator)]
        stackless.schedule()
        stackless.tasklet(spins)()
        waiting.append(stackless.run(50))
        questions = [stackless.getuncollectables,
                     functools.partial(stackless.get_thread_info, -1, 3 << 30)]
        for t in waiting:
            questions += [functools.partial(getattr, t, name) for name in
                          ("restorable", "nesting_level", "recursion_depth", "context_id", "next")]
            questions.append(functools.partial(stackless._stackless._why_not_parked, t))
        for question in questions:
            for attempt in range(1, 6):
                fails = functools.partial(_testcapi.set_nomemory, attempt, attempt + 1)
                try:
                    # No Python code in between, which may not do without.
                    list(map(operator.call, [fails, question, _testcapi.remove_mem_hooks]))
                except MemoryError: pass
                finally: _testcapi.remove_mem_hooks()
        for t in waiting: t.kill()
        """
    )
    assert child.returncode == 0, child.stderr


def test_out_of_stacks_and_memory():
    """No tasklet can be parked, and there is no memory for the search for tasklets to park."""
    check(
        "under_c",
        """
for _ in range(100):
    try:
        new()
    except MemoryError:
        pass
print("end", flush=True)
import os
os._exit(0)
""",
        "MemoryError end",
    )
