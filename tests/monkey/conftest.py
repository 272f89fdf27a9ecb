"""For all tests of patches: another tasklet, which shows that somebody waits."""

import pytest
import stackless


class Ticks:
    """How often another tasklet had a turn."""

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
