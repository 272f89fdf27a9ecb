"""Fixtures of the tests of `stackless.aio`."""

import pytest
from stackless.aio._wait import _stop_own_loop


@pytest.fixture(autouse=True)
def no_loop_left():
    """End the loop that the thread has for aio.wait(); each test gets a new one."""
    yield
    _stop_own_loop()
