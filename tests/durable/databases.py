"""PostgreSQL for the tests of durable workflows: installed if we may, and started once."""

import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "libraries"))

import servers  # noqa: E402

_numbers = itertools.count(1)


def psycopg():
    """The module psycopg; the test is skipped without it."""
    return pytest.importorskip(
        "psycopg", reason="psycopg 3 cannot be imported", exc_type=ImportError
    )


def cluster(folder):
    """A cluster of PostgreSQL that is not running; the test is skipped where there can be none."""
    psycopg()
    subprocess.run([ROOT / "tools" / "check-servers", "postgresql"], check=False)
    return servers.PostgreSQL(folder)


@contextlib.contextmanager
def postgresql():
    """A server that runs until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="postgresql") as folder:
        server = cluster(folder)
        with server.running():
            yield server


def _connected(where):
    """A connection; a server that has just begun to listen may refuse it for a while."""
    end = time.monotonic() + 30
    while True:
        try:
            return psycopg().connect(where, autocommit=True)
        except psycopg().OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def url(server, port=None):
    """The URL of a store with tables of its own in a server."""
    schema = f"tests{next(_numbers)}"
    where = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
    with _connected(where) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    connection.close()
    where = where.replace(str(server.port), str(port or server.port))
    return f"{where}?options=-csearch_path%3D{schema}"
