"""One embedded cluster for all tests that do not break it: three workers, and this process."""

import pytest
import worker_processes

pytest.importorskip("distributed", reason="the tests of stackless.cluster need distributed")

from stackless import cluster


@pytest.fixture(scope="session")
def c():
    with cluster.connect(workers=3, name="tests") as made:
        yield made


@pytest.fixture
def workers(c):
    """The names of the workers."""
    return [each.name for each in c.workers()]


@pytest.fixture
def one(workers):
    return workers[0]


@pytest.fixture
def other(workers):
    return workers[1]


@pytest.fixture
def start(c):
    """A function that starts more workers, which the test may kill."""
    with worker_processes.starting(c) as function:
        yield function
