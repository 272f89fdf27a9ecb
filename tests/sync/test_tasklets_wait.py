"""Tasklets that wait for primitives: order, hand-over, times, and how a wait can end early."""

import gc
import time
import weakref

import pytest
import stackless
from child_process import in_child_process
from stackless import explain, sync


def start(function, *arguments):
    return stackless.tasklet(function)(*arguments)


def test_first_come_first_served():
    """A lock goes through the tasklets in the order in which they came."""
    lock, order = sync.Lock(), []

    def user(n):
        with lock:
            order.append(n)
            stackless.schedule()

    for n in range(20):
        start(user, n)
    stackless.run()
    assert order == list(range(20)) and not lock.locked()


def test_no_other_caller_can_take_a_released_lock():
    """The lock is handed over: it is not free between release() and the turn of the next owner."""
    lock, order = sync.Lock(), []

    def waiter():
        with lock:
            order.append("waiter")

    lock.acquire()
    start(waiter)
    stackless.run()
    lock.release()
    assert lock.locked() and not lock.acquire(False)
    assert lock.acquire(timeout=5)
    order.append("main")
    lock.release()
    assert order == ["waiter", "main"]


CALLS_THAT_NEVER_WAIT = {
    "release": lambda: handed(sync.Lock(), lambda lock: lock.release()),
    "rlock": lambda: handed(sync.RLock(), lambda lock: lock.release()),
    "semaphore": lambda: handed(sync.Semaphore(1), lambda lock: lock.release()),
    "event": lambda: woken(sync.Event(), lambda event: event.set()),
    "put": lambda: woken(sync.Queue(), lambda queue: queue.put(1), "get"),
    "simple put": lambda: woken(sync.SimpleQueue(), lambda queue: queue.put(1), "get"),
    "try": lambda: handed(sync.Lock(), lambda lock: lock.acquire(False)),
}


def handed(lock, call):
    lock.acquire()
    return woken(lock, call, "acquire")


def woken(primitive, call, method="wait"):
    log = []

    def waiter():
        getattr(primitive, method)()
        log.append("woken")

    tasklet = start(waiter)
    stackless.run()
    call(primitive)
    now = list(log)
    tasklet.kill()
    return now


@pytest.mark.parametrize("name", sorted(CALLS_THAT_NEVER_WAIT))
def test_calls_that_never_switch(name):
    """The one that was woken has not run when the call returns."""
    assert CALLS_THAT_NEVER_WAIT[name]() == []


def test_the_owner_is_the_tasklet():
    """Two tasklets of a thread exclude one another, also with a reentrant lock."""
    lock, inside, most = sync.RLock(), [], []

    def user(n):
        with lock, lock:
            inside.append(n)
            most.append(len(inside))
            stackless.schedule()
            inside.remove(n)

    for n in range(5):
        start(user, n)
    stackless.run()
    assert max(most) == 1 and len(most) == 5
    lock.acquire()
    failed = []

    def thief():
        try:
            lock.release()
        except RuntimeError as error:
            failed.append(str(error))

    start(thief)
    stackless.run()
    lock.release()
    assert failed == ["cannot release un-acquired lock"]


def test_times():
    """A wait ends with False or queue.Empty when its time is over, and leaves no trace."""
    lock = sync.Lock()
    lock.acquire()
    results = []

    def waiter(call):
        before = time.monotonic()
        try:
            results.append(call())
        except sync.Empty:
            results.append("empty")
        results.append(time.monotonic() - before >= 0.01)

    condition = sync.Condition()

    def wait():
        with condition:
            return condition.wait(0.01)

    calls = [
        lambda: lock.acquire(timeout=0.01),
        lambda: sync.Event().wait(0.01),
        lambda: sync.Semaphore(0).acquire(timeout=0.01),
        lambda: sync.Queue().get(timeout=0.01),
        lambda: sync.SimpleQueue().get(True, 0.01),
        wait,
    ]
    for call in calls:
        start(waiter, call)
    stackless.run()
    assert results.count(True) == 6 and results.count("empty") == 2 and results.count(False) == 4
    lock.release()
    assert not lock.locked()


@pytest.mark.parametrize("how", ["kill", "throw", "raise", "limit"])
@pytest.mark.parametrize("granted", [False, True], ids=["waiting", "granted"])
@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "Condition"])
def test_a_waiter_that_is_woken_by_an_exception(kind, granted, how):
    """What it was given, or would have been given, goes to the next one."""
    made = sync.Semaphore(1) if kind == "Semaphore" else getattr(sync, kind)()
    log = []

    def waiter(name):
        try:
            with stackless.timeout(0.01) if (how, name) == ("limit", "first") else sync.Lock():
                made.acquire()
        except BaseException as error:
            log.append((name, type(error).__name__))
        else:
            log.append((name, "acquired"))
            made.release()

    made.acquire()
    first, _ = start(waiter, "first"), start(waiter, "second")
    stackless.run(block=False)
    if granted:
        made.release()
    if how == "kill":
        first.kill()
    elif how == "throw":
        first.throw(KeyError)
    elif how == "raise":
        first.raise_exception(KeyError)
    else:
        time.sleep(0.02)
        stackless.run()
    if not granted:
        made.release()
    stackless.run()
    if how == "limit" and granted:
        # The lock was there in time.
        assert log == [("first", "acquired"), ("second", "acquired")]
    else:
        expected = {"kill": "TaskletExit", "limit": "TimeoutError"}.get(how, "KeyError")
        assert log == [("first", expected), ("second", "acquired")]
    assert made.acquire(False)


