"""The lab: programs written for threads, unedited, with real servers, on tasklets and on threads.

Each does 200 operations at once that wait in a server. `make lab` prints a table at the end.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import servers

sys.path.append(str(Path(__file__).parent / "programs"))
sys.path.append(str(Path(__file__).parents[1] / "sockets"))
import at_once  # noqa: E402
import certificates  # noqa: E402

PROGRAMS = Path(__file__).parent / "programs"
RUN = ["-m", "stackless", "run"]
#: Threads need less than this part of the sum of all waits, and so must tasklets.
PART = 1 / 5


class Row(NamedTuple):
    """A line of the table; seconds."""

    library: str
    server: str
    wall: float
    threads: float
    before: int
    after: int


def table(rows):
    """Return the lines of the table."""
    head = f"{'library':22}{'server':22}{'operations':>11}{'waits':>8}{'wall':>8}{'threads':>9}"
    lines = [head + f"{'descriptors':>13}"]
    for row in rows:
        waits = at_once.COUNT * at_once.WAIT
        line = (
            f"{row.library:22}{row.server:22}{at_once.COUNT:>11}{waits:>6.1f} s{row.wall:>6.2f} s"
        )
        lines.append(line + f"{row.threads:>7.2f} s{row.before:>8} ->{row.after:>3}")
    return lines


def run(program, arguments, *before):
    """Run a program; return what it prints."""
    command = [sys.executable, *before, str(PROGRAMS / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and not done.stderr, done.stderr[-5000:]
    return json.loads(done.stdout)


def check(lab_rows, library, server, program, *arguments):
    """Run a program on tasklets and on threads, and compare."""
    ours, threads = run(program, arguments, *RUN), run(program, arguments)
    assert ours["right"] == threads["right"] == at_once.COUNT
    assert ours["wall"] < at_once.COUNT * at_once.WAIT * PART
    assert ours["after"] <= max(ours["before"] + 5, threads["after"])
    assert ours["grown"] < 32 * 1024
    row = Row(library, server, ours["wall"], threads["wall"], ours["before"], ours["after"])
    lab_rows.append(row)


@contextlib.contextmanager
def started(program, *arguments, before=()):
    """Run a program that is a server; gives its port and process id."""
    port = servers.free_port()
    command = [sys.executable, *before, str(PROGRAMS / program), str(port), *map(str, arguments)]
    with servers.running(command, port) as server:
        yield port, server.pid


@pytest.fixture(scope="session")
def http_port():
    with started("http_server.py") as (port, _):
        yield port


def test_requests(lab_rows, http_port):
    check(lab_rows, "requests", "http.server", "use_requests.py", http_port)


def test_httpx(lab_rows, http_port):
    check(lab_rows, "httpx", "http.server", "use_httpx.py", http_port)


def test_urllib3_with_tls(lab_rows, tmp_path):
    authority, server = certificates.make(tmp_path)
    with started("http_server.py", server) as (port, _):
        check(lab_rows, "urllib3", "http.server with TLS", "use_urllib3.py", port, authority)


def test_redis(lab_rows, redis_port):
    pytest.importorskip("redis")
    check(lab_rows, "redis-py", "Redis", "use_redis.py", redis_port)


@pytest.mark.parametrize("library", ["psycopg", "psycopg2", "pg8000"])
def test_postgresql(lab_rows, postgresql_port, library):
    pytest.importorskip(library)
    check(lab_rows, library, "PostgreSQL", f"use_{library}.py", postgresql_port)


def test_pymysql(lab_rows, mariadb_port):
    pytest.importorskip("pymysql")
    check(lab_rows, "PyMySQL", "MariaDB", "use_pymysql.py", mariadb_port)


def test_sqlalchemy_with_postgresql(lab_rows, postgresql_port):
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("pg8000")
    url = f"postgresql+pg8000://postgres@127.0.0.1:{postgresql_port}/postgres"
    function = "cast(pg_sleep(:wait) as text)"
    check(lab_rows, "SQLAlchemy, pg8000", "PostgreSQL", "use_sqlalchemy.py", url, function)


def test_sqlalchemy_with_mariadb(lab_rows, mariadb_port):
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("pymysql")
    url = f"mysql+pymysql://lab@127.0.0.1:{mariadb_port}/lab"
    check(lab_rows, "SQLAlchemy, PyMySQL", "MariaDB", "use_sqlalchemy.py", url, "sleep(:wait)")


def test_pika(lab_rows, rabbitmq_port):
    pytest.importorskip("pika")
    check(lab_rows, "pika", "RabbitMQ", "use_pika.py", rabbitmq_port)


def ask(port, number):
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    ) as connection:
        connection.request("GET", f"/{number}?{at_once.WAIT}")
        return connection.getresponse().read() == f"/{number}".encode()


def serve_clients(program, *before):
    """Ask a server many times at once: the seconds, right answers, descriptors before and after."""
    with started(program, before=before) as (port, pid):
        folder = f"/proc/{pid}/fd"
        ask(port, 0)
        first = len(os.listdir(folder))
        with ThreadPoolExecutor(at_once.COUNT) as pool:
            began = time.perf_counter()
            right = list(pool.map(ask, [port] * at_once.COUNT, range(at_once.COUNT))).count(True)
            wall = time.perf_counter() - began
        end = time.monotonic() + 30
        while (last := len(os.listdir(folder))) > first + 1 and time.monotonic() < end:
            time.sleep(0.05)  # the server closes its connections after the clients
    return wall, right, first, last


@pytest.mark.parametrize("library", ["flask", "django"])
def test_development_server(lab_rows, library):
    """Its threads are tasklets; each request has its own values where the framework keeps them."""
    pytest.importorskip(library)
    program = f"{library}_server.py"
    wall, right, before, after = serve_clients(program, *RUN)
    threads, *_ = serve_clients(program)
    assert right == at_once.COUNT and after <= before + 1
    assert wall < at_once.COUNT * at_once.WAIT * PART
    row = Row(library.title(), "its development server", wall, threads, before, after)
    lab_rows.append(row)
