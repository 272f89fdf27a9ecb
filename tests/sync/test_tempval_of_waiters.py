"""The tempval of a tasklet that waits for a primitive can be set, and changes no primitive."""

import pytest
import stackless
from stackless import sync

VALUES = {
    "a number": lambda: 5,
    "a negative number": lambda: -1,
    "a huge number": lambda: 1 << 100,
    "text": lambda: "5",
    "an object": object,
    "a bomb": lambda: stackless.bomb(KeyError, "bomb"),
    "None": lambda: None,
}
LOCKS = [sync.Lock, sync.RLock, sync.Semaphore, sync.Condition]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", LOCKS)
def test_waiters_for_locks(kind, value):
    """The waiter has the lock once, whatever its tempval was; then the lock is free."""
    lock, got = kind(), []

    def waiter():
        got.append(lock.acquire())
        lock.release()

    lock.acquire()
    tasklet = stackless.tasklet(waiter)()
    stackless.run()
    tasklet.tempval = VALUES[value]()
    lock.release()
    stackless.run()
    assert got == [True]
    assert lock.acquire(False)
    lock.release()


@pytest.mark.parametrize("value", VALUES)
def test_waiters_that_restore_a_count(value):
    """A wait for a condition ends as the owner; without its own number it owns the lock once."""
    condition, counts = sync.Condition(sync.RLock()), []

    def waiter():
        with condition, condition:
            condition.wait()
            counts.append(condition._lock._recursion_count())
            while condition._lock._recursion_count() < 2:
                condition.acquire()

    tasklet = stackless.tasklet(waiter)()
    stackless.run()
    with condition:
        condition.notify()
        stackless.schedule()  # it waits for the lock now
        assert tasklet.blocked
        tasklet.tempval = VALUES[value]()
    stackless.run()
    assert counts == [1]
    assert condition.acquire(False)
    condition.release()