def test_an_item_is_not_lost_with_its_getter():
    """It is the first item again, or goes to the next getter."""
    for made in (sync.Queue(), sync.SimpleQueue(), sync.LifoQueue()):
        got = []
        first = start(lambda q=made, got=got: got.append(q.get()))
        stackless.run()
        made.put("item")
        made.put("more") if not isinstance(made, sync.LifoQueue) else None
        first.kill()
        assert made.get_nowait() == "item" and got == []


def test_a_notification_is_not_lost_with_its_waiter():
    """The next one is woken."""
    condition, log = sync.Condition(), []

    def waiter(name):
        with condition:
            condition.wait()
            log.append(name)

    first, _ = start(waiter, "first"), start(waiter, "second")
    stackless.run()
    with condition:
        condition.notify()
    first.kill()
    stackless.run()
    assert log == ["second"]


def test_insert_does_not_let_a_waiter_in():
    """As for a tasklet that waits in a channel."""
    lock = sync.Lock()
    lock.acquire()
    waiter = start(lock.acquire)
    stackless.run()
    assert waiter.blocked and waiter.alive
    with pytest.raises(RuntimeError):
        waiter.insert()
    with pytest.raises(RuntimeError):
        waiter.run()
    waiter.kill()


def test_run_does_not_wait_for_a_lock():
    """A wait without a time keeps run() as little as one in a channel; one with a time does."""
    event, log = sync.Event(), []
    blocked = start(event.wait)
    assert stackless.run() is None and blocked.alive
    start(lambda: log.append(event.wait(0.01)))
    stackless.run()
    assert log == [False] and blocked.alive
    event.set()
    stackless.run()
    assert not blocked.alive


def test_block_trap_and_switch_trap():
    """They refuse waits, and nothing has happened then."""
    lock = sync.Lock()
    lock.acquire()
    refused = []

    def trapped():
        stackless.current.block_trap = True
        assert not lock.acquire(False)
        try:
            lock.acquire()
        except RuntimeError as error:
            refused.append(str(error))

    start(trapped)
    stackless.run()
    assert refused == ["this tasklet does not like to be blocked."]
    other = start(lock.acquire)
    stackless.run()
    stackless.switch_trap(1)
    try:
        with pytest.raises(RuntimeError, match="switch_trap"):
            lock.acquire()
    finally:
        stackless.switch_trap(-1)
    other.kill()
    lock.release()
    assert not lock.locked()


@pytest.mark.parametrize("spelling", ["acquire", "timed", "event", "queue", "simple", "semaphore"])
def test_waiting_tasklets_can_be_parked(spelling):
    """They give up their C stacks, and get their turn all the same."""
    lock, event, semaphore = sync.Lock(), sync.Event(), sync.Semaphore(0)
    queue, simple, log = sync.Queue(), sync.SimpleQueue(), []
    lock.acquire()

    def waiter():
        if spelling == "acquire":
            log.append(lock.acquire())
        elif spelling == "timed":
            log.append(lock.acquire(timeout=60))
        elif spelling == "event":
            log.append(event.wait())
        elif spelling == "queue":
            log.append(queue.get())
        elif spelling == "simple":
            log.append(simple.get())
        else:
            log.append(semaphore.acquire())

    tasklet = start(waiter)
    stackless.run(block=False)
    stackless._stackless._park(tasklet)
    assert stackless._stackless._is_parked(tasklet) and log == []
    lock.release()
    event.set()
    queue.put(True)
    simple.put(True)
    semaphore.release()
    stackless.run()
    assert log == [True]


def test_a_parked_wait_for_a_condition():
    """The wait releases a reentrant lock, and restores it as often as it was acquired."""
    condition, log = sync.Condition(), []

    def waiter():
        condition.acquire()
        condition.acquire()
        log.append(condition.wait())
        log.append(condition._lock._recursion_count())
        condition.release()
        condition.release()

    tasklet = start(waiter)
    stackless.run()
    stackless._stackless._park(tasklet)
    condition.acquire()
    condition.notify()
    stackless.schedule()  # it waits for the lock now
    stackless._stackless._park(tasklet)
    condition.release()
    stackless.run()
    assert log == [True, 2]


def test_a_lock_that_only_its_waiter_refers_to():
    """The collector ends the tasklet, and says so."""
    ended = []

    def waiter():
        lock = sync.Lock()
        lock.acquire()
        try:
            lock.acquire()
        finally:
            ended.append(True)

    watch = weakref.ref(start(waiter))
    stackless.run()
    with pytest.warns(ResourceWarning, match="it waits for Lock that nothing else can reach"):
        gc.collect()
    assert ended == [True] and watch() is None


