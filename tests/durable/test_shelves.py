"""Shelves: named bytes in a store, for one process at a time."""

import time

import pytest
import stackless
from stackless import durable


@pytest.fixture
def open_shelf(url):
    made = []

    def make(name="tests", **options):
        made.append(durable.Shelf(name, url, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_is_kept(url):
    shelf = durable.Shelf("tests", url)
    assert (shelf.token, shelf.items()) == (1, [])
    shelf.put("b", b"\0two")
    shelf.put("a", b"one")
    shelf.put("a", b"new")
    shelf.put("c", bytes(100_000))
    shelf.remove("c")
    shelf.remove("none")
    assert shelf.items() == [("a", b"new"), ("b", b"\0two")]
    shelf.put("z", b"three", instead_of="a")
    shelf.close()
    again = durable.Shelf("tests", url)
    assert (again.token, again.items()) == (2, [("b", b"\0two"), ("z", b"three")])
    again.close()


def test_shelves_are_apart(open_shelf):
    one, other = open_shelf("one"), open_shelf("other")
    one.put("key", b"1")
    other.put("key", b"2")
    other.remove("missing")
    assert (one.items(), other.items()) == ([("key", b"1")], [("key", b"2")])


def test_one_process_has_it(open_shelf):
    first = open_shelf()
    before = time.monotonic()
    with pytest.raises(TimeoutError, match="'tests' belongs to the process"):
        open_shelf(timeout=0.3)
    assert time.monotonic() - before >= 0.3
    first.put("key", b"value")


def test_a_lease_that_is_over(open_shelf):
    """The later one has a higher token, and the earlier one changes nothing any more."""
    first = open_shelf(lease=0.2)
    first.put("key", b"first")
    second = open_shelf(timeout=60)
    assert (first.token, second.token) == (1, 2)
    for call in (
        lambda: first.put("key", b"late"),
        lambda: first.put("other", b"late", instead_of="key"),
        lambda: first.remove("key"),
        first.items,
        first.renew,
    ):
        with pytest.raises(durable.LeaseLost, match="'tests'"):
            call()
    assert second.items() == [("key", b"first")]
    first.close()
    with pytest.raises(TimeoutError):
        open_shelf()


def test_renewing_and_changes_keep_it(open_shelf):
    shelf = open_shelf(lease=1.5)
    for n in range(6):
        time.sleep(0.4)
        if n % 2:
            shelf.renew()
        else:
            shelf.put("key", b"value")
        with pytest.raises(TimeoutError):
            open_shelf()


def test_only_the_calling_tasklet_waits(open_shelf):
    shelf, done = open_shelf(), []

    def keep(n):
        shelf.put(str(n), b"x")
        done.append(n)

    for each in [stackless.tasklet(keep)(n) for n in range(20)]:
        each.join()
    assert sorted(done) == list(range(20)) and len(shelf.items()) == 20


def test_wrong_arguments(url):
    with pytest.raises(TypeError, match="name of a shelf"):
        durable.Shelf(3, url)
    with pytest.raises(ValueError, match="lease"):
        durable.Shelf("tests", url, lease=0)
    with pytest.raises(ValueError, match="a store is"):
        durable.Shelf("tests", "mysql://x")
