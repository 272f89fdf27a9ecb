"""The stores in SQLite and PostgreSQL: claims, leases, fencing tokens, messages, group commit."""

import subprocess
import sys
import threading
import time

import pytest
from stackless.durable import DurableError, LeaseLost, NoSuchWorkflow
from stackless.durable.records import (
    DONE,
    FAILED,
    READY,
    RUNNING,
    SLEEPING,
    STUCK,
    WAITING,
    Save,
    Wanted,
    Worker,
)
from stackless.durable.store import open_store
from stackless.durable.store.processes import process_began
from stackless.durable.store.schema import MIGRATIONS
from store_calls import begin, claimed, joined, snapshot, start, step, worker

# ------------------------------------------------------------------ workflows and claims


def test_a_workflow_is_started_once(store, clock):
    assert start(store, "one") is True
    assert start(store, "one") is False
    info = store.info("one")
    assert (info.status, info.begun, info.steps, info.due) == (READY, False, 0, clock.time)
    assert (info.function, info.snapshot, info.python) == ("module:function", None, "py")
    assert store.info("another") is None


def test_claims_are_in_order_and_only_what_the_worker_can_load(store, clock):
    who = joined(store)
    for number, (app, python) in enumerate([("app", "py"), ("other", "py"), ("app", "older")] * 2):
        clock.time += 1
        start(store, f"{number}", app=app, python=python)
    assert [each.id for each in claimed(store, who, 1)] == ["0"]
    assert [each.id for each in claimed(store, who)] == ["3"]
    assert claimed(store, who) == []
    assert store.info("0").status == RUNNING and store.info("0").worker == "w"


def test_a_worker_without_a_lease_claims_nothing(store):
    with pytest.raises(LeaseLost):
        claimed(store, worker())


def test_due_times(store, clock):
    who = joined(store)
    start(store, "one")
    (claim,) = claimed(store, who)
    store.save(
        Save("one", claim.token, SLEEPING, snapshot(b"asleep"), due=clock.time + 60)
    ).result()
    assert store.next_due("app", "py")[0] == clock.time + 60
    assert claimed(store, who) == []
    clock.time += 20
    store.join(who, 60).result()
    clock.time += 40
    (claim,) = claimed(store, who)
    assert (claim.snapshot, claim.arguments, claim.token) == (b"asleep", b"arguments", 2)
    assert store.next_due("app", "py")[0] is None


def test_a_worker_that_goes_leaves_its_workflows(store):
    who, other = joined(store), joined(store, "other")
    start(store, "one")
    claimed(store, who)
    store.leave(who).result()
    assert [each.token for each in claimed(store, other)] == [2]


def test_a_lease_that_is_over(store, clock):
    """The old worker's writes are refused, also after it has a lease again."""
    old, new = joined(store), joined(store, "new", lease=1000)
    start(store, "one")
    (before,) = claimed(store, old)
    clock.time += 31
    (after,) = claimed(store, new)
    assert after.token == before.token + 1
    store.join(old, 30).result()
    with pytest.raises(LeaseLost):
        store.save(Save("one", before.token, DONE, result=b"wrong")).result()
    assert store.info("one").status == RUNNING and store.steps("one") == []
    store.save(Save("one", after.token, DONE, result=b"right")).result()
    assert store.info("one").result == b"right"
    with pytest.raises(LeaseLost):
        store.save(Save("one", after.token, DONE, result=b"twice")).result()


def test_a_lease_that_is_over_and_nobody_has_the_workflow_yet(store, clock):
    old, new = joined(store), joined(store, "new", lease=1000)
    start(store, "one")
    (claim,) = claimed(store, old)
    clock.time += 31
    assert claimed(store, new, 0) == []
    with pytest.raises(LeaseLost):
        store.save(Save("one", claim.token, RUNNING, snapshot(b"late"))).result()


