"""Random programs of alts, sends, receives, closes and kills, in one thread and in several."""

import os
import random
import threading
import time
from collections import Counter

import alt_model
import pytest
import stackless
from stackless import alt, channel

SECONDS = 60 if os.environ.get("STACKLESS_NIGHTLY") else 3


def test_random_programs_do_as_the_model():
    """The same steps in the same order, with the same results, and the same balances at the end."""
    end, seed = time.monotonic() + SECONDS, 0
    while time.monotonic() < end or seed < 300:
        capacities, tasklets = alt_model.program(seed)
        expected = alt_model.Model(capacities, tasklets).run()
        found = alt_model.play(capacities, tasklets)
        assert found == expected, f"seed {seed}: {capacities} {tasklets}"
        seed += 1


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_between_threads(seed):
    """Every value that a case has sent is received once, whatever else the alts wait for."""
    rng = random.Random(seed)
    channels = [channel(capacity=n) for n in (0, 0, 1, 3)]
    stop = [channel(capacity=64) for _ in range(4)]
    sent, received = [], []
    numbers = iter(range(10**9))

    def work(quit, choices):
        while True:
            cases = [quit.receiving()]
            for sends, c in choices.sample([(s, c) for s in (0, 1) for c in channels], 4):
                cases.append(c.sending(next(numbers)) if sends else c.receiving())
            timeout = choices.choice((None, None, 0.001))
            try:
                result = alt(*cases, timeout=timeout, fair=True)
            except stackless.TimeoutError:
                continue
            if result.index == 0:
                return
            if result.case.operation == "send":
                sent.append(result.case.value)
            else:
                received.append(result.value)

    def thread(quit, seed):
        choices = random.Random(seed)
        tasklets = [stackless.tasklet(work)(quit, choices) for _ in range(4)]
        while any(t.alive for t in tasklets):
            stackless.run()
            stackless.sleep(0.001)

    threads = [threading.Thread(target=thread, args=(quit, rng.random())) for quit in stop]
    for each in threads:
        each.start()
    time.sleep(SECONDS / 6)
    for quit in stop:
        for _ in range(4):
            quit.send(None)
    for each in threads:
        each.join()
    for ch in channels:
        while ch.balance > 0:
            received.append(ch.receive())
        assert (ch.balance, ch.queue) == (0, None)
    assert len(sent) > 50
    assert Counter(sent) == Counter(received)
