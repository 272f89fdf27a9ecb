"""An app whose database is in a temporary folder, and a worker for it."""

import orders
import pytest
from serving_thread import working
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


@pytest.fixture
def worker(app):
    with working(app):
        yield
