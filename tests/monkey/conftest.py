"""Fixtures for tests of patches: a second tasklet, which runs only while the first one waits."""

import pytest
import stackless


class Ticks:
    """Counts the turns of another tasklet."""

    def __init__(self):
        self.number = 0
        self.tasklet = stackless.tasklet(self.tick)()
        self.tasklet.daemon = True

    def tick(self):
        while True:
            self.number += 1
            stackless.sleep(0.001)


@pytest.fixture
def ticks():
    ticks = Ticks()
    yield ticks
    ticks.tasklet.kill()
