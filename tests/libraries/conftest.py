"""Servers for all tests of this folder, and a tasklet that runs beside."""

import pytest
import servers
import stackless
from stackless.aio._wait import _stop_own_loop


@pytest.fixture(scope="session")
def redis_port():
    with servers.redis() as port:
        yield port


@pytest.fixture(scope="session")
def postgresql_port():
    with servers.postgresql() as port:
        yield port


@pytest.fixture
def ticks():
    """The number of turns that another tasklet had, in a list."""
    count, stop = [0], []

    def tick():
        while not stop:
            stackless.sleep(0.001)
            count[0] += 1

    ticker = stackless.tasklet(tick)()
    yield count
    stop.append(True)
    ticker.join()


@pytest.fixture(autouse=True)
def no_loop_left():
    """End the loop that the thread has for aio.wait(); each test gets a new one."""
    yield
    _stop_own_loop()
