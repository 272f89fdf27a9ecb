"""Fixtures of the tests of `stackless.aio`."""

import pytest
import stackless


@pytest.fixture(autouse=True)
def settled_loop():
    """Let the loop that the thread has for aio.wait() finish what a test has left it to do."""
    yield
    for _ in range(100):
        if stackless.getruncount() == 1:
            break
        stackless.schedule()
