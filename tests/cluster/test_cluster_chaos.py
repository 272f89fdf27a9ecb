"""Many tasklets, channels and moves at random; workers that are killed or stopped at random.

A ledger gets an entry for each step of a tasklet, with its epoch. It must show that no tasklet ran
in two places at once: after an entry with a higher epoch none with a lower one may come.
STACKLESS_NIGHTLY=1 makes it larger: 1,000 tasklets, 100,000 messages, 50 kills.
"""

import os
import random
import signal
import time
from collections import defaultdict

import pytest
from stackless import cluster
from stackless.cluster.dask import DirectoryPlugin
from test_cluster_tasklets import until
from worker_processes import WorkerProcess, starting, wait_for

NIGHTLY = "STACKLESS_NIGHTLY" in os.environ
CHANNELS, PER_CHANNEL, MESSAGES = (100, 5, 200) if NIGHTLY else (12, 4, 60)
KILLS = 50 if NIGHTLY else 5
STEPS = 400 if NIGHTLY else 150


def maybe_go(chance, workers):
    if chance.random() < 0.1:
        cluster.go(chance.choice(workers))


def wandering_sender(seed, channel, count, workers):
    chance = random.Random(seed)
    for n in range(count):
        channel.send((seed, n))
        maybe_go(chance, workers)


def wandering_receiver(seed, channel, workers):
    chance = random.Random(seed)
    found = []
    for each in channel:
        found.append(each)
        maybe_go(chance, workers)
    return found


def test_messages_and_moves_at_random(c, workers):
    chance = random.Random(5)
    hosts = [*workers, "tests"]
    rounds = []
    for n in range(CHANNELS):
        channel = c.channel(capacity=chance.choice([0, 0, 1, 10]), on=chance.choice(hosts))
        receivers = [
            c.spawn(wandering_receiver, f"r{n}.{m}", channel, workers) for m in range(PER_CHANNEL)
        ]
        senders = [
            c.spawn(wandering_sender, f"{n}.{m}", channel, MESSAGES, workers)
            for m in range(PER_CHANNEL)
        ]
        rounds.append((n, channel, receivers, senders))
    for _ in range(CHANNELS * 3):
        _, _, receivers, senders = chance.choice(rounds)
        try:
            chance.choice(receivers + senders).move(chance.choice(hosts))
        except cluster.MoveRefused:
            pass  # it was about to go elsewhere
    for n, channel, receivers, senders in rounds:
        for each in senders:
            each.join(600)
        channel.close()
        found = [each.join(600) for each in receivers]
        wanted = [(f"{n}.{m}", i) for m in range(PER_CHANNEL) for i in range(MESSAGES)]
        assert sorted(sum(found, [])) == sorted(wanted)
        for values in found:
            for sender in {each[0] for each in values}:
                numbers = [i for name, i in values if name == sender]
                assert numbers == sorted(numbers)


# ------------------------------------------------------------------ kills


def worker_of_steps(name, steps, ledger):
    done = []
    for n in range(steps):
        ledger.send((name, cluster.epoch(), n))
        done.append(n)
        cluster.sleep(0.02)
    return done


def contradictions(entries):
    """Where the ledger shows a tasklet in two places at once, or a step that is missing."""
    found = []
    seen = defaultdict(lambda: (0, -1))
    for name, epoch, step in entries:
        last_epoch, last_step = seen[name]
        if epoch < last_epoch:
            found.append(f"{name}: step {step} in epoch {epoch}, after one in {last_epoch}")
        elif epoch == last_epoch and step != last_step + 1:
            found.append(f"{name}: step {step} after {last_step} in epoch {epoch}")
        elif epoch > last_epoch and step > last_step + 1:
            found.append(f"{name}: step {step} in epoch {epoch}, the last one was {last_step}")
        seen[name] = max(epoch, last_epoch), step
    return found


def test_workers_that_are_killed_at_random(c):
    """Each tasklet is finished, was continued from its last checkpoint, or is reported lost."""
    chance = random.Random(6)
    with starting(c) as start:
        there = start(4)
        ledger = c.channel(capacity=100)
        reader = c.spawn(list, ledger, on="tests")
        tasklets = {}
        for n in range(40):
            how = "restart" if n % 2 else "raise"
            name = f"{how} {n}"
            tasklets[name] = c.spawn(
                *(worker_of_steps, name, STEPS, ledger),
                on=chance.choice(there).name,
                on_loss=how,
                checkpoint=0.1 if n % 4 < 2 else None,
            )
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.1, 0.6))
            victim = there.pop(chance.randrange(len(there)))
            victim.kill()
            there += start(1)
            c.rebalance()
        lost = 0
        for name, each in tasklets.items():
            try:
                assert each.join(600) == list(range(STEPS))
            except cluster.HostLost as error:
                assert name.startswith("raise") and error.tasklet == each.id
                lost += 1
        assert lost > 0
    ledger.close()
    entries = reader.join(60)
    assert contradictions(entries) == []
    assert {each[1] for each in entries if each[0].startswith("raise")} >= {1}
    assert any(each[1] > 1 for each in entries if each[0].startswith("restart"))


# ------------------------------------------------------------------ stops


def stopped_for_too_long(c):
    """The ledger of tasklets whose worker is stopped until it counts as lost, then continued."""
    worker = WorkerProcess(c.address, "stopped")
    try:
        wait_for(c, ["stopped"], [])
        old = next(each.id for each in c.hosts() if each.name == worker.name)
        ledger = c.channel(capacity=100)
        reader = c.spawn(list, ledger, on=c.here().name)
        tasklets = [
            c.spawn(
                *(worker_of_steps, f"restart {n}", 10_000, ledger),
                on=worker.name,
                on_loss="restart",
                checkpoint=0.05,
            )
            for n in range(10)
        ]
        time.sleep(1)
        worker.signal(signal.SIGSTOP)
        until(lambda: all(each._record.place != old for each in tasklets))
        time.sleep(0.5)
        worker.signal(signal.SIGCONT)
        time.sleep(1)
        for each in tasklets:
            each.kill()
    finally:
        worker.kill()
    ledger.close()
    return reader.join(60)


@pytest.mark.parametrize("fencing", [True, False])
def test_the_ledger_of_a_worker_that_was_stopped(fencing, monkeypatch):
    """Without fencing the old copies continue as well, and the ledger shows it."""
    begin = DirectoryPlugin.__init__

    def init(self, *arguments):
        begin(self, *arguments)
        self.fencing = fencing

    monkeypatch.setattr(DirectoryPlugin, "__init__", init)
    with cluster.connect(workers=2, lost_after=3) as c:
        found = contradictions(stopped_for_too_long(c))
    assert (found == []) is fencing
