"""Programs that run their tasklets with run(n) in a loop."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import stackless
from stackless import channel, schedule, tasklet

SMALL_AND_LARGE = [1, 2, 3, 10, 1000]


def pump(n, limit=1_000_000):
    """run(n) in a loop. Returns the number of interrupts; stops after `limit` runs."""
    hits = 0
    while t := stackless.run(n):
        t.insert()
        hits += 1
        assert hits < limit, "the pump does not come to an end"
    return hits


def looping(log, name, turns):
    for _ in range(turns):
        pass
    log.append(name)


@pytest.mark.parametrize("n", SMALL_AND_LARGE)
def test_the_pump_comes_to_an_end(n):
    """For any n >= 1."""
    log = []
    for name in range(5):
        tasklet(looping)(log, name, 300)
    hits = pump(n)
    assert sorted(log) == list(range(5))
    assert hits > 0 or n == 1000


@pytest.mark.parametrize("n", SMALL_AND_LARGE)
def test_the_pump_with_calls_and_yields(n):
    """Calls are ticks, too; tasklets that make more tasklets."""
    log = []

    def tree(depth):
        schedule()
        if depth:
            tasklet(tree)(depth - 1)
            tasklet(tree)(depth - 1)
            looping(log, depth, 10)
        else:
            looping(log, 0, 1)

    tasklet(tree)(4)
    pump(n)
    assert len(log) == 2**5 - 1


def test_smaller_timeouts_interrupt_more_often():
    """And large timeouts do not interrupt."""
    hits = {}
    for n in (10, 100, 10_000):
        for name in range(3):
            tasklet(looping)([], name, 1000)
        hits[n] = pump(n)
    assert hits[10] > hits[100] > hits[10_000] == 0


def test_interrupted_tasklets_take_turns():
    """Inserted at the end, each continues in turn: each gets its turns."""
    progress = dict.fromkeys("abc", 0)

    def counting(name):
        while progress[name] < 1000:
            progress[name] += 1

    for name in "abc":
        tasklet(counting)(name)
    order = []
    while t := stackless.run(100):
        order.append(t)
        if len(order) == 9:
            assert all(0 < turns < 1000 for turns in progress.values())
        t.insert()
    assert order[:3] == order[3:6] == order[6:9]
    assert len(set(order)) == 3
    assert progress == dict.fromkeys("abc", 1000)


@pytest.mark.parametrize("n", [0, 5, 1000])
def test_a_yield_channel(n):
    """Preference 1, `while ch.balance < 0: ch.send(None)`, then run(): one turn each, in order."""
    yield_channel, log = channel(), []
    yield_channel.preference = 1

    def actor(name, life):
        for turn in range(life):
            log.append((name, turn))
            yield_channel.receive()

    actors = [tasklet(actor)(name, 4) for name in "abc"]

    def run():
        while victim := stackless.run(n):
            victim.insert()

    run()
    for turn in range(1, 4):
        assert log == [(name, turn - 1) for name in "abc"]
        log.clear()
        while yield_channel.balance < 0:
            yield_channel.send(None)
        assert log == []
        run()
    assert log == [(name, 3) for name in "abc"]
    while yield_channel.balance < 0:
        yield_channel.send(None)
    run()
    assert not any(t.alive for t in actors)


def test_each_thread_has_its_own_timeout():
    """Threads that do so at the same time get their own tasklets, and all of them finish."""
    barrier = threading.Barrier(4, timeout=60)

    def worker(n):
        log, hits = [], 0
        mine = [tasklet(looping)(log, name, 2000) for name in range(5)]
        barrier.wait()
        while t := stackless.run(n):
            assert t in mine and t.thread_id == threading.get_ident()
            hits += 1
            t.insert()
        assert sorted(log) == list(range(5))
        return hits

    with ThreadPoolExecutor(4) as pool:
        hits = list(pool.map(worker, (7, 50, 400, 100_000)))
    assert hits[0] > hits[1] > hits[2] > hits[3] == 0


def test_a_timeout_in_one_thread_does_not_interrupt_another():
    """Under plain run() a tasklet is not interrupted, whatever other threads do."""
    stop = []

    def spin():
        while not stop:
            pass

    def pumping():
        tasklet(spin)()
        return pump(10, limit=10**9)

    with ThreadPoolExecutor(1) as pool:
        hits = pool.submit(pumping)
        t = tasklet(looping)(stop, "here", 200_000)
        assert stackless.run() is None
        assert not t.alive
        assert hits.result(60) > 0
