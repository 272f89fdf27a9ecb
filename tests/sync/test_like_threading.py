"""The primitives beside those of threading and queue: results, errors, names, subclasses."""

import copy
import gc
import queue
import sys
import threading
import warnings
import weakref

import pytest
from stackless import sync

STANDARD = {
    "Lock": threading.Lock,
    "RLock": type(threading.RLock()),
    "Condition": threading.Condition,
    "Event": threading.Event,
    "Semaphore": threading.Semaphore,
    "BoundedSemaphore": threading.BoundedSemaphore,
    "Barrier": lambda: threading.Barrier(2),
    "Queue": queue.Queue,
    "LifoQueue": queue.LifoQueue,
    "PriorityQueue": queue.PriorityQueue,
    "SimpleQueue": queue.SimpleQueue,
}
OURS = {name: getattr(sync, name) for name in STANDARD} | {"Barrier": lambda: sync.Barrier(2)}
NAMES = sorted(STANDARD)


@pytest.mark.parametrize("name", NAMES)
def test_all_public_names_are_there(name):
    """Each public attribute of the standard object is one of ours."""
    public = {n for n in dir(STANDARD[name]()) if not n.startswith("_")}
    assert public <= set(dir(OURS[name]()))


def outcome(call, target):
    """The result of `call(target)`, or the type and text of its exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(target)
        except Exception as error:
            return type(error), str(error)


SAME_TEXT = {
    "Lock": [
        lambda k: [k.acquire(), k.locked(), k.acquire(False), k.acquire(timeout=0), k.release()],
        lambda k: k.release(),
        lambda k: k.acquire(False, 1),
        lambda k: k.acquire(timeout=float("nan")),
        lambda k: k.acquire(True, -1),
        lambda k: [k.__enter__(), k.__exit__(None, None, None), k.locked()],
        lambda k: k.acquire(1, 2, 3),
    ],
    "RLock": [
        lambda k: [k.acquire(), k.acquire(), k.release(), k._is_owned(), k.release()],
        lambda k: k.release(),
        lambda k: k._release_save(),
        lambda k: [k.acquire(), k.acquire(), k._release_save()[0], k._is_owned()],
        lambda k: [k.acquire(), k._acquire_restore(k._release_save()), k._is_owned()],
        lambda k: k.acquire(False, 1),
    ],
    "Condition": [
        lambda c: c.wait(),
        lambda c: c.notify(),
        lambda c: [c.acquire(), c.wait(0), c.wait(0.001), c.wait(-1), c.notify(), c.release()],
        lambda c: [c.acquire(), c.wait_for(lambda: 5), c.wait_for(lambda: 0, 0.001)],
        lambda c: [c.acquire(), c.notify_all(), c.notifyAll()],
        lambda c: c.release(),
    ],
    "Event": [
        lambda e: [e.is_set(), e.wait(0), e.wait(-1), e.set(), e.wait(), e.isSet(), e.clear()],
    ],
    "Semaphore": [
        lambda s: [s.acquire(), s.acquire(False), s.acquire(timeout=0.001), s.release(), s._value],
        lambda s: s.acquire(False, 1),
        lambda s: s.release(0),
        lambda s: [s.release(3), s._value],
        lambda s: [s.acquire(), s.acquire(timeout=-5)],
    ],
    "BoundedSemaphore": [lambda s: s.release(), lambda s: [s.acquire(), s.release(2)]],
    "Barrier": [
        lambda b: [b.parties, b.n_waiting, b.broken, b.abort(), b.broken, b.reset(), b.broken],
        lambda b: b.wait(0.001),
    ],
    "SimpleQueue": [
        lambda q: [q.put(1), q.put(2, False), q.put_nowait(3), q.qsize(), q.get(), q.get(False)],
        lambda q: q.get_nowait(),
        lambda q: q.get(timeout=0.001),
        lambda q: q.get(timeout=-1),
        lambda q: [q.empty(), q.put(1, timeout=5), q.empty()],
    ],
}
_QUEUE = [
    lambda q: [q.put(2), q.put(1), q.put_nowait(3), q.qsize(), q.get(), q.get(False), q.get()],
    lambda q: q.get_nowait(),
    lambda q: q.get(timeout=0.001),
    lambda q: q.get(timeout=-1),
    lambda q: [setattr(q, "maxsize", 1), q.put(1), q.full(), q.put(2, timeout=0.001)],
    lambda q: [setattr(q, "maxsize", 1), q.put(1), q.put_nowait(2)],
    lambda q: [setattr(q, "maxsize", 1), q.put(1), q.put(2, timeout=-1)],
    lambda q: q.task_done(),
    lambda q: [q.put(1), q.unfinished_tasks, q.get(), q.task_done(), q.join(), q.unfinished_tasks],
    lambda q: [q.put(1), q.put(0), list(q.queue), q.queue.clear(), q.empty()],
    lambda q: [q.put(1), type(q.queue), q.put(5), q.queue.append(7), q.get(), q.get(), q.get()],
    lambda q: [q.mutex.acquire(), q.mutex.release(), q.not_empty.acquire(), q.mutex.locked()],
]
SAME_TEXT |= dict.fromkeys(["Queue", "LifoQueue", "PriorityQueue"], _QUEUE)
if sys.version_info >= (3, 13):
    _QUEUE += [
        lambda q: [q.put(1), q.shutdown(), q.is_shutdown, q.get(), q.get()],
        lambda q: [q.shutdown(), q.put(1)],
        lambda q: [q.put(1), q.shutdown(immediate=True), q.unfinished_tasks, q.join(), q.qsize()],
    ]


@pytest.mark.parametrize(
    "name, number", [(name, n) for name in NAMES for n in range(len(SAME_TEXT[name]))]
)
def test_same_results_and_errors(name, number):
    """The same calls give what they give with the standard object."""
    call = SAME_TEXT[name][number]
    assert outcome(call, OURS[name]()) == outcome(call, STANDARD[name]())


def test_errors_of_constructors():
    """Values that make no sense are refused when the object is made."""
    with pytest.raises(ValueError, match="initial value must be >= 0"):
        sync.Semaphore(-1)
    with pytest.raises(TypeError):
        sync.Semaphore("1")
    with pytest.raises(TypeError, match="takes no arguments"):
        sync.Lock(1)
    with pytest.raises(ValueError, match="non-negative"):
        sync.Lock().acquire(timeout=-2)
    with pytest.raises(OverflowError):
        sync.Lock().acquire(timeout=1e300)
    with pytest.raises(TypeError):
        sync.Lock().acquire(timeout="1")


def test_reprs_say_what_the_standard_ones_say():
    """But for the names of the classes and the addresses."""
    lock, rlock, event = sync.Lock(), sync.RLock(), sync.Event()
    assert repr(lock) == f"<unlocked stackless.sync.Lock object at {id(lock):#x}>"
    with lock:
        assert repr(lock).startswith("<locked stackless.sync.Lock object")
    assert "RLock object owner=0 count=0 at" in repr(rlock)
    with rlock, rlock:
        assert f"owner={threading.get_ident()} count=2" in repr(rlock)
    assert repr(event) == f"<stackless.sync.Event at {id(event):#x}: unset>"
    assert repr(sync.Semaphore(3)).endswith(": value=3>")
    assert repr(sync.BoundedSemaphore(3)).endswith(": value=3/3>")
    assert repr(sync.Condition(lock)) == f"<Condition({lock!r}, 0)>"


@pytest.mark.parametrize("name", NAMES)
def test_weak_references(name):
    """The objects can be referred to weakly, and go when nothing refers to them."""
    made = OURS[name]()
    watch = weakref.ref(made)
    del made
    gc.collect()
    assert watch() is None


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("Lock", "Barrier")])
def test_subclasses(name):
    """Those that can be derived from in the standard modules can be here, with attributes."""
    derived = type("Derived", (OURS[name],), {"more": 1})
    made = derived()
    made.attribute = 2
    assert isinstance(made, OURS[name]) and made.more == 1 and made.attribute == 2


def test_a_lock_cannot_be_derived_from():
    """As in _thread."""
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Derived", (sync.Lock,), {})


@pytest.mark.parametrize("name", ["Lock", "RLock", "Event", "SimpleQueue", "Queue"])
def test_copies_are_refused(name):
    """A copy of a lock would be another lock."""
    with pytest.raises(TypeError):
        copy.copy(OURS[name]())


def test_relations_between_the_classes():
    """As between those of threading and queue."""
    assert issubclass(sync.BoundedSemaphore, sync.Semaphore)
    assert issubclass(sync.LifoQueue, sync.Queue) and issubclass(sync.PriorityQueue, sync.Queue)
    assert sync.Empty is queue.Empty and sync.Full is queue.Full
    assert sync.BrokenBarrierError is threading.BrokenBarrierError
    assert sync.ShutDown is getattr(queue, "ShutDown", sync.ShutDown)
    assert sync.Queue[int].__origin__ is sync.Queue


def test_queue_with_hooks():
    """A subclass says how items are kept, in the way that queue.Queue documents."""

    class Unique(sync.Queue):
        def _init(self, maxsize):
            self.queue = {}

        def _put(self, item):
            assert self.mutex.locked()
            self.queue[item] = True

        def _get(self):
            return self.queue.popitem()[0]

    unique = Unique()
    for item in [1, 1, 2, 2]:
        unique.put(item)
    assert unique.qsize() == 2 and {unique.get(), unique.get()} == {1, 2}
    with pytest.raises(queue.Empty):
        unique.get_nowait()


def test_priorities():
    """The lowest item comes first."""
    found = sync.PriorityQueue()
    for item in [3, 1, 2]:
        found.put(item)
    assert [found.get() for _ in range(3)] == [1, 2, 3]


def test_local_like_threading():
    """Arguments of a subclass, the dict, and the errors."""

    class Counted(sync.local):
        shared = "class"

        def __init__(self, value):
            self.value = value

    local = Counted(5)
    local.other = 6
    assert local.__dict__ == {"value": 5, "other": 6} and local.shared == "class"
    del local.other
    with pytest.raises(AttributeError):
        _ = local.other
    with pytest.raises(AttributeError, match="read-only"):
        local.__dict__ = {}
    with pytest.raises(TypeError, match="arguments are not supported"):
        sync.local(1)
