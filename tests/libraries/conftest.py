"""Servers for all tests of this folder, the table of the lab, a tasklet that runs beside."""

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


@pytest.fixture(scope="session")
def mariadb_port():
    with servers.mariadb() as port:
        yield port


@pytest.fixture(scope="session")
def rabbitmq_port():
    with servers.rabbitmq() as port:
        yield port


_LAB = pytest.StashKey()


@pytest.fixture(scope="session")
def lab_rows(request):
    """The rows of the lab's table, which is printed at the end."""
    return request.config.stash.setdefault(_LAB, [])


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_LAB, [])
    if rows:
        import test_lab

        terminalreporter.section("the lab: programs for threads, on tasklets and on threads")
        for line in test_lab.table(rows):
            terminalreporter.write_line(line)


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
