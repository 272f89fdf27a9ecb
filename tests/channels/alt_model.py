"""A small model of channels, buffers and `alt()`, and random programs for it.

A program is a list of tasklets, each with a list of steps. It runs on the real thing and on the
model, in the same order of steps: the preference of all channels is 0, so that a tasklet runs until
it waits, and the ring is a plain queue.
"""

import random
from collections import deque

import stackless

CHANNELS = 4
CLOSED, TIMED_OUT = "closed", "timed out"


def program(seed):
    """Return (capacities, tasklets): random steps."""
    rng = random.Random(seed)
    capacities = [rng.choice((0, 0, 0, 1, 2)) for _ in range(CHANNELS)]
    values = iter(range(10**6))

    def case():
        c = rng.randrange(CHANNELS)
        return ("send", c, next(values)) if rng.random() < 0.5 else ("receive", c, None)

    def step():
        kind = rng.choices(
            ("alt", "send", "receive", "try", "else", "close", "open", "schedule", "kill"),
            (8, 4, 4, 1, 1, 0.3, 0.5, 2, 0.3),
        )[0]
        if kind in ("alt", "else", "try"):
            return (kind, [case() for _ in range(rng.randint(1, 4))])
        if kind == "send":
            return (kind, rng.randrange(CHANNELS), next(values))
        if kind in ("receive", "close", "open"):
            return (kind, rng.randrange(CHANNELS))
        return (kind, rng.randrange(6))

    tasklets = [[step() for _ in range(rng.randint(1, 8))] for _ in range(rng.randint(2, 6))]
    return capacities, tasklets


class Killed(Exception):
    """The step was ended by a kill."""


class Model:
    """Plays a program by the rules, with lists."""

    def __init__(self, capacities, tasklets):
        self.capacities = capacities
        self.buffers = [deque() for _ in capacities]
        self.queues = [[] for _ in capacities]  # (tasklet, index, sends, value) in order of waiting
        self.closing = [False] * len(capacities)
        self.steps = [deque(steps) for steps in tasklets]
        self.ring = deque(range(len(tasklets)))
        self.waiting = {}  # tasklet -> kind of its step
        self.results = {}
        self.ended = set()
        self.log = []

    def run(self):
        while self.ring:
            self.turn(self.ring.popleft())
        return self.log, [self.balance(c) for c in range(len(self.capacities))]

    def balance(self, c):
        kinds = {}
        for t, _, sends, _ in self.queues[c]:
            kinds.setdefault(t, set()).add(sends)
        weights = {frozenset({True}): 1, frozenset({False}): -1}
        count = sum(weights.get(frozenset(kind), 0) for kind in kinds.values())
        return count + len(self.buffers[c])

    def turn(self, t):
        if t in self.results:
            result = self.results.pop(t)
            if result == "kill":
                self.ended.add(t)
                return
            self.log.append((t, result))
        while self.steps[t]:
            step = self.steps[t].popleft()
            if step[0] == "schedule":
                self.ring.append(t)
                return
            if not self.step(t, step):
                return
        self.ended.add(t)

    def step(self, t, step):
        """False: the tasklet waits."""
        kind = step[0]
        if kind == "close":
            self.close(step[1])
        elif kind == "open":
            self.closing[step[1]] = False
        elif kind == "kill":
            self.kill(t, step[1])
        else:
            cases = (
                step[1]
                if kind in ("alt", "else", "try")
                else [(kind, step[1], *step[2:], None)[:3]]
            )
            for index, case in enumerate(cases):
                result = self.act(case)
                if result is not None:
                    self.log.append((t, result if result == CLOSED else (index, result[0])))
                    return True
            if kind in ("else", "try"):
                self.log.append((t, "else" if kind == "else" else TIMED_OUT))
                return True
            for index, (what, c, value) in enumerate(cases):
                self.queues[c].append((t, index, what == "send", value))
            self.waiting[t] = kind
            return False
        return True

    def act(self, case):
        """(value,), or CLOSED, or None if it would wait."""
        what, c, value = case
        sends = what == "send"
        partner = next((w for w in self.queues[c] if w[2] != sends), None)
        if sends:
            if partner:
                self.wake(partner, value)
                return (None,)
            if self.closing[c]:
                return CLOSED
            if len(self.buffers[c]) < self.capacities[c]:
                self.buffers[c].append(value)
                return (None,)
            return None
        if self.buffers[c]:
            oldest = self.buffers[c].popleft()
            if partner:
                self.buffers[c].append(partner[3])
                self.wake(partner, None)
            return (oldest,)
        if partner:
            self.wake(partner, None)
            return (partner[3],)
        return CLOSED if self.closing[c] else None

    def leave(self, t):
        for queue in self.queues:
            queue[:] = [w for w in queue if w[0] != t]
        del self.waiting[t]

    def wake(self, waiter, value):
        t, index, _, _ = waiter
        self.leave(t)
        self.results[t] = (index, value)
        self.ring.append(t)

    def close(self, c):
        self.closing[c] = True
        for t, _, sends, _ in list(self.queues[c]):
            if not sends and self.waiting.get(t) == "alt":
                self.leave(t)
                self.results[t] = CLOSED
                self.ring.append(t)

    def kill(self, me, t):
        if t < len(self.steps) and t != me and t in self.waiting:
            self.leave(t)
            self.results[t] = "kill"
            self.ring.append(t)


def play(capacities, tasklets):
    """Run the program with tasklets. Returns the log and the balances; kills what is left."""
    channels = [stackless.channel(capacity=n) for n in capacities]
    for ch in channels:
        ch.preference = 0
    log, all_tasklets = [], []

    def cases_of(cases):
        made = []
        for what, c, value in cases:
            ch = channels[c]
            made.append(ch.sending(value) if what == "send" else ch.receiving())
        return made

    def call(step):
        kind = step[0]
        if kind == "send":
            channels[step[1]].send(step[2])
            return (0, None)
        if kind == "receive":
            return (0, channels[step[1]].receive())
        cases = cases_of(step[1])
        if kind == "else":
            result = stackless.alt(*cases, else_=None)
            return "else" if result.case is None else (result.index, result.value)
        result = stackless.alt(*cases, **({"timeout": 0} if kind == "try" else {}))
        assert result.case is cases[result.index]
        return (result.index, result.value)

    def body(me, steps):
        for step in steps:
            kind = step[0]
            if kind == "close":
                channels[step[1]].close()
            elif kind == "open":
                channels[step[1]].open()
            elif kind == "schedule":
                stackless.schedule()
            elif kind == "kill":
                victim = step[1]
                if victim < len(all_tasklets) and victim != me and all_tasklets[victim].blocked:
                    all_tasklets[victim].kill(pending=True)
            else:
                try:
                    result = call(step)
                except ValueError as error:
                    assert "closed channel" in str(error)
                    result = CLOSED
                except stackless.TimeoutError:
                    result = TIMED_OUT
                log.append((me, result))

    for number, steps in enumerate(tasklets):
        all_tasklets.append(stackless.tasklet(body)(number, steps))
    stackless.run()
    balances = [ch.balance for ch in channels]
    for t in all_tasklets:
        t.kill()
    for ch in channels:
        queued = ch.queue
        assert queued is None, queued
        while ch.balance:
            ch.receive()
    return log, balances
