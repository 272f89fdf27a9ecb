"""Loops that run() interrupts."""

import stackless
from stackless import schedule, tasklet


class Loop:
    """A tasklet that makes `turns` turns of a loop, then `then()`s; `done` counts them."""

    def __init__(self, turns, then=lambda: None):
        self.turns, self.then, self.done = turns, then, 0
        self.tasklet = tasklet(self.body)()

    def body(self):
        while self.done < self.turns:
            self.done += 1
        self.then()

    @property
    def finished(self):
        return self.done == self.turns


def count(turns):
    for _ in range(turns):
        pass


def yielding(turns, every):
    for turn in range(turns):
        if every and turn % every == 0:
            schedule()


def pump(n, **options):
    """Let all tasklets run to their end; return the number of interrupts."""
    hits = 0
    while victim := stackless.run(n, **options):
        hits += 1
        assert hits < 1_000_000
        victim.insert()
    return hits
