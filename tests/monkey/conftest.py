"""Fixtures for tests of patches: the patches, and a tasklet that runs only while another waits."""

import gc

import pytest
import stackless
from stackless import monkey


@pytest.fixture
def patched():
    """The patches, for one test."""
    with monkey.patched():
        yield
    gc.collect()


@pytest.fixture(scope="module")
def patched_module():
    """The patches, for all tests of a module."""
    with monkey.patched():
        yield


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
