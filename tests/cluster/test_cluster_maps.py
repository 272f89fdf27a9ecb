"""map(): calls spread over the workers."""

import cluster_programs as programs
import pytest
from stackless import cluster
from test_cluster_tasklets import until


def test_results_are_in_the_order_of_the_items(c):
    assert list(c.map(programs.double, range(1000))) == list(range(0, 2000, 2))
    assert list(c.map(programs.double, [])) == []
    assert list(c.map(lambda text: text.upper(), iter("abc"))) == ["A", "B", "C"]


def test_as_they_come(c):
    assert sorted(c.map(programs.double, range(100), ordered=False)) == list(range(0, 200, 2))


def test_all_workers_take_part(c):
    found = list(c.map(programs.wait_and_count, range(60)))
    assert [n for n, _ in found] == list(range(60))
    assert len({pid for _, pid in found}) == 3


def test_calls_on_one_worker_wait_at_the_same_time(c):
    """Sixty calls that sleep 10 ms would take 0.6 s one after the other."""
    first = c.map(programs.wait_and_count, range(60), limit=60)
    pids = [pid for _, pid in first]
    assert max(pids.count(each) for each in set(pids)) > 1


def test_an_exception_is_raised_at_its_turn(c):
    found = []
    with pytest.raises(LookupError, match="seven"):
        for each in c.map(programs.fail_at_seven, range(100), limit=3):
            found.append(each)
    assert found == [0, 1, 2, 3, 4, 5, 6]


def test_a_function_that_cannot_be_loaded(c):
    class Broken:
        def __reduce__(self):
            return int, ("no number",)

        def __call__(self, x):
            return x

    with pytest.raises(ValueError, match="no number"):
        list(c.map(Broken(), range(10)))


def test_items_are_taken_as_needed(c):
    taken = []

    def items():
        for n in range(10_000):
            taken.append(n)
            yield n

    results = c.map(programs.double, items(), limit=4)
    assert next(results) == 0
    assert len(taken) <= 4 * 8
    results.close()


def test_leaving_early_ends_the_calls(c):
    channel = c.channel()

    def wait(n):
        return n if n == 0 else channel.receive()

    results = c.map(wait, range(10), limit=10)
    assert next(results) == 0
    until(lambda: channel.balance == -9)
    results.close()
    until(lambda: channel.balance == 0)


def test_progress_is_called(c, capsys):
    seen = []
    list(c.map(programs.double, range(10), progress=lambda *each: seen.append(each)))
    assert seen[0] == (0, 10) and seen[-1] == (10, 10)
    list(c.map(programs.double, iter(range(5)), progress=True))
    list(c.map(programs.double, [1] * 5, progress=True))
    assert "] 5/5" in capsys.readouterr().err


def test_wrong_arguments(c):
    with pytest.raises(ValueError, match="limit"):
        c.map(programs.double, [], limit=0)


def test_in_a_tasklet(c):
    def outer():
        return sum(cluster.current().map(programs.double, range(10)))

    assert c.spawn(outer).join(30) == 90
