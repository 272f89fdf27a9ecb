"""8 threads with 1,000 tasklets each exchange a million messages over shared channels."""

import threading

import pytest
import stackless
from stackless import channel, tasklet

THREADS = 8
PAIRS = 500  # senders, and as many receivers, per thread
EACH = 250  # messages per sender
CHANNELS = 40
MESSAGES = THREADS * PAIRS * EACH


class Worker:
    """One thread: its tasklets use channels that tasklets of all other threads use as well.

    No tasklet ends before all have done their work: each waits in `parked` at last, and the last
    one tells main, which sleeps in the meantime whenever nothing is runnable here.
    """

    def __init__(self, number, channels, failures):
        self.number = number
        self.channels = channels
        self.failures = failures
        self.received = []
        self.thread = threading.Thread(target=self.live, daemon=True)

    def send(self, ch, first):
        for message in range(first, first + EACH):
            ch.send(message)
        self.finish()

    def receive(self, ch):
        append, receive = self.received.append, ch.receive
        for _ in range(EACH):
            append(receive())
        self.finish()

    def finish(self):
        self.busy -= 1
        if self.busy == 0:
            self.finished.send(None)
        self.parked.receive()

    def live(self):
        try:
            self.finished, self.parked = channel(), channel()
            self.busy = 2 * PAIRS
            for pair in range(PAIRS):
                # Every channel has as many senders as receivers, of all threads.
                ch = self.channels[(self.number + pair) % CHANNELS]
                tasklet(self.send)(ch, (self.number * PAIRS + pair) * EACH)
                tasklet(self.receive)(ch)
            self.finished.receive()
            stackless.run()
            assert self.parked.balance == -2 * PAIRS
            while self.parked.balance:
                self.parked.send(None)
            stackless.run()
            assert stackless.runcount == 1
        except BaseException as error:
            self.failures.append(error)


@pytest.mark.slow
@pytest.mark.parametrize("preference", [-1, 0])
def test_a_million_messages_between_threads(preference):
    """11.2: none lost or doubled."""
    channels, failures = [channel() for _ in range(CHANNELS)], []
    for ch in channels:
        ch.preference = preference
    workers = [Worker(number, channels, failures) for number in range(THREADS)]
    for worker in workers:
        worker.thread.start()
    for worker in workers:
        worker.thread.join(100)
    assert failures == []
    assert not any(worker.thread.is_alive() for worker in workers)
    received = sorted(message for worker in workers for message in worker.received)
    assert received == list(range(MESSAGES))
    assert all(ch.balance == 0 and ch.queue is None for ch in channels)


@pytest.mark.slow
def test_threads_that_kill_and_wake_each_others_tasklets():
    """11.3: foreign insert, remove, run and kill in great numbers; every tasklet ends once."""
    threads, count, rounds = 4, 50, 10
    barrier = threading.Barrier(threads, timeout=60)
    everyone = [[] for _ in range(threads)]
    ended, failures = [], []

    def body(name):
        try:
            for _ in range(rounds):
                stackless.schedule()
        finally:
            ended.append(name)

    def live(number):
        try:
            everyone[number].extend(tasklet(body, ((number, i),)) for i in range(count))
            barrier.wait()
            for step in range(rounds):
                for owner in range(threads):
                    for i in range(number, count, threads):
                        try:
                            t = everyone[owner][i]
                            (t.insert, t.remove, t.run)[(step + i) % 3]()
                        except RuntimeError as error:
                            # It may have ended, or be current in its thread, in the meantime.
                            assert "dead" in str(error) or "current" in str(error), error
                stackless.run()
            barrier.wait()
            for t in everyone[(number + 1) % threads][: count // 2]:
                t.kill(pending=True)
            barrier.wait()
            stackless.run()
            for t in everyone[number]:
                if t.alive:
                    t.run()
            stackless.run()
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=live, args=(n,), daemon=True) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert failures == []
    assert not any(t.alive for tasklets in everyone for t in tasklets)
    assert len(ended) == len(set(ended))
