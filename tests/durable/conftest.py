"""An app and a worker for it: each test runs with SQLite, in a temporary folder, and PostgreSQL."""

import gc
import sys

import databases
import orders
import pytest
from serving_thread import working
from stackless import durable
from stackless.durable.store import open_store
from stackless.durable.store.sql import Store
from stackless.durable.store.sqlite import SQLite


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    """Collect tasklets of workflows: they are in cycles, and other tests list all tasklets."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def postgresql():
    with databases.postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of a new store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/durable.db"
    return databases.url(request.getfixturevalue("postgresql"))


class Clock:
    """The time that a store goes by."""

    time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(url, clock, monkeypatch):
    """A new store, whose time the test sets."""
    if url.startswith("sqlite"):
        made = Store(SQLite(url.removeprefix("sqlite:///"), clock))
    else:
        from stackless.durable.store import postgres

        monkeypatch.setattr(postgres._Session, "now", property(lambda session: clock()))
        made = open_store(url)
        made.now = clock
    yield made
    made.close()


@pytest.fixture
def app(url):
    made = durable.App("tests", url, key=b"a key of the tests")
    orders.done.clear()
    yield made
    made.close()


@pytest.fixture
def later(app, monkeypatch):
    """Sets the time of the app's store forward, for workers of this process.

    What sleeps in a test sleeps until the test has seen it. `later(20)`: less than a lease.
    """
    shift, now = [0.0], app._store.now
    session = sys.modules[type(app._store._database).__module__]._Session
    database_time = session.now.fget

    def later(seconds):
        shift[0] += seconds
        app._store._database._writer.wake()

    monkeypatch.setattr(app._store, "now", lambda: now() + shift[0])
    monkeypatch.setattr(session, "now", property(lambda self: database_time(self) + shift[0]))
    return later


@pytest.fixture
def worker(app):
    with working(app):
        yield
