"""Tasklets whose time has come go ahead of the ring, but never take more than half of the turns."""

import time

import stackless


def busy_for(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Turns:
    """Workers that compute and give others their turn, and what else was started."""

    def __init__(self, workers, turns, seconds=0.001):
        self.log = []
        self.ended = False
        for number in range(workers):
            stackless.tasklet(self.work)(number, turns, seconds)

    def work(self, number, turns, seconds):
        for _ in range(turns):
            busy_for(seconds)
            self.log.append(number)
            stackless.schedule()
        self.ended = True

    def tick(self, name, seconds=0.0001, work=0):
        while not self.ended:
            stackless.sleep(seconds)
            busy_for(work)
            self.log.append(name)


def test_one_that_slept_waits_for_few_turns():
    """However long the ring is: without going ahead, it would tick once in 50 turns."""
    turns = Turns(workers=50, turns=6, seconds=0.005)
    stackless.tasklet(turns.tick)("tick")
    stackless.run()
    assert turns.log.count("tick") > len(turns.log) / 10


def test_the_ring_goes_on_however_many_timers_are_due():
    """All 40 are due at each look: each worker still has its turns, as in a ring of all."""
    turns = Turns(workers=3, turns=5, seconds=0.005)
    for _ in range(40):
        stackless.tasklet(turns.tick)("tick", work=0.005)
    stackless.run()
    for number in range(3):
        first, last = turns.log.index(number), len(turns.log) - turns.log[::-1].index(number)
        assert turns.log.count(number) == 5
        assert last - first < 5 * 2 * 50


def test_those_that_go_ahead_keep_their_order():
    """Tasklets of one look continue in the order of their times."""
    order = []

    def sleeper(number):
        stackless.sleep(0.001 + number / 1e6)
        order.append(number)

    def worker():
        while len(order) < 10:
            busy_for(0.02)
            stackless.schedule()

    for number in range(10):
        stackless.tasklet(sleeper)(number)
    for _ in range(30):
        stackless.tasklet(worker)()
    stackless.run()
    assert order == list(range(10))


def test_timeouts_go_ahead_too():
    """A wait whose time is over ends after few turns."""
    turns = Turns(workers=50, turns=4, seconds=0.005)

    def limited():
        while not turns.ended:
            try:
                stackless.channel().receive(timeout=0.0001)
            except TimeoutError:
                turns.log.append("over")

    stackless.tasklet(limited)()
    stackless.run()
    assert turns.log.count("over") > len(turns.log) / 10


def test_the_order_of_a_virtual_clock_is_that_of_the_ring():
    """There nothing is late: what is due is appended."""
    from stackless.testing import virtual_time

    order = []

    def sleeper():
        stackless.sleep(1)
        order.append("sleeper")

    with virtual_time() as clock:
        stackless.tasklet(sleeper)()
        stackless.schedule()
        for number in range(3):
            stackless.tasklet(order.append)(number)
        clock.advance(2)
        stackless.run()
    assert order == [0, 1, 2, "sleeper"]
