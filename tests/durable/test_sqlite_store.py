"""What only the store in SQLite does: a full disk, a file that is no database."""

import sqlite3
import threading

import pytest
from stackless.durable.store.sql import Store
from stackless.durable.store.sqlite import SQLite
from stackless.durable.store.writer import Writer
from store_calls import begin, start


@pytest.fixture
def store(tmp_path, clock):
    made = Store(SQLite(tmp_path / "store.db", clock))
    yield made
    made.close()


def test_a_commit_that_fails_is_an_error_of_all(store):
    begun, go = threading.Event(), threading.Event()

    def block(to):
        begun.set()
        go.wait()

    def lose(to):
        to.rollback()
        raise sqlite3.OperationalError("disk I/O error")

    store._write(block)
    begun.wait()
    good = store._write(lambda to: 1)
    bad = store._write(lose)
    go.set()
    for future in (good, bad):
        with pytest.raises(sqlite3.OperationalError):
            future.result()
    assert store._write(lambda to: 2).result() == 2


def test_a_writer_that_cannot_connect():
    def connect():
        raise sqlite3.OperationalError("no such place")

    writer = Writer(connect)
    with pytest.raises(sqlite3.OperationalError):
        writer.submit(lambda to: None).result()
    writer.close()


def test_a_full_disk(tmp_path, clock):
    """The database may not grow: the error is reported, what was written before is there."""
    store = Store(SQLite(tmp_path / "full.db", clock))
    try:
        assert start(store, "one")
        limit = store._write(lambda to: to.rows("PRAGMA max_page_count = 20"))
        limit.result()
        big = begin(store, "two", arguments=b"x" * 200_000)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            big.result()
        assert store.info("one") is not None and store.info("two") is None
        assert start(store, "three")
    finally:
        store.close()


def test_what_is_no_database(tmp_path):
    path = tmp_path / "text"
    path.write_text("this is text, and longer than the header of a database" * 20)
    with pytest.raises(sqlite3.DatabaseError):
        Store(SQLite(path))
