"""An app whose database is in a temporary folder, and a worker for it."""

import contextlib
import threading

import orders
import pytest
from stackless import durable


@pytest.fixture
def path(tmp_path):
    return f"{tmp_path}/durable.db"


@pytest.fixture
def app(path):
    made = durable.App("tests", f"sqlite:///{path}", key=b"a key of the tests")
    orders.done.clear()
    yield made
    made.close()


@contextlib.contextmanager
def working(app, **options):
    """Let a worker run in another thread meanwhile."""
    thread = threading.Thread(target=app.serve, kwargs=options)
    thread.start()
    try:
        while not app._runners:
            pass
        yield
    finally:
        app.stop()
        thread.join()


@pytest.fixture
def worker(app):
    with working(app):
        yield
