"""Stores under bad conditions: a full disk, clocks that are set, workers of several versions."""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import databases
import orders
import pytest
from durable_waits import until, wait_for
from forked_workers import forge
from serving_thread import working
from stackless import durable
from stackless.durable.store.sql import Store
from stackless.durable.store.sqlite import SQLite

KEY = b"a key of the tests"


# ------------------------------------------------------------------ a full disk


@pytest.fixture
def small_disk():
    """A folder for 16 MB; skips the test where it cannot be made."""
    with tempfile.TemporaryDirectory(prefix="small") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder]
        if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("a tmpfs cannot be mounted: that needs root, and CAP_SYS_ADMIN")
        yield Path(folder)
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url_on_a_small_disk(request, small_disk):
    """A store whose tables are on the small disk; with PostgreSQL its log is elsewhere."""
    if request.param == "sqlite":
        yield f"sqlite:///{small_disk}/durable.db"
        return
    server = request.getfixturevalue("postgresql")
    user = databases.servers.unprivileged()
    os.chmod(small_disk, 0o755)  # the server runs as another user
    tables = small_disk / "tables"
    tables.mkdir()
    os.chown(tables, user["user"], user["group"])
    url = databases.url(server)
    with contextlib.closing(databases.psycopg().connect(url, autocommit=True)) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{tables}'")
        yield f"{url}%20-cdefault_tablespace%3Dsmall"
        schema = connection.execute("SELECT current_schema()").fetchone()[0]
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.execute("DROP TABLESPACE small")


def fill(path):
    """Write a file until there is no room, with few calls: a worker runs meanwhile."""
    size = 1 << 20
    with open(path, "wb", buffering=0) as file:
        while size >= 512:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


def test_a_full_disk(url_on_a_small_disk, small_disk, tmp_path, monkeypatch, caplog):
    """What cannot be written is an error, and is done again when there is room."""
    monkeypatch.setenv("LEDGER", f"{tmp_path}/ledger")
    app = durable.App("tests", url_on_a_small_disk, key=KEY)
    orders.done.clear()
    filler = small_disk / "filler"
    try:
        with working(app):
            handles = [app.start(orders.counted, number) for number in range(4)]
            wait_for(lambda: orders.done)
            fill(filler)
            wait_for(lambda: caplog.records)
            with pytest.raises(app._store.errors):
                for number in range(1000):  # more than there is on the disk, and not compressible
                    app.start(orders.empty, os.urandom(20_000), id=f"more {number}")
            filler.unlink()
            before = len(orders.done)
            wait_for(lambda: len(orders.done) > before + 100)
            (tmp_path / "ledger.over").touch()
            counts = [handle.result(60) for handle in handles]
            assert app.run(orders.empty, 3) == 3
    finally:
        app.close()
    full = ("disk is full", "disk I/O error", "No space left on device")
    assert any(each in caplog.text for each in full)
    assert set(orders.done) == {("charge", n, step) for n in range(4) for step in range(counts[n])}
    tries = sum("is tried again" in each for each in caplog.messages)
    assert len(orders.done) <= sum(counts) + 4 * tries


# ------------------------------------------------------------------ clocks


def test_a_clock_that_is_set_forward_and_back(tmp_path):
    """Two workers lose their leases again and again; every workflow ends as it should.

    A step may be done by both workers then, and is recorded once.
    """
    chance = random.Random(7)
    shift = [0.0]

    def clock():
        return time.time() + shift[0]

    apps = []
    for _ in range(2):
        apps.append(durable.App("tests", f"sqlite:///{tmp_path}/durable.db", key=KEY))
        apps[-1]._store.close()
        apps[-1]._store = Store(SQLite(tmp_path / "durable.db", clock))
    orders.done.clear()
    try:
        with working(apps[0]), working(apps[1]):
            handles = [apps[0].start(orders.many, number, 60) for number in range(20)]
            for _ in range(30):
                time.sleep(0.02)
                shift[0] += chance.choice((3600.0, -3600.0, 45.0, -45.0))
            shift[0] = 1e6  # what fell asleep in the future wakes
            assert [handle.result(60) for handle in handles] == [3540] * 20
            for handle in handles:
                steps = [each.number for each in handle.steps()]
                assert steps == list(range(1, len(steps) + 1))
    finally:
        for each in apps:
            each.close()
    assert set(orders.done) == {("charge", n, step) for n in range(20) for step in range(60)}


# ------------------------------------------------------------------ versions


def test_workers_of_two_versions(url, monkeypatch):
    """Each continues what it can load; what neither has begun is for both."""
    from stackless.durable import app as module

    mine = module.this_python()
    apps = {}
    for version in ("old", "new"):
        monkeypatch.setattr(module, "this_python", lambda v=version: f"{mine} {v}")
        apps[version] = durable.App("tests", url, key=KEY)
    gone = threading.Event()

    def serve(version):
        monkeypatch.setattr(module, "this_python", lambda: f"{mine} {version}")
        return working(apps[version])

    try:
        handles = {}
        for version, app in apps.items():
            with serve(version):
                handles[version] = until(app.start(orders.approval, version), "waiting")
        for each in handles.values():
            each.send("approval", "no")
        with serve("new"):
            assert handles["new"].result(60)[1] == "no"
            gone.wait(0.3)
            assert handles["old"].status() == "waiting"
            stuck = apps["new"].workflows(stuck=True)
            assert [each.id for each in stuck] == [handles["old"].id]
            assert apps["old"].start(orders.empty, 5).result(60) == 5  # it has no snapshot
        with serve("old"):
            assert handles["old"].result(60)[1] == "no"
    finally:
        for app in apps.values():
            app.close()


def other_python():
    """Another Python that has this package, of the environments beside this one."""
    here = sys.version_info[:2]
    check = "import json, sys, stackless, psycopg; print(json.dumps(sys.version_info[:2]))"
    for python in sorted(Path(databases.ROOT, ".venv").glob("*/bin/python")):
        done = subprocess.run([python, "-c", check], capture_output=True, text=True)
        if done.returncode == 0 and tuple(json.loads(done.stdout)) != here:
            return str(python)
    pytest.skip("no environment of another Python is here: `make build PYTHON=...` makes one")


def test_workers_of_two_pythons(url, tmp_path):
    """At once, on the same store: both kinds of workflows end."""
    python, ledger = other_python(), tmp_path / "ledger"
    app = durable.App("tests", url, key=KEY)
    try:
        with forge(ledger) as these, forge(tmp_path / "others", python=python) as those:
            workers = [made.begin(url) for made in (these, those)]
            try:
                handles = [app.start(orders.many, number, 20) for number in range(60)]
                while {None} | {each.worker for each in app.workflows(limit=60)} == {None}:
                    time.sleep(0.001)
                assert [handle.result(60) for handle in handles] == [380] * 60
            finally:
                for each in workers:
                    each.kill()
    finally:
        app.close()
    lines = [
        line
        for file in (ledger, tmp_path / "others")
        if file.exists()
        for line in file.read_text().splitlines()
    ]
    assert len(lines) == len(set(lines)) == 1200
