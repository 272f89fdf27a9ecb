"""cloudpickle's lock on its tables of classes does not stop the other tasklets of a thread."""

import itertools
import threading

import pytest
import stackless
from child_process import in_child_process
from stackless.pickling import class_lock


def made_class():
    """Return a class that goes by value."""
    names = {"__name__": "nowhere"}
    exec("class Made:\n    pass", names)
    return names["Made"]


@pytest.mark.parametrize("way", ["dumps", "loads"])
@in_child_process
def test_interrupted_tasklets(way):
    """One that is interrupted while it pickles or unpickles a class lets the others do so."""
    made = [made_class() for _ in range(50)]
    blobs = [stackless.dumps(each) for each in made]
    if way == "dumps":
        made = [made_class() for _ in range(50)]
    ways = {"dumps": (stackless.dumps, made), "loads": (stackless.loads, blobs)}
    do, given = ways[way]
    done = []
    tasklets = [stackless.tasklet(lambda each=each: done.append(do(each)))() for each in given]
    limits = itertools.cycle(range(1, 60))
    while any(t.alive for t in tasklets):
        victim = stackless.run(next(limits))
        if victim is not None:
            victim.insert()
    assert len(done) == 50


@in_child_process
def test_destructors():
    """A destructor that runs while a class is numbered may pickle a class."""

    class Loud:
        def __del__(self):
            blobs.append(stackless.dumps(made_class()))

    blobs = []
    with class_lock.cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK:
        Loud()
    assert len(blobs) == 1


def test_the_owner_is_atomic():
    """While it has the lock, and afterwards only if it was so before."""
    lock = class_lock.ClassLock()
    me = stackless.getcurrent()
    for before in (True, False):
        me.set_atomic(before)
        with lock, lock:
            assert me.atomic
        assert me.atomic is before


def test_owners_that_leave_in_another_order():
    """Each gets its own state back. Only destructors that switch can do this."""
    lock = class_lock.ClassLock()
    found = []

    def body(atomic, turns):
        stackless.getcurrent().set_atomic(atomic)
        with lock:
            for _ in range(turns):
                stackless.schedule()
        found.append(stackless.getcurrent().atomic)

    for atomic, turns in [(True, 1), (False, 3), (True, 2)]:
        stackless.tasklet(body)(atomic, turns)
    stackless.run()
    assert found == [True, True, False]


def test_threads_wait_for_each_other():
    """Only one is inside."""
    lock = class_lock.ClassLock()
    order = []

    def body():
        with lock:
            order.append("thread")

    thread = threading.Thread(target=body)
    with lock:
        thread.start()
        thread.join(0.1)
        order.append("main")
    thread.join()
    assert order == ["main", "thread"]