def test_an_item_in_a_cycle_with_its_queue():
    """The collector frees both."""
    for kind in (sync.Queue, sync.SimpleQueue, sync.LifoQueue):
        made = kind()
        made.put([made])
        watch = weakref.ref(made)
        del made
        gc.collect()
        assert watch() is None


@in_child_process
def test_a_deadlock_names_the_locks_and_their_holders():
    """The note says who holds what, and shows the cycle."""
    one, two = sync.Lock(), sync.RLock()

    def left():
        with one:
            stackless.schedule()
            two.acquire()

    def right():
        with two:
            stackless.schedule()
            one.acquire()

    start(left), start(right)
    stackless.run()
    with pytest.raises(RuntimeError, match="Deadlock") as caught:
        one.acquire()
    note = "\n".join(caught.value.__notes__)
    assert "main wants to wait for Lock 'one' at" in note and "held by tasklet" in note
    assert "A cycle: tasklet" in note and "waits for RLock 'two'" in note


@in_child_process
def test_a_stuck_main_tasklet():
    """All other tasklets have ended, and main waits for an event."""
    event = sync.Event()
    start(lambda: None)
    start(sync.Event().wait)
    with pytest.raises(RuntimeError, match="waiting for a Event|Deadlock"):
        event.wait()


def test_what_snapshots_say():
    """ps, dump and the repr name the lock and its holder."""
    lock = sync.Lock()

    def holder():
        with lock:
            stackless.schedule()
            sync.Event().wait()

    def waiter():
        lock.acquire()

    held, waits = start(holder), start(waiter)
    stackless.run()
    info = {each.serial: each for each in explain.snapshot()}
    found = next(each for each in info.values() if "waiter" in each.name)
    assert found.state == "waiting" and found.channel is None
    assert found.reason.startswith("waiting for Lock 'lock' held by tasklet")
    assert "test_tasklets_wait.py:" in found.reason
    assert "waiting for Lock 'lock' held by" in repr(waits)
    held.kill()
    stackless.run()


def test_ten_thousand_tasklets_at_one_semaphore():
    """Never more than the value are inside."""
    semaphore, inside, most = sync.Semaphore(7), 0, 0

    def user():
        nonlocal inside, most
        with semaphore:
            inside += 1
            most = max(most, inside)
            stackless.schedule()
            inside -= 1

    for _ in range(10_000):
        start(user)
    stackless.run()
    assert (inside, most, semaphore._value) == (0, 7, 7)


def test_a_barrier_lets_all_through_at_once():
    """The action runs once, and the numbers are those of threading."""
    log = []
    barrier = sync.Barrier(3, action=lambda: log.append("action"))

    def party():
        log.append(barrier.wait())

    for _ in range(6):
        start(party)
    stackless.run()
    assert log.count("action") == 2 and sorted(n for n in log if n != "action") == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]


def test_shutdown_wakes_all():
    """Getters and putters continue with ShutDown, on every Python."""
    empty, full, log = sync.Queue(), sync.Queue(1), []
    full.put(1)

    def call(method, *arguments):
        try:
            method(*arguments)
        except sync.ShutDown:
            log.append(method.__name__)

    start(call, empty.get)
    start(call, full.put, 2)
    stackless.run()
    empty.shutdown()
    full.shutdown()
    stackless.run()
    assert log == ["get", "put"] and full.get() == 1


def test_a_queue_whose_mutex_is_held():
    """Calls wait until the program has released it."""
    queue, log = sync.Queue(), []
    queue.put(1)
    with queue.mutex:
        start(lambda: log.append(queue.get()))
        stackless.run()
        assert log == []
        queue.queue.clear()
        queue.queue.append(2)
    stackless.run()
    assert log == [2]


def test_conditions_of_a_queue():
    """Those that wait in put() and join() continue when the program empties the queue itself."""
    queue, log = sync.Queue(1), []
    queue.put(1)
    start(lambda: log.append(queue.put(2)))
    start(lambda: log.append(queue.join()))
    stackless.run()
    with queue.mutex:
        queue.queue.clear()
        queue.unfinished_tasks = 0
        queue.all_tasks_done.notify_all()
        queue.not_full.notify_all()
    stackless.run()
    assert log == [None, None] and queue.get() == 2


def test_local_values_are_the_tasklets_own():
    """They go with the tasklet; main tasklets have those of their thread."""
    local, seen = sync.local(), []
    local.value = "main"

    class Value:
        pass

    def user(n):
        assert not hasattr(local, "value")
        local.value = Value()
        seen.append(weakref.ref(local.value))
        stackless.schedule()
        assert seen[n]() is local.value

    for n in range(3):
        start(user, n)
    stackless.run()
    assert local.value == "main" and [each() for each in seen] == [None] * 3
