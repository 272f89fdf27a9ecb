"""Primitives in the blobs of tasklets: what travels, and what is refused."""

import copy
import pickle
import threading

import pytest
import stackless
from other_thread import wait_until
from stackless import sync

log = []


def copied(*values):
    """Copies of some values, which were pickled together."""
    return stackless.loads(stackless.dumps(values))


def start(function, *arguments):
    tasklet = stackless.tasklet(function)(*arguments)
    stackless.run(block=False)
    return tasklet


@pytest.fixture(autouse=True)
def empty_log():
    log.clear()


def test_values_without_waiters():
    """A free lock, an event, a semaphore, and queues with items."""
    event, semaphore = sync.Event(), sync.BoundedSemaphore(3)
    event.set()
    semaphore.acquire()
    queues = [sync.Queue(5), sync.LifoQueue(), sync.SimpleQueue(), sync.PriorityQueue()]
    for queue in queues:
        for item in (2, 1, 3):
            queue.put(item)
    lock, rlock, event, semaphore, queues, condition = copied(
        sync.Lock(), sync.RLock(), event, semaphore, queues, sync.Condition()
    )
    assert lock.acquire(False) and rlock.acquire(False) and event.is_set()
    assert repr(semaphore).endswith("value=2/3>")
    assert [[queue.get() for _ in range(3)] for queue in queues] == [
        [2, 1, 3],
        [3, 1, 2],
        [2, 1, 3],
        [1, 2, 3],
    ]
    assert queues[0].maxsize == 5 and queues[0].unfinished_tasks == 3
    with condition:
        condition.notify()


def test_a_lock_with_its_owner_and_its_waiter():
    """All three are copied, and go on among themselves."""

    def holder(lock):
        with lock:
            stackless.schedule_remove()
            log.append("holder")

    def waiter(lock):
        lock.acquire()
        log.append("waiter")
        lock.release()

    for kind in (sync.Lock, sync.RLock):
        log.clear()
        lock = kind()
        held, waits = start(holder, lock), start(waiter, lock)
        other, held_copy, waits_copy = copied(lock, held, waits)
        assert other.locked() and waits_copy.blocked
        held_copy.insert()
        stackless.run()
        assert log == ["holder", "waiter"] and not other.locked() and not waits_copy.alive
        assert lock.locked() and waits.blocked
        waits.kill()
        held.kill()


def test_a_turn_that_was_given():
    """A tasklet that was given the lock, and has not continued, has it in its copy too."""

    def waiter(lock):
        lock.acquire()
        log.append("acquired")
        lock.release()

    lock = sync.Lock()
    lock.acquire()
    granted = start(waiter, lock)
    lock.release()
    granted.remove()
    other, copy_of_granted = copied(lock, granted)
    granted.kill()
    assert other.locked()
    copy_of_granted.insert()
    stackless.run()
    assert log == ["acquired"] and not other.locked() and not lock.locked()


def test_a_getter_a_putter_and_a_waiter():
    """They wait in the copies of their queues and events."""

    def getter(queue):
        item = queue.get()  # what is on the stack is copied, log.append too
        log.append(item)

    def putter(queue):
        queue.put("put")
        log.append("was put")

    def waiter(event):
        result = event.wait()
        log.append(result)

    empty, full, event = sync.Queue(), sync.Queue(1), sync.Event()
    full.put("first")
    tasklets = [start(getter, empty), start(putter, full), start(waiter, event)]
    other_empty, other_full, other_event, *_ = copied(empty, full, event, *tasklets)
    for each in tasklets:
        each.kill()
    other_empty.put("item")
    other_event.set()
    assert other_full.get() == "first" and other_full.get() == "put"
    stackless.run()
    assert sorted(map(str, log)) == ["True", "item", "was put"]


def test_a_condition_with_its_waiter():
    """The wait goes on in the copy, and acquires the copy of the lock."""

    def waiter(condition):
        condition.acquire()
        result = condition.wait()
        log.append(result)
        condition.release()

    condition = sync.Condition()
    waits = start(waiter, condition)
    other, _ = copied(condition, waits)
    waits.kill()
    with other:
        other.notify()
    stackless.run()
    assert log == [True]


def test_what_is_refused():
    """Threads cannot travel, nor main tasklets."""
    lock = sync.Lock()
    lock.acquire()
    with pytest.raises(
        TypeError, match="cannot pickle a Lock that a thread or a main tasklet holds"
    ):
        stackless.dumps(lock)
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    wait_until(lambda: stackless._stackless._waiting(lock) == 1)
    with pytest.raises(TypeError, match="a thread waits"):
        stackless.dumps(lock)
    lock.release()
    thread.join()
    assert lock.locked()


@pytest.mark.parametrize("kind", [sync.Lock, sync.RLock, sync.SimpleQueue, sync.Queue, sync.Event])
def test_plain_pickle_refuses_them(kind):
    """As it refuses those of threading."""
    with pytest.raises(TypeError):
        pickle.dumps(kind())
    with pytest.raises(TypeError):
        copy.copy(kind())


def test_damaged_states():
    """An invalid state is refused with an error."""
    from stackless.pickling.primitives import set_state

    for damaged in (None, (), ((1, 2, 3, []), None, {}), ((0, 0, None, [1]), None, {})):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            set_state(sync.Queue(), damaged)
