"""What only the store in PostgreSQL does: lost connections, notifications, its clock."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time

import databases
import orders
import pytest
from durable_waits import wait_for
from proxy import Proxy
from serving_thread import working
from stackless import durable
from stackless.durable.records import RUNNING, WAITING, Save
from stackless.durable.store import open_store
from store_calls import begin, claimed, joined, snapshot, start, step

psycopg = databases.psycopg()


@pytest.fixture
def proxy(postgresql):
    made = Proxy(postgresql.port)
    yield made
    made.close()


@pytest.fixture
def direct(postgresql):
    """The URL of a store."""
    return databases.url(postgresql)


@pytest.fixture
def url(direct, postgresql, proxy):
    """The URL of the same store by the proxy."""
    return direct.replace(str(postgresql.port), str(proxy.port))


@pytest.fixture
def store(url):
    made = open_store(url)
    yield made
    made.close()


@contextlib.contextmanager
def administrator(direct):
    with contextlib.closing(psycopg.connect(direct, autocommit=True)) as connection:
        yield connection


def terminate(direct, who=""):
    """Let the server end the connections of stores; return how many."""
    with administrator(direct) as connection:
        return connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name LIKE %s",
            (f"stackless durable {who}%",),
        ).fetchone()[0]


def count(store, table):
    return store._read(f"SELECT count(*) FROM durable_{table}")[0][0]


# ------------------------------------------------------------------ lost connections


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_is_lost_is_done_once(store, proxy, when):
    """If its answer was lost it is not done again; if it did not arrive it is."""
    who = joined(store)
    start(store, "one")
    (claim,) = claimed(store, who)
    for number in range(1, 6):
        proxy.at_commit = when
        store.send("one", "topic", b"%d" % number).result()
        proxy.at_commit = when
        save = Save("one", claim.token, RUNNING, snapshot(b"s"), records=(step(number),))
        store.save(save).result()
    assert proxy.lost == 10
    assert count(store, "messages") == 5 and len(store.steps("one")) == 5
    proxy.at_commit = when
    assert start(store, "two") is True and start(store, "two") is False


def test_a_group_whose_commit_is_lost_is_done_once(store, proxy):
    start(store, "one")
    for when in ("before", "after") * 5:
        proxy.at_commit = when
        futures = [store.send("one", "topic", b"") for _ in range(20)]
        futures.append(store.send("nobody", "topic", b""))
        for each in futures[:-1]:
            each.result()
        with pytest.raises(durable.NoSuchWorkflow):
            futures[-1].result()
    assert proxy.lost == 10 and count(store, "messages") == 200


def test_who_starts_workflows_does_not_wait_for_a_worker(store):
    """A transaction of the worker is under way."""
    begun, go = threading.Event(), threading.Event()

    def write(to):
        begun.set()
        assert go.wait(60)

    worker = store._write(write)
    try:
        assert begun.wait(60)
        assert start(store, "one") is True
        assert not worker.done() and store.info("one").status == "ready"
    finally:
        go.set()
    worker.result()
    assert count(store, "writers") == 2


def test_connections_that_are_cut_between_operations(store, proxy, direct):
    for number in range(10):
        assert start(store, f"{number}") is True
        assert store.info(f"{number}").status == "ready"
        proxy.cut() if number % 2 else terminate(direct)
    assert count(store, "workflows") == 10
    assert count(store, "writers") == 1


def test_a_server_that_is_away_for_a_while(store, proxy):
    """Who asks waits until it is there again."""
    start(store, "one")
    proxy.refusing = True
    proxy.cut()
    threading.Timer(0.5, setattr, (proxy, "refusing", False)).start()
    future = store.send("one", "topic", b"")
    assert store.info("one").id == "one"
    future.result()
    assert count(store, "messages") == 1


def test_a_server_that_stays_away(url, proxy):
    """After a time it is an error; when the server is back, the store works again."""
    from stackless.durable.store.postgres import Postgres
    from stackless.durable.store.sql import Store

    store = Store(Postgres(url, patience=0.2))
    try:
        start(store, "one")
        store.send("one", "before", b"0").result()
        proxy.at_commit = "before"
        proxy.refusing = True
        lost = store.send("one", "topic", b"1")
        with pytest.raises(durable.DurableError, match="not known"):
            lost.result()
        with pytest.raises(psycopg.OperationalError):
            store.send("one", "topic", b"2").result()
        with pytest.raises(psycopg.OperationalError):
            store.info("one")
        proxy.refusing = False
        store.send("one", "topic", b"3").result()
        assert store.message("one", "topic").value == b"3"
    finally:
        store.close()


def test_what_a_dead_writer_has_locked_is_free_again(store, direct, proxy):
    """Its connection still lives on the server, as that has not noticed."""
    start(store, "one")
    tries = []

    def lock(to):
        found = to.run("UPDATE durable_workflows SET topic = ? WHERE id = ?", "locked", "one")
        if not tries:
            tries.append(found)
            proxy.abandon()
        return found

    assert store._write(lock).result() == 1 and tries == [1]
    assert store.info("one").topic == "locked"
    with administrator(direct) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
        )
        assert found.fetchone() == (0,)


def test_transactions_in_the_way_of_one_another(url, direct):
    """The server ends one of two that wait for each other: it is done again."""
    stores = [open_store(direct), open_store(direct)]
    try:
        for id in ("a", "b"):
            start(stores[0], id)
        barrier = threading.Barrier(2)
        tries = []

        def both(order):
            def write(to):
                tries.append(order)
                for number, id in enumerate(order):
                    to.run("UPDATE durable_workflows SET steps = steps + 1 WHERE id = ?", id)
                    if number == 0 and len(tries) <= 2:
                        barrier.wait(30)

            return write

        futures = [
            store._write(both(order)) for store, order in zip(stores, ["ab", "ba"], strict=True)
        ]
        for each in futures:
            each.result(60)
        assert [each.steps for each in stores[0].infos("app", None, 9)] == [2, 2]
        assert len(tries) >= 3  # more, if the one that was ended is back before the other continues
    finally:
        for each in stores:
            each.close()


# ------------------------------------------------------------------ several processes


def test_workers_of_several_processes_claim_different_workflows(direct):
    stores = [open_store(direct) for _ in range(4)]
    try:
        for number in range(200):
            begin(stores[0], f"{number}")
        start(stores[0], "last")
        found = [[] for _ in stores]

        def claim(store, mine):
            who = joined(store, f"{id(store)}")
            while some := claimed(store, who, 7):
                mine.extend(each.id for each in some)

        threads = [
            threading.Thread(target=claim, args=pair) for pair in zip(stores, found, strict=True)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        ids = [id for mine in found for id in mine]
        assert len(ids) == len(set(ids)) == 201
    finally:
        for each in stores:
            each.close()


def test_a_message_that_comes_while_the_wait_is_written(direct):
    """Whichever is first, the workflow is due afterwards."""
    worker, client = open_store(direct), open_store(direct)
    try:
        who = joined(worker)
        for number in range(100):
            start(worker, f"{number}")
            (claim,) = claimed(worker, who)
            save = Save(claim.id, claim.token, WAITING, snapshot(b"w"), topic="topic")
            futures = [worker.save(save), client.send(claim.id, "topic", b"1")]
            for each in futures:
                each.result()
            (claim,) = claimed(worker, who)
            worker.save(Save(claim.id, claim.token, "done", result=b"")).result()
    finally:
        worker.close()
        client.close()


def test_a_worker_is_notified(direct, monkeypatch):
    """Without looking; and again after its connection was cut."""
    from stackless.durable.store import postgres

    monkeypatch.setattr(postgres.Postgres, "poll", 600.0)
    apps = [durable.App("tests", direct, key=b"k") for _ in range(2)]
    try:
        with working(apps[0]):
            assert apps[1].start(orders.empty, 1).result(60) == 1
            ears = apps[0]._store._database._ears
            wait_for(lambda: ears.listening)
            first = ears._connection
            assert terminate(direct, "listener") >= 1
            wait_for(lambda: ears._connection is not first)
            handle = apps[1].start(orders.approval, 2)
            for topic in ("approval", "more", "more"):
                handle.send(topic, "yes")
            assert handle.result(60) == (2, "yes", ["yes", "yes"])
    finally:
        for each in apps:
            each.close()


def test_the_time_is_that_of_the_server(direct, monkeypatch):
    """The clock of this machine is set forward and back."""
    store = open_store(direct)
    try:
        who = joined(store)
        with administrator(direct) as connection:
            query = "SELECT extract(epoch FROM clock_timestamp())::float8"
            for shift in (86400, -86400):
                monkeypatch.setattr(time, "time", lambda now=time.time, by=shift: now() + by)
                (server,) = connection.execute(query).fetchone()
                assert abs(store.now() - server) < 600
                start(store, f"{shift}")
                assert abs(store.info(f"{shift}").created - server) < 600
        assert len(claimed(store, who)) == 2
    finally:
        store.close()


# ------------------------------------------------------------------ with a worker


def test_a_worker_whose_connections_are_cut(direct, url, proxy):
    """No step is done twice: what was not committed is written again."""
    app = durable.App("tests", url, key=b"k")
    orders.done.clear()
    try:
        with working(app):
            handles = [app.start(orders.many, number, 20) for number in range(20)]
            for number in range(30):
                time.sleep(0.02)
                if number % 3 == 0:
                    proxy.cut()
                elif number % 3 == 1:
                    terminate(direct)
                else:
                    proxy.at_commit = ("before", "after")[number % 2]
            assert [handle.result(60) for handle in handles] == [380] * 20
    finally:
        app.close()
    assert len(orders.done) == len(set(orders.done)) == 400


def test_a_server_that_is_started_again():
    """Three times while a worker runs; it continues, and no step is done twice."""
    with tempfile.TemporaryDirectory(prefix="postgresql") as folder:
        server = databases.cluster(folder)
        with server.running():
            url = databases.url(server)
            app = durable.App("tests", url, key=b"k")
            orders.done.clear()
        try:
            with contextlib.ExitStack() as until:
                with server.running():
                    until.enter_context(working(app))
                    handles = [app.start(orders.many, number, 40) for number in range(10)]
                    while not orders.done:
                        time.sleep(0.001)
                for _ in range(2):
                    with server.running():
                        time.sleep(0.1)
                with server.running():
                    assert [handle.result(60) for handle in handles] == [1560] * 10
                    until.close()
        finally:
            with server.running():
                app.close()
    assert len(orders.done) == len(set(orders.done)) == 400


def test_a_store_that_cannot_be_opened(direct):
    with pytest.raises(psycopg.OperationalError):
        durable.App("tests", "postgresql://127.0.0.1:1/nothing", key=b"k")


def test_without_psycopg():
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from stackless import durable\n"
        "durable.App('x', 'postgresql://127.0.0.1/x', key=b'k')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ
    )
    assert "ImportError" in done.stderr and "durable-postgres" in done.stderr