def test_a_process_that_has_ended_has_no_lease(store):
    """Before its time is over, if it was on this machine."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        dead, new = joined(store, "dead", pid=child.pid), joined(store, "new")
        elsewhere = joined(store, "far", pid=child.pid, machine="another machine")
        start(store, "one")
        claimed(store, dead)
        start(store, "two")
        claimed(store, elsewhere)
        assert claimed(store, new) == []
        child.kill()
        while process_began(child.pid) is not None:  # it is not waited for: a zombie
            time.sleep(0.01)
        assert [each.id for each in claimed(store, new)] == ["one"]
    finally:
        child.kill()
        child.communicate()


def test_a_process_number_that_is_used_again(store):
    """Another process has it now: it began at another time."""
    mine = worker("old")
    old = Worker("old", "app", mine.machine, mine.pid, mine.began - 1, "py")
    store.join(old, 30).result()
    start(store, "one")
    with pytest.raises(LeaseLost):
        claimed(store, old)
    assert len(claimed(store, joined(store, "new"))) == 1


# ------------------------------------------------------------------ what is saved


def test_a_save_is_whole(store, clock):
    who = joined(store)
    start(store, "one")
    (claim,) = claimed(store, who)
    code = ((b"d" * 16, b"data"),)
    store.save(
        Save("one", claim.token, RUNNING, snapshot(b"snap"), records=(step(1),), code=code)
    ).result()
    assert store.steps("one") == [step(1).step] and store.code(b"d" * 16) == b"data"
    info = store.info("one")
    assert (info.steps, info.snapshot, info.worker, info.begun) == (1, b"snap", "w", True)
    again = Save("one", claim.token, RUNNING, snapshot(b"other"), records=(step(1),), code=code)
    with pytest.raises(store.errors):
        store.save(again).result()
    assert store.info("one").snapshot == b"snap"
    store.save(Save("one", claim.token, STUCK, error="why")).result()
    info = store.info("one")
    assert (info.status, info.error, info.snapshot, info.worker) == (STUCK, "why", b"snap", None)
    assert store.code(b"another digest..") is None
    assert [each.id for each in store.infos("app", STUCK, 5)] == ["one"]
    assert store.infos("app", DONE, 5) == store.infos("other", None, 5) == []


def test_messages(store, clock):
    who = joined(store)
    start(store, "one")
    with pytest.raises(NoSuchWorkflow):
        store.send("nobody", "topic", b"1").result()
    for value in (b"1", b"2"):
        store.send("one", "topic", value).result()
    (claim,) = claimed(store, who)
    first = store.message("one", "topic")
    assert first.value == b"1" and store.message("one", "another") is None
    store.save(Save("one", claim.token, RUNNING, snapshot(b"s"), received=first.number)).result()
    assert store.message("one", "topic").value == b"2"
    with pytest.raises(DurableError, match="already"):
        store.save(
            Save("one", claim.token, RUNNING, snapshot(b"t"), received=first.number)
        ).result()
    assert store.info("one").snapshot == b"s"
    store.save(Save("one", claim.token, WAITING, snapshot(b"w"), topic="another")).result()
    assert store.next_due("app", "py")[0] is None
    store.send("one", "third", b"3").result()
    assert claimed(store, who) == []
    store.send("one", "another", b"4").result()
    (claim,) = claimed(store, who)
    store.save(Save("one", claim.token, FAILED, error="text")).result()
    assert store.message("one", "topic") is None
    with pytest.raises(DurableError, match="ended"):
        store.send("one", "topic", b"5").result()


def test_a_message_that_came_before_the_wait_was_written(store):
    who = joined(store)
    start(store, "one")
    (claim,) = claimed(store, who)
    store.send("one", "topic", b"1").result()
    store.save(Save("one", claim.token, WAITING, snapshot(b"w"), topic="topic")).result()
    assert len(claimed(store, who)) == 1


# ------------------------------------------------------------------ the writer


def test_operations_are_committed_together_and_fail_alone(store):
    """The first waits until all are there; one in the middle fails."""
    begun, go = threading.Event(), threading.Event()

    def block(to):
        begun.set()
        go.wait()

    def insert(number):
        def write(to):
            made = to.run("INSERT INTO durable_code VALUES (?, ?, 0)", b"%d" % number, b"")
            if number == 3:
                raise ZeroDivisionError
            return made

        return write

    first = store._write(block)
    begun.wait()
    futures = [store._write(insert(number)) for number in range(6)]
    assert not any(future.done() for future in futures)
    go.set()
    first.result()
    assert [type(future.exception()).__name__ for future in futures] == [
        "ZeroDivisionError" if number == 3 else "NoneType" for number in range(6)
    ]
    found = store._read("SELECT digest FROM durable_code ORDER BY digest")
    assert found == [(b"%d" % number,) for number in (0, 1, 2, 4, 5)]
    assert not futures[0].cancel()


def test_after_close_nothing_is_written(url):
    store = open_store(url)
    futures = [begin(store, f"{n}") for n in range(50)]
    store.close()
    store.close()
    assert all(future.result() for future in futures)
    with pytest.raises(RuntimeError, match="closed"):
        begin(store, "late")


# ------------------------------------------------------------------ migrations


def test_two_processes_make_one_database(url):
    made = []
    threads = [threading.Thread(target=lambda: made.append(open_store(url))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == 4
    for each in made:
        assert each._read("SELECT version FROM durable_version") == [(len(MIGRATIONS),)]
        each.close()


def test_a_database_of_a_later_release(url):
    store = open_store(url)
    store._write(lambda to: to.run("UPDATE durable_version SET version = version + 1")).result()
    store.close()
    with pytest.raises(DurableError, match="version"):
        open_store(url)


# ------------------------------------------------------------------ saves of several workflows


def test_saves_of_a_group_fail_alone(store):
    """One whose claim is over, one that repeats a step, one whose message is gone."""
    who = joined(store)
    for id in "abcde":
        start(store, id)
    tokens = {each.id: each.token for each in claimed(store, who)}
    store.save(Save("b", tokens["b"], RUNNING, snapshot(b"b"), records=(step(1),))).result()
    saves = [
        Save("a", tokens["a"] + 1, RUNNING, snapshot(b"lost"), records=(step(1),)),
        Save("b", tokens["b"], RUNNING, snapshot(b"twice"), records=(step(1),)),
        Save("c", tokens["c"], DONE, result=b"c", records=(step(1),)),
        Save("d", tokens["d"], RUNNING, snapshot(b"gone"), received=77),
        Save("e", tokens["e"], RUNNING, snapshot(b"e"), records=(step(1), step(2))),
    ]
    found = store.save_all(saves).result()
    assert [type(each).__name__ for each in found[2:]] == ["Wanted", "DurableError", "Wanted"]
    assert isinstance(found[0], LeaseLost) and isinstance(found[1], store.errors)
    assert [store.info(id).snapshot for id in "abcde"] == [None, b"b", None, None, b"e"]
    assert [len(store.steps(id)) for id in "abcde"] == [0, 1, 1, 0, 2]
    assert store.info("c").status == DONE


def test_what_is_wanted_of_workflows_of_a_group(store):
    """Each save returns what was asked of its workflow."""
    who = joined(store)
    for id in "abc":
        start(store, id)
    tokens = {each.id: each.token for each in claimed(store, who)}
    store.pause("b").result()
    store.cancel("c").result()
    saves = [Save(id, tokens[id], RUNNING, snapshot(b"s"), records=(step(1),)) for id in "abc"]
    found = store.save_all(saves).result()
    assert found == [Wanted(), Wanted(pause=True), Wanted(cancel=True)]
    raised = Save("c", tokens["c"], RUNNING, records=(step(2),), cancelled=True)
    assert store.save(raised).result() == Wanted()
    assert store.save(Save("b", tokens["b"], SLEEPING, due=0.0)).result() is not None
    assert store.info("b").status == "paused" and claimed(store, who) == []
