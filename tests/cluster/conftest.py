"""One embedded cluster for all tests that do not break it: three workers, and this process."""

import os
import sys

import pytest

pytest.importorskip("distributed", reason="the tests of stackless.cluster need distributed")

import sites
import worker_processes
from stackless import cluster

# The shapes of programs that hop, and objects with buffers.
for folder in "parking", "pickling":
    sys.path.append(os.path.join(os.path.dirname(__file__), "..", folder))


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


@pytest.fixture
def site(tmp_path):
    made = []

    def make(**options):
        made.append(sites.Site(tmp_path, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Files of a certificate that Dask makes itself: it is its own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    made = sites.Security.temporary()
    (folder / "ca.pem").write_text(made.tls_ca_file)
    (folder / "one.pem").write_text(made.tls_scheduler_key + made.tls_scheduler_cert)
    stranger = sites.Security.temporary()
    (folder / "stranger.pem").write_text(stranger.tls_scheduler_key + stranger.tls_scheduler_cert)
    (folder / "strange-ca.pem").write_text(stranger.tls_ca_file)
    return folder
